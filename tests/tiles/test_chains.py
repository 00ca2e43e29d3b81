"""Networks that run region by region give what they give as a whole."""

from __future__ import annotations

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from icm_core import tiles


@st.composite
def chains(draw):
    """Layers with any kernels, strides, paddings and dilations, others along rows than along columns, and the channels
    of their input."""
    channels = first = draw(st.sampled_from([2, 4]))
    layers = []

    def pair(low, high):
        return draw(st.tuples(st.integers(low, high), st.integers(low, high)))

    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["conv", "tconv", "open", "pack", "point"]))
        kernel, stride, dilation, padding = pair(1, 5), pair(1, 3), pair(1, 2), pair(0, 3)
        if kind == "conv":
            how = draw(st.sampled_from([padding, "same", "valid"] if stride == (1, 1) else [padding, "valid"]))
            mode = draw(st.sampled_from(["zeros", "replicate"]))
            layers.append(nn.Conv2d(channels, 4, kernel, stride, how, dilation, padding_mode=mode))
            channels = 4
        elif kind == "tconv":
            extra = tuple(draw(st.integers(0, max(its) - 1)) for its in zip(stride, dilation, strict=True))
            layers.append(nn.ConvTranspose2d(channels, 4, kernel, stride, padding, extra, dilation=dilation))
            channels = 4
        elif kind == "open" and channels % 4 == 0:
            layers.append(nn.PixelShuffle(2))
            channels //= 4
        elif kind == "pack" and channels < 64:
            layers.append(nn.PixelUnshuffle(2))
            channels *= 4
        else:
            layers.append(draw(st.sampled_from([nn.ReLU(), nn.GELU(), nn.BatchNorm2d(channels)])))
    return first, nn.Sequential(*layers).eval()


def _run(network, x):
    try:
        return network(x)
    except RuntimeError:  # too small for a layer, or no multiple of what it unshuffles
        assume(False)


@settings(max_examples=100, deadline=None)
@given(chains(), st.integers(1, 40), st.integers(1, 40), st.integers(1, 400), st.integers(0, 2**31))
def test_a_chain_region_by_region_is_the_chain(chain, height, width, bound, seed):
    channels, network = chain
    torch.manual_seed(seed)
    x = torch.randn(2, channels, height, width)
    with torch.no_grad():
        expected = _run(network, x)
        assume(expected.numel() and expected.shape[2] * expected.shape[3] < 20_000)
        with tiles.bounded(bound):
            found = tiles.apply(network, tiles.field.Whole(x))
            assert found.shape == expected.shape
            torch.testing.assert_close(found.tensor(), expected, rtol=1e-4, atol=1e-5)


@settings(max_examples=100, deadline=None)
@given(chains(), st.integers(1, 40), st.data())
def test_any_region_is_that_of_the_whole(chain, side, data):
    channels, network = chain
    x = torch.randn(1, channels, side, side + 3)
    with torch.no_grad():
        expected = _run(network, x)
        assume(expected.numel() and expected.shape[2] * expected.shape[3] < 20_000)
        spans = []
        for length in expected.shape[2:]:
            start = data.draw(st.integers(0, length - 1))
            spans.append((start, data.draw(st.integers(start + 1, length))))
        found = tiles.apply(network, tiles.field.Whole(x)).read(*spans)
    torch.testing.assert_close(found, expected[:, :, slice(*spans[0]), slice(*spans[1])], rtol=1e-4, atol=1e-5)
