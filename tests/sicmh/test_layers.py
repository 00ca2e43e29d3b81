"""The small layers against their formulas."""

from __future__ import annotations

import pytest
import torch

from icm_core.tiles import Whole
from icm_sicmh.layers import GDN, LastUp, conv, pad_to, round_ste, started, tconv


def stirred(inverse: bool) -> GDN:
    torch.manual_seed(0)
    layer = GDN(3, inverse).requires_grad_(False)
    layer.gamma_root.uniform_(-1, 1)
    layer.beta_root.uniform_(0.5, 1.5)
    return layer


@pytest.mark.parametrize("inverse", [False, True], ids=["GDN", "IGDN"])
def test_divisive_normalisation_is_its_sum_over_channels(inverse: bool) -> None:
    layer = stirred(inverse)
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    norm = torch.zeros_like(x)
    for i in range(3):
        norm[:, i] = 1e-6 + layer.beta_root[i] ** 2
        for j in range(3):
            norm[:, i] += layer.gamma_root[i, j] ** 2 * x[:, j] ** 2
    torch.testing.assert_close(layer(x), x * norm.sqrt() if inverse else x / norm.sqrt())


def test_divisive_normalisation_learns_off_the_diagonal_from_the_start() -> None:
    layer = GDN(3)
    layer(torch.rand(1, 3, 2, 2)).sum().backward()
    assert bool((layer.gamma_root.grad != 0).all())


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (5, 1), (3, 2), (5, 2)])
def test_sizes_are_divided_and_multiplied_exactly(kernel: int, stride: int) -> None:
    x = torch.zeros(1, 2, 8, 12)
    assert conv(2, 3, kernel, stride)(x).shape == (1, 3, 8 // stride, 12 // stride)
    assert tconv(2, 3, kernel, stride)(x).shape == (1, 3, 8 * stride, 12 * stride)


def test_weights_start_with_a_variance_that_keeps_that_of_their_input() -> None:
    """One over the inputs that an output sees, twice as much before a ReLU, which takes half away."""
    torch.manual_seed(0)
    layers = [conv(40, 60, 3), conv(60, 80, 3, 2), torch.nn.ReLU(), tconv(80, 50, 5, 2), GDN(50), tconv(50, 30, 3)]
    network = started(torch.nn.Sequential(*layers), last=0.1)
    inputs = {0: 40 * 9, 1: 60 * 9 / 2, 3: 80 * 25 / 4, 5: 50 * 9 * 100}
    for number, count in inputs.items():
        assert float(network[number].weight.detach().var()) == pytest.approx(1 / count, rel=0.05)
        assert not network[number].bias.any()


def test_rounding_passes_the_gradient_straight_through() -> None:
    x = torch.tensor([0.2, 1.7, -2.4], requires_grad=True)
    y = round_ste(x)
    y.backward(torch.tensor([1.0, 2.0, 3.0]))
    assert y.tolist() == [0, 2, -2]
    assert x.grad.tolist() == [1, 2, 3]


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (65, 130), (7, 100)], ids=str)
def test_padding_continues_the_edge_to_the_right_and_below(size: tuple[int, int]) -> None:
    height, width = size
    x = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    padded = pad_to(x, 64)
    assert padded.shape == (1, 3, -(-height // 64) * 64, -(-width // 64) * 64)
    rows = torch.arange(padded.shape[2]).clamp(max=height - 1)
    columns = torch.arange(padded.shape[3]).clamp(max=width - 1)
    assert torch.equal(padded, x[:, :, rows][..., columns])
    assert torch.equal(pad_to(Whole(x), 64).tensor(), padded)


@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (2, 4, 3, 5)])
def test_the_last_layer_gives_what_the_transposed_convolution_gives(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer, x = LastUp(4, 3), torch.randn(*shape)
    plain = torch.nn.ConvTranspose2d(4, 3, 5, 2, 2, output_padding=1)
    plain.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x), plain(x))


@pytest.mark.parametrize("inverse", [False, True], ids=["GDN", "IGDN"])
def test_divisive_normalisation_leaves_its_input_alone(inverse: bool) -> None:
    x = torch.randn(1, 3, 4, 4)
    before = x.clone()
    stirred(inverse)(x)
    assert torch.equal(x, before)
