"""Pictures in a network's input, side by side with numbers worked out by hand; and boxes back again."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from icm_core.wrap import Fitted, Input, fit_into


def noise(height: int, width: int) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height))


@pytest.mark.parametrize(
    ("own", "how", "start", "inner", "outer"),
    [
        # Of its own size, filled up to multiples on the right and below.
        ((20, 30), {"multiple": 16}, (0, 0), (20, 30), (32, 32)),
        # The shorter side is 48, or what is left of it where the longer one would be above 96; rounded down.
        ((40, 60), {"size": 48, "multiple": 16}, (0, 0), (48, 64), (48, 64)),
        ((40, 200), {"size": 48, "longest": 96, "multiple": 8}, (0, 0), (16, 96), (16, 96)),
        ((200, 40), {"size": 48, "longest": 96}, (0, 0), (96, 19), (96, 19)),
        ((40, 50), {"size": 30, "fit": "corner", "multiple": 16}, (0, 0), (30, 38), (32, 48)),
        # A longest side that is not reached changes nothing; no side has less than a pixel.
        ((40, 60), {"size": 48, "longest": 100}, (0, 0), (48, 72), (48, 72)),
        ((2, 400), {"size": 48, "longest": 96}, (0, 0), (1, 96), (1, 96)),
        ((2, 400), {"size": 48, "longest": 96, "fit": "corner"}, (0, 0), (1, 96), (1, 96)),
        ((400, 2), {"size": 48, "longest": 96, "fit": "corner"}, (0, 0), (96, 1), (96, 1)),
        # The middle is of inputs of a fixed size.
        ((40, 50), {"size": 30, "fit": "letterbox", "multiple": 16}, (0, 0), (30, 38), (32, 48)),
        # 48x78 is rounded down, though 80 is nearer than 64, and so is 78x48.
        ((40, 65), {"size": 48, "multiple": 16}, (0, 0), (48, 64), (48, 64)),
        ((65, 40), {"size": 48, "multiple": 16}, (0, 0), (64, 48), (64, 48)),
        # Sides are a multiple at least: of 5 and 20 the first is rounded up, the second down.
        ((10, 40), {"size": 5, "multiple": 16}, (0, 0), (16, 16), (16, 16)),
        # Of 32/200 and 44/30 the second is nearer to 1: 293.3x44. Nothing is smaller than a multiple.
        ((200, 30), {"size": (32, 44), "fit": "least", "multiple": 16}, (0, 0), (288, 48), (288, 48)),
        ((4, 64), {"size": (4, 64), "fit": "least", "multiple": 16}, (0, 0), (16, 64), (16, 64)),
        # 10x7 times 2.1; 7 columns are left, of which 3 are on the left.
        ((10, 7), {"size": (21, 21), "fit": "letterbox"}, (0, 3), (21, 14), (21, 21)),
        ((10, 7), {"size": (21, 21), "fit": "corner"}, (0, 0), (21, 14), (21, 21)),
        ((10, 7), {"size": (21, 30), "fit": "stretch"}, (0, 0), (21, 30), (21, 30)),
        # 30x20 times 0.8; 8 rows are cut, 4 above.
        ((30, 20), {"size": (16, 16), "fit": "cover"}, (-4, 0), (24, 16), (16, 16)),
        # Of 64/45 and 96/100 the second is nearer to 1: 43.2x96, and the nearest multiples of 16.
        ((45, 100), {"size": (64, 96), "fit": "least", "multiple": 16}, (0, 0), (48, 96), (48, 96)),
        ((100, 45), {"size": (96, 64), "fit": "least", "multiple": 16}, (0, 0), (96, 48), (96, 48)),
        # 64/60 is nearer to 1 than 60/100, though larger: 64x106.7.
        ((60, 100), {"size": (64, 60), "fit": "least", "multiple": 16}, (0, 0), (64, 112), (64, 112)),
    ],
)
def test_where_a_picture_is_in_its_input(
    own: tuple[int, int], how: dict[str, Any], start: tuple[int, int], inner: tuple[int, int], outer: tuple[int, int]
) -> None:
    for found in (fit_into(noise(*own), fill=0.25, **how), Input(fill=0.25, **how).fit_in(noise(*own))):
        assert (found.start, found.inner, tuple(found.image.shape[2:]), found.size) == (start, inner, outer, own)
        rows, columns = (slice(max(at, 0), max(at, 0) + n) for at, n in zip(start, inner, strict=True))
        filled = torch.ones(outer, dtype=torch.bool)
        filled[rows, columns] = False
        assert bool((found.image[..., filled] == 0.25).all())
        resized = F.interpolate(noise(*own), inner, mode="bilinear", antialias=True)
        cut = resized[..., max(-start[0], 0) :, max(-start[1], 0) :][..., : outer[0], : outer[1]]
        torch.testing.assert_close(found.image[..., rows, columns], cut if inner != own else noise(*own))


@pytest.mark.parametrize("side", range(1, 120))
def test_a_picture_that_covers_an_input_is_nowhere_smaller(side: int) -> None:
    """Whatever the rounding of ratios."""
    for height, width in ((side, 3 * side), (3 * side, side)):
        for own in ((49, 98), (98, 49)):
            found = fit_into(torch.zeros(1, 3, height, width), own, "cover")
            assert found.image.shape[2:] == own and found.inner[0] >= own[0] and found.inner[1] >= own[1]


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("resample", ["bilinear", "bicubic"])
def test_pictures_are_resized_as_asked_and_stay_within_0_and_1(smooth: bool, resample: Any) -> None:
    edges = (noise(33, 47) > 0.5).float()
    wants = Input(size=(20, 70), smooth=smooth, resample=resample)
    expected = F.interpolate(edges, (20, 70), mode=resample, align_corners=False, antialias=smooth)
    assert (float(expected.max()) > 1) == (resample == "bicubic")
    torch.testing.assert_close(wants.fit_in(edges).image, expected.clamp(0, 1))


# 50x200 in the middle of 100x100: half as large, from row 37.
MIDDLE = Fitted(torch.zeros(1, 3, 100, 100), (37, 0), (25, 100), (50, 200))


def test_boxes_are_cut_to_the_picture_unless_they_are_not_to_be() -> None:
    boxes = torch.tensor([[-10.0, 20, 120, 90], [10, 42, 60, 52]])
    assert MIDDLE.boxes(boxes).tolist() == [[0, 0, 200, 50], [20, 10, 120, 30]]
    assert MIDDLE.boxes(boxes, cut=False).tolist() == [[-20, -34, 240, 106], [20, 10, 120, 30]]


def test_boxes_go_there_and_back() -> None:
    fitted = Fitted(torch.zeros(1, 3, 60, 90), (6, 15), (40, 20), (80, 10))  # half as high, twice as wide
    there = fitted.placed(torch.tensor([[1.0, 20, 3, 60]]))
    assert there.tolist() == [[17, 16, 21, 36]]
    assert fitted.boxes(there).tolist() == [[1, 20, 3, 60]]


def test_points_keep_what_they_say_beside_their_place() -> None:
    assert MIDDLE.points(torch.tensor([[[10.0, 47, 2]], [[150.0, 36, 0]]])).tolist() == [[[20, 20, 2]], [[300, -2, 0]]]


def test_what_is_moved_is_left_as_it_was() -> None:
    boxes, points = torch.tensor([[10.0, 42, 60, 52]]), torch.tensor([[[10.0, 47, 2]]])
    MIDDLE.boxes(boxes)
    MIDDLE.placed(boxes)
    MIDDLE.points(points)
    assert boxes.tolist() == [[10, 42, 60, 52]] and points.tolist() == [[[10, 47, 2]]]


def test_boxes_are_cut_at_the_right_and_lower_edge_and_not_a_pixel_before() -> None:
    own = Fitted(torch.zeros(1, 3, 20, 30), (0, 0), (20, 30), (20, 30))
    boxes = torch.tensor([[0.0, 0, 30, 20], [-1, -1, 31, 21], [29.5, 19.5, 30, 20]])
    assert own.boxes(boxes).tolist() == [[0, 0, 30, 20], [0, 0, 30, 20], [29.5, 19.5, 30, 20]]


@pytest.mark.parametrize(
    ("start", "inner", "rows", "columns"),
    [
        # 6x4 in an input of 6x4 at half the stride: what is said of each 2x2 pixels is that of all four.
        ((0, 0), (6, 4), [0, 1, 2, 3, 4, 5], [0, 1, 2, 3]),
        # Filled up around: row 1 and column 2 of the input are the first of the picture.
        ((1, 2), (3, 2), [1, 2, 3], [2, 3]),
        # Cut: of 8 rows the first and the last are not in the input, of 7 columns the first two and the last.
        ((-1, 0), (8, 4), [0, 0, 1, 2, 3, 4, 5, 5], [0, 1, 2, 3]),
        ((0, -2), (6, 7), [0, 1, 2, 3, 4, 5], [0, 0, 0, 1, 2, 3, 3]),
        # Filled up on the right and below alone.
        ((0, 0), (5, 3), [0, 1, 2, 3, 4], [0, 1, 2]),
        ((0, 0), (6, 3), [0, 1, 2, 3, 4, 5], [0, 1, 2]),
    ],
)
def test_maps_of_the_input_are_read_where_the_picture_is(
    start: tuple[int, int], inner: tuple[int, int], rows: list[int], columns: list[int]
) -> None:
    maps = noise(6, 4)
    expected = maps[:, :, rows][:, :, :, columns]
    assert torch.equal(Fitted(torch.zeros(1, 3, 6, 4), start, inner, inner).maps(maps), expected)
    double = (2 * inner[0], 3 * inner[1])
    larger = Fitted(torch.zeros(1, 3, 6, 4), start, inner, double).maps(maps)
    torch.testing.assert_close(larger, F.interpolate(expected, double, mode="bilinear", align_corners=False))


def test_maps_of_a_stride_are_enlarged_to_the_input_before_they_are_cut() -> None:
    maps = noise(3, 2)
    fitted = Fitted(torch.zeros(1, 3, 12, 8), (4, 1), (6, 5), (6, 5))
    enlarged = F.interpolate(maps, (12, 8), mode="bilinear", align_corners=False)
    torch.testing.assert_close(fitted.maps(maps), enlarged[..., 4:10, 1:6])
