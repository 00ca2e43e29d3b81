"""From which size on pictures are large, region by region, and how much is read at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from icm_core import tiles
from icm_core.tiles.field import Field
from icm_core.tiles.layers import Span


class Counting(Field):
    """A field that keeps how many places were read at a time."""

    def __init__(self, x: Tensor) -> None:
        super().__init__(x.shape, 0)
        self.x, self.read_at_once = x, list[int]()

    def read(self, rows: Span, columns: Span) -> Tensor:
        found = self.x[:, :, slice(*rows), slice(*columns)]
        self.read_at_once.append(found.shape[2] * found.shape[3])
        return found


def test_the_bound_from_before_comes_back() -> None:
    assert tiles.bound() == tiles.PIXELS == 4_194_304
    with tiles.bounded(100):
        with pytest.raises(KeyError), tiles.bounded(50):
            assert tiles.bound() == 50
            raise KeyError
        assert tiles.bound() == 100
    assert tiles.bound() == tiles.PIXELS


@torch.no_grad()
@pytest.mark.parametrize(("size", "is_large"), [((5, 20), False), ((20, 5), False), ((3, 34), True), ((34, 3), True)])
def test_pixels_count_and_not_sides(size: tuple[int, int], is_large: bool) -> None:
    with tiles.bounded(100):
        assert tiles.large(size) == is_large
        assert isinstance(tiles.spread(torch.zeros(1, 2, *size)), Field) == is_large
        assert isinstance(tiles.spread(torch.zeros(1, 2, 4, 4), size), Field) == is_large
        assert not isinstance(tiles.spread(torch.zeros(1, 2, *size), (2, 2)), Field)


@torch.no_grad()
@pytest.mark.parametrize("size", [(96, 64), (64, 96), (120, 40)])
def test_regions_are_small_at_the_finest_level_whatever_is_read_of_them(size: tuple[int, int]) -> None:
    """An eighth of the bound, of sums, of means of blocks, and of a network with a finer map in the middle."""
    height, width = size
    with tiles.bounded(8 * 512):
        for make in (
            lambda x: x + x.x,
            lambda x: x.averaged(4),
            lambda x: x.averaged(4) - x.averaged(4).tensor(),
            lambda x: tiles.Whole(x.averaged(4).tensor()) - x.averaged(4),
            lambda x: x.cut(height - 8, width - 8),
            lambda x: tiles.apply(nn.Sequential(nn.Conv2d(3, 4, 2, 2), nn.ReLU()), x),
            lambda x: tiles.apply(nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(48, 2, 1)), x),
        ):
            x = Counting(torch.rand(1, 3, height, width))
            tiles.whole(make(x))
            assert max(x.read_at_once) <= 512, make
            assert sum(x.read_at_once) >= (height - 8) * (width - 8)
            assert len(x.read_at_once) >= 10


@pytest.mark.parametrize(
    ("size", "first", "count"),
    [
        # 2500 places: squares of 50, which become 48.
        ((200, 150), ((0, 48), (0, 48)), 5 * 4),
        # 125 whole rows, which become 112.
        ((1000, 20), ((0, 112), (0, 20)), 9),
        # No whole row is small enough, and no region higher than the map.
        ((10, 4000), ((0, 10), (0, 48)), 84),
        ((40, 60), ((0, 32), (0, 60)), 2),
        ((30, 60), ((0, 30), (0, 60)), 1),
    ],
)
def test_regions_are_squares_or_whole_rows_with_sides_of_multiples_of_16(
    size: tuple[int, int], first: tuple[Span, Span], count: int
) -> None:
    with tiles.bounded(8 * 2500):
        regions = list(tiles.Whole(torch.zeros(1, 1, *size)).regions())
    assert regions[0] == first and len(regions) == count
    covered = torch.zeros(size)
    for rows, columns in regions:
        covered[slice(*rows), slice(*columns)] += 1
    assert bool((covered == 1).all())


@pytest.mark.parametrize(("places", "side"), [(1024, 32), (1088, 32), (1089, 32), (900, 30), (1, 1), (7, 2)])
def test_small_regions_have_any_side(places: int, side: int) -> None:
    with tiles.bounded(8 * places):
        rows, columns = next(tiles.Whole(torch.zeros(1, 1, 90, 99)).regions())
    assert columns == (0, side) and rows == (0, places // side if places < 1024 else 32)


def test_regions_go_by_places_and_not_by_channels_or_pictures() -> None:
    many = torch.zeros(5, 7, 40, 60)
    with tiles.bounded(8 * 100):
        expected = list(tiles.Whole(torch.zeros(1, 1, 40, 60)).regions())
        assert len(expected) == 24
        for field in (
            tiles.Whole(many),
            tiles.Deferred(many.shape, lambda: many),
            tiles.Bytes(many.byte(), torch.device("cpu")),
            tiles.Whole(many) + 1.0,
            -tiles.Whole(many),
        ):
            assert list(field.regions()) == expected


@torch.no_grad()
def test_what_is_continued_a_little_is_read_in_regions_that_are_hardly_larger() -> None:
    x = Counting(torch.rand(1, 3, 192, 128))
    with tiles.bounded(8 * 512):
        found = x.averaged(4).continued(50, 33)
        assert found.tensor().shape == (1, 3, 50, 33)
    assert max(x.read_at_once) <= 512 * (50 * 33) / (48 * 32) and len(x.read_at_once) > 40


@torch.no_grad()
def test_a_finer_map_in_the_middle_of_a_network_makes_its_regions_smaller() -> None:
    network = nn.Sequential(nn.PixelShuffle(4), nn.ReLU(), nn.PixelUnshuffle(4))
    x = Counting(torch.rand(1, 16, 24, 40))
    with tiles.bounded(8 * 512):
        found = tiles.apply(network, x)
        assert found.shape == (1, 16, 24, 40)
        assert torch.equal(tiles.whole(found), x.x)
    assert max(x.read_at_once) <= 512 // 16


@torch.no_grad()
def test_a_kept_field_is_made_once_and_read_often() -> None:
    x = Counting(torch.rand(1, 2, 30, 40))
    with tiles.bounded(800):
        kept = tiles.kept(x + 1.0)
        made = len(x.read_at_once)
        for _ in range(3):
            assert torch.equal(tiles.whole(kept), x.x + 1)
    assert isinstance(kept, Field) and len(x.read_at_once) == made > 1
    there = torch.rand(1, 2, 3, 4)
    assert tiles.kept(there) is there


@torch.no_grad()
def test_channels_of_fields_are_those_of_the_networks() -> None:
    x = Counting(torch.rand(1, 8, 12, 20))
    for network in (
        nn.PixelUnshuffle(2),
        nn.PixelShuffle(2),
        nn.Sequential(nn.Conv2d(8, 5, 1), nn.ReLU(), nn.PixelUnshuffle(2), nn.ConvTranspose2d(20, 3, 2, 2)),
    ):
        found = tiles.apply(network, x)
        assert found.shape == network(x.x).shape
        torch.testing.assert_close(tiles.whole(found), network(x.x))


@torch.no_grad()
def test_means_of_blocks_of_two_are_means_and_of_one_the_field() -> None:
    x = tiles.Whole(torch.arange(24.0).view(1, 1, 4, 6))
    assert x.averaged(2).tensor().tolist() == [[[[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]]]]
    assert x.averaged(1) is x
    half = tiles.Whole(torch.full((1, 1, 2, 2), 1.0, dtype=torch.float16)).averaged(2).tensor()
    assert half.dtype == torch.float32


@torch.no_grad()
def test_a_sum_with_a_field_is_a_field_whichever_comes_first() -> None:
    a, b = torch.rand(1, 2, 3, 4), torch.rand(1, 2, 3, 4)
    for first, second in ((a, tiles.Whole(b)), (tiles.Whole(a), b), (tiles.Whole(a), tiles.Whole(b))):
        found = tiles.added(first, second)
        assert isinstance(found, Field) and torch.equal(found.tensor(), a + b)
    assert torch.equal(tiles.whole(tiles.added(a, b)), a + b)


class Switch(nn.Module):
    """What a module says of itself is asked for, and not only whether it says something."""

    pointwise = False

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(3)


@torch.no_grad()
def test_a_small_map_that_is_continued_far_is_made_in_regions_of_the_bound() -> None:
    x = tiles.Whole(torch.rand(1, 1, 10, 12))
    with tiles.bounded(8 * 64):
        found = x.continued(90, 70)
        assert max((rows[1] - rows[0]) * (columns[1] - columns[0]) for rows, columns in found.regions()) <= 64
        assert torch.equal(found.tensor()[..., 9:, 11:], x.whole[..., 9:, 11:].expand(1, 1, 81, 59))


def test_only_what_says_that_it_is_pointwise_is_taken_for_it() -> None:
    with pytest.raises(TypeError, match="Switch cannot run region by region"):
        list(tiles.layers_of(Switch()))
    for other in (
        nn.Softmax(3),
        nn.LayerNorm(4),
        nn.GroupNorm(1, 3),
        nn.InstanceNorm2d(3),
        nn.MaxPool2d(2),
        nn.Conv1d(3, 3, 1),
    ):
        with pytest.raises(TypeError, match=f"{type(other).__name__} cannot run region by region"):
            list(tiles.layers_of(other.eval()))
    with pytest.raises(TypeError, match="pads in mode 'circular'"):
        list(tiles.layers_of(nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular")))
    for layer in (nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Dropout2d(0.5)):
        with pytest.raises(TypeError, match=type(layer).__name__):
            list(tiles.layers_of(layer.train()))
        assert len(list(tiles.layers_of(layer.eval()))) == 1
