"""How much of its input each layer has to be given: counted by hand, and what a network really sees."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from icm_core import tiles
from icm_core.tiles.layers import Span


def seen(layer: nn.Module, span: Span, n: int) -> Span:
    """The rows of an input of `n` rows with which these rows of the output change."""
    x = torch.randn(1, 3, n, 9, dtype=torch.float64, requires_grad=True)
    layer.double()(x)[:, :, slice(*span)].sum().backward()
    assert x.grad is not None
    rows = x.grad.abs().sum((0, 1, 3)).nonzero().flatten().tolist()
    return rows[0], rows[-1] + 1


@pytest.mark.parametrize(
    ("layer", "span", "needed"),
    [
        # Rows 40 to 49 of an output whose row o is made of rows (o + 2 - k) / 2 of the input, k from 0 to 4: 19 to 25.
        (nn.ConvTranspose2d(3, 2, 5, 2, 2, 1), (40, 50), (19, 26)),
        (nn.ConvTranspose2d(3, 2, (3, 3), (1, 2), 1), (17, 30), (16, 31)),
        (nn.ConvTranspose2d(3, 2, 2, 3), (60, 67), (20, 23)),
    ],
)
def test_a_transposed_convolution_is_given_the_rows_that_reach_the_span(
    layer: nn.Module, span: Span, needed: Span
) -> None:
    assert seen(layer, span, 50) == needed
    assert tiles.halo(list(tiles.layers_of(layer)), span, 50) == needed


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 2, 5, 2, 2), nn.Conv2d(3, 2, 3, 1, 2, 2), nn.Conv2d(3, 2, 7, 3)])
@pytest.mark.parametrize("span", [(3, 9), (5, 6), (0, 4)])
def test_a_convolution_is_given_what_it_sees_and_at_most_its_padding_more(layer: nn.Conv2d, span: Span) -> None:
    first, last = seen(layer, span, 40)
    given = tiles.halo(list(tiles.layers_of(layer)), span, 40)
    padding, stride = int(layer.padding[0]), layer.stride[0]
    assert given[0] <= first and given[1] == last
    assert first - given[0] <= padding + stride and given[0] % stride == 0
