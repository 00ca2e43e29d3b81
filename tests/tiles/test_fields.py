"""Fields: what they refuse, what is read, and what is kept."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from icm_core import tiles
from icm_core.tiles.field import Field


class Counting(Field):
    """A field that says how many places were read at most, and in all."""

    def __init__(self, x):
        super().__init__(x.shape, 0)
        self.x, self.most, self.total = x, 0, 0

    def read(self, rows, columns):
        found = self.x[:, :, slice(*rows), slice(*columns)]
        places = found.shape[2] * found.shape[3]
        self.most, self.total = max(self.most, places), self.total + places
        return found


def _field(height, width, channels=3):
    return Counting(torch.rand(1, channels, height, width))


@torch.no_grad()
def test_no_more_is_read_at_once_than_the_bound_and_the_halo():
    network = nn.Sequential(nn.Conv2d(3, 4, 5, 2, 2), nn.ReLU(), nn.Conv2d(4, 4, 5, 2, 2))
    x = _field(400, 300)
    with tiles.bounded(40_000):  # regions of 10,000 places of the finest map
        tiles.whole(tiles.apply(network, x))
    assert x.most <= (100 + 14) ** 2  # two layers see 6 places on either side, and begin at whole steps
    assert x.total < 1.5 * 400 * 300


def test_the_halo_follows_from_the_layers():
    layers = list(tiles.layers_of(nn.Sequential(nn.Conv2d(3, 4, 5, 2, 2), nn.ReLU(), nn.Conv2d(4, 4, 3, 1, 1))))
    # Rows 9 to 20 of the layers' output; each layer begins a step early, whose result is cut off.
    assert tiles.halo(layers, (10, 20), 100) == (16, 43)
    assert tiles.halo(layers, (0, 20), 100) == (0, 43)
    assert tiles.halo(layers, (40, 50), 100)[1] == 100


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"), "reflect"),
        (nn.AdaptiveAvgPool2d(1), "AdaptiveAvgPool2d"),
        (nn.BatchNorm2d(3).train(), "BatchNorm2d"),
    ],
)
def test_what_cannot_run_region_by_region_is_refused(layer, named):
    with pytest.raises(TypeError, match=named):
        tiles.apply(nn.Sequential(nn.ReLU(), layer), _field(8, 8))


@pytest.mark.parametrize(("layer", "size"), [(nn.PixelUnshuffle(2), (7, 8)), (nn.Conv2d(3, 3, 5), (4, 9))])
def test_a_map_that_a_layer_cannot_take_is_refused(layer, size):
    with pytest.raises(ValueError, match="cannot run on maps of"):
        tiles.apply(layer, _field(*size))


def test_maps_of_different_sizes_do_not_go_together():
    with pytest.raises(ValueError, match="do not go together"):
        _field(8, 8) + _field(8, 9)


def test_a_bound_below_a_pixel_is_refused():
    with pytest.raises(ValueError, match="1 or more"), tiles.bounded(0):
        pass


def test_pictures_are_large_above_the_bound_and_only_without_gradients():
    with tiles.bounded(100):
        assert not tiles.large((10, 11))
        with torch.no_grad():
            assert tiles.large((10, 11))
            assert not tiles.large((10, 10))
    with torch.no_grad():
        assert not tiles.large((10, 11))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 64), st.integers(2, 9), st.integers(1, 300))
@torch.no_grad()
def test_cut_continued_and_averaged_fields_are_those_of_the_whole(height, width, multiple, factor, bound):
    x = torch.rand(2, 3, height, width)
    tall, wide = height + -height % multiple, width + -width % multiple
    with tiles.bounded(bound):
        padded = tiles.Whole(x).continued(tall, wide)
        assert torch.equal(padded.tensor(), F.pad(x, (0, wide - width, 0, tall - height), mode="replicate"))
        assert torch.equal(padded.cut(height, width).tensor(), x)
        means = F.avg_pool2d(x, factor, ceil_mode=True, count_include_pad=False)
        torch.testing.assert_close(tiles.Whole(x).averaged(factor).tensor(), means)


@torch.no_grad()
def test_arithmetic_of_fields_is_that_of_tensors():
    a, b = torch.rand(1, 3, 9, 11), torch.rand(1, 3, 9, 11)
    with tiles.bounded(40):
        assert torch.equal(tiles.whole((tiles.Whole(a) - 0.5 + b).clamp(0, 1)), (a - 0.5 + b).clamp(0, 1))
        assert torch.equal(tiles.whole(tiles.Whole(a) - b), a - b)
        assert torch.equal(tiles.whole(tiles.Whole(a) - tiles.Whole(b)), a - b)
        assert torch.equal(tiles.whole(tiles.cat([a, -tiles.Whole(b)])), torch.cat([a, -b], 1))


@torch.no_grad()
def test_numbers_and_negatives_and_bounds_place_by_place():
    x = tiles.Whole(torch.tensor([[[[0.5, 2.0, -3.0]]]]))
    assert (-x).tensor().tolist() == [[[[-0.5, -2.0, 3.0]]]]
    assert (x - 1).tensor().tolist() == [[[[-0.5, 1.0, -4.0]]]]
    assert (1.5 + x).tensor().tolist() == [[[[2.0, 3.5, -1.5]]]]
    assert x.clamp(-1, 1).tensor().tolist() == [[[[0.5, 1.0, -1.0]]]]


@torch.no_grad()
def test_a_map_of_one_channel_goes_along_with_all():
    a, b = torch.rand(2, 3, 5, 6), torch.rand(2, 1, 5, 6)
    with tiles.bounded(40):
        for found in (tiles.Whole(a) + b, tiles.Whole(a) + tiles.Whole(b)):
            assert found.shape == (2, 3, 5, 6) and torch.equal(found.tensor(), a + b)


@torch.no_grad()
def test_types_of_numbers_stay_but_where_float32_is_asked_for():
    half, double = torch.rand(1, 2, 3, 4).half(), torch.rand(1, 2, 3, 4).double()
    for x in (half, double):
        field = tiles.Whole(x)
        assert field.float().tensor().dtype == torch.float32 and torch.equal(field.float().tensor(), x.float())
        for found in (field + x, tiles.added(x, field), field.clamp(0, 1), -field, field - 1, tiles.cat([field, x])):
            assert tiles.whole(found).dtype == x.dtype
    assert torch.equal(tiles.whole(tiles.cat([double, tiles.Whole(double)])), torch.cat([double, double], 1))


@torch.no_grad()
def test_maps_are_put_behind_each_other_in_their_order():
    a, b, c = torch.rand(1, 2, 5, 6), torch.rand(1, 3, 5, 6), torch.rand(1, 1, 10, 12)
    expected = torch.cat([b, F.avg_pool2d(c, 2), a], 1)
    with tiles.bounded(40):
        found = tiles.cat([tiles.Whole(b), tiles.Whole(c).averaged(2), a])
        assert found.shape == (1, 6, 5, 6)
        torch.testing.assert_close(found.tensor(), expected)
        torch.testing.assert_close(
            (tiles.Whole(a[:, :1]) - tiles.Whole(c).averaged(2)).tensor(), a[:, :1] - expected[:, 3:4]
        )
    assert torch.equal(tiles.cat([a, b]), torch.cat([a, b], 1))


@torch.no_grad()
def test_the_upper_left_part_has_its_height_and_its_width():
    x = torch.rand(1, 3, 9, 14)
    for maps in (x, tiles.Whole(x)):
        found = tiles.cut(maps, 4, 7)
        assert found.shape == (1, 3, 4, 7) and torch.equal(tiles.whole(found), x[..., :4, :7])


def test_a_tensor_as_a_field_is_read_as_a_view():
    x = torch.rand(1, 2, 6, 9)
    field = tiles.Whole(x)
    part = field.read((2, 5), (1, 8))
    assert torch.equal(part, x[..., 2:5, 1:8]) and part._base is x
    assert field.tensor() is x


def test_bytes_are_read_on_the_device_that_is_asked_for():
    pixels = torch.zeros(1, 3, 6, 7, dtype=torch.uint8)
    part = tiles.Bytes(pixels, torch.device("meta")).read((0, 2), (3, 6))
    assert (part.device.type, part.dtype, part.shape) == ("meta", torch.float32, (1, 3, 2, 3))


@torch.no_grad()
def test_bytes_become_floats_when_they_are_read():
    pixels = torch.randint(256, (1, 3, 6, 7), dtype=torch.uint8)
    with tiles.bounded(8):
        assert torch.equal(tiles.Bytes(pixels, torch.device("cpu")).tensor(), pixels.float() / 255)


def test_a_deferred_map_is_made_once_and_when_it_is_read():
    made = []
    field = tiles.Deferred((1, 1, 4, 4), lambda: made.append(1) or torch.ones(1, 1, 4, 4))
    assert not made
    field.read((0, 1), (0, 1))
    field.read((1, 2), (0, 1))
    assert made == [1]


def test_named_maps_are_made_when_they_are_looked_up():
    x = _field(4, 4)
    maps = tiles.tensors({"image": x, "h1": torch.ones(1)})
    assert "image" in maps and set(maps) == {"image", "h1"} and len(maps) == 2
    assert tiles.field_of(maps, "image") is x
    assert x.total == 0
    assert torch.equal(maps["image"], x.x)
    assert maps["image"] is maps["image"]
    there = {"h1": x.x}
    assert type(tiles.tensors(there)) is dict and tiles.tensors(there) == there


def test_maps_that_were_given_stay_as_they_were():
    given = {"image": _field(4, 4), "h1": torch.ones(1)}
    maps = tiles.tensors(given)
    made = maps["image"]
    assert isinstance(given["image"], Field) and isinstance(made, torch.Tensor)
    del given["image"]
    assert maps["image"] is made and set(maps) == {"image", "h1"}
    with pytest.raises(KeyError):
        maps["h2"]
    assert "h2" not in maps and tiles.field_of(maps, "image") is made
