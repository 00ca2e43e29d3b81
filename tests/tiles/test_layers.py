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


LAYERS: list[tuple[nn.Module, tuple[int, int]]] = [
    # Even kernels with padding "same" have a place more behind than before.
    (nn.Conv2d(4, 3, (4, 2), padding="same"), (23, 37)),
    (nn.Conv2d(4, 3, (2, 5), padding="same", dilation=(3, 2)), (23, 37)),
    (nn.Conv2d(4, 3, (2, 4), padding="valid"), (22, 34)),
    (nn.Conv2d(4, 3, (5, 3), (3, 2), (1, 4), (1, 2)), (7, 21)),
    (nn.Conv2d(4, 3, (3, 4), (2, 3), (3, 1), padding_mode="replicate"), (14, 12)),
    (nn.ConvTranspose2d(4, 3, (5, 2), (2, 3), (2, 0), (1, 2)), (46, 112)),
    (nn.ConvTranspose2d(4, 3, (3, 4), (3, 2), (0, 3), (2, 0), dilation=(1, 2)), (71, 73)),
    (nn.PixelShuffle(2), (46, 74)),
    (
        nn.Sequential(nn.Conv2d(4, 2, (2, 4), padding="same"), nn.ReLU(), nn.ConvTranspose2d(2, 3, 4, (2, 1), 1)),
        (46, 38),
    ),
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize(("layer", "size"), LAYERS)
@torch.no_grad()
def test_layers_that_do_other_things_along_rows_than_along_columns(layer: nn.Module, size: tuple[int, int]) -> None:
    x = torch.randn(1, 4, 23, 37, generator=torch.Generator().manual_seed(0))
    expected = layer(x)
    with tiles.bounded(8 * 100):
        found = tiles.apply(layer, tiles.Whole(x))
        assert found.shape == expected.shape and tuple(found.shape[2:]) == size
        assert len(list(found.regions())) > 5  # type: ignore[union-attr]
        torch.testing.assert_close(tiles.whole(found), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_places_that_see_padding_alone_are_read_too() -> None:
    layer, x = nn.Conv2d(2, 1, 4, 3, 5), torch.randn(1, 2, 9, 10, generator=torch.Generator().manual_seed(0))
    expected, field = layer(x), tiles.apply(layer, tiles.Whole(x))
    assert expected.shape == (1, 1, 6, 6) and not isinstance(field, torch.Tensor)
    for row in range(6):
        for column in range(6):
            found = field.read((row, row + 1), (column, column + 1))
            torch.testing.assert_close(found[0, 0, 0, 0], expected[0, 0, row, column])


@torch.no_grad()
def test_places_become_channels_of_multiples_alone() -> None:
    x = torch.rand(1, 2, 24, 36)
    with tiles.bounded(8 * 60):
        found = tiles.apply(nn.PixelUnshuffle(3), tiles.Whole(x))
        assert torch.equal(tiles.whole(found), nn.PixelUnshuffle(3)(x))
    for size in ((24, 35), (25, 36)):
        with pytest.raises(ValueError, match=rf"cannot run on maps of {size[0]}x{size[1]} places"):
            tiles.apply(nn.PixelUnshuffle(3), tiles.Whole(torch.rand(1, 2, *size)))


def test_what_a_pixel_shuffle_and_its_inverse_are_given() -> None:
    opened, packed = (list(tiles.layers_of(layer)) for layer in (nn.PixelShuffle(3), nn.PixelUnshuffle(3)))
    assert [tiles.halo(opened, span, 50) for span in ((0, 3), (2, 4), (5, 12))] == [(0, 1), (0, 2), (1, 4)]
    assert [tiles.halo(packed, span, 60) for span in ((0, 1), (2, 5), (19, 20))] == [(0, 3), (6, 15), (57, 60)]
    (same,) = tiles.layers_of(nn.ReLU())
    assert tiles.halo([same], (3, 8), 20) == (3, 8)
    # From the last layer to the first: rows 6 to 8 of three times as many are rows 2 and 3 shuffled, of which each is
    # made of rows 2 to 5.
    both = [*tiles.layers_of(nn.Conv2d(4, 9, 3)), *opened]
    assert tiles.halo(both, (6, 9), 12) == (2, 5)


def test_each_layer_of_a_chain_is_given_of_its_own_input_alone() -> None:
    # 10 rows are 20 for the convolution, which sees rows 13 to 16 of them for its rows 14 and 15.
    shuffled = list(tiles.layers_of(nn.Sequential(nn.PixelShuffle(2), nn.Conv2d(1, 1, 3, padding=1))))
    assert tiles.halo(shuffled, (14, 16), 10) == (6, 9)
    # 12 rows are 4, which are rows 0, 3, 6 and 9; there is no fifth for the last.
    thinned = list(tiles.layers_of(nn.Sequential(nn.Conv2d(1, 1, 1, 3), nn.Conv2d(1, 1, 3, padding=1))))
    assert tiles.halo(thinned, (2, 4), 12) == (3, 10)
