"""Captions find places of their own; masks and points are drawn to their last pixel, and on a copy of the picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
from PIL import Image, ImageFont

from icm_core.kinds import label
from icm_core.types import Colour
from icm_tasks.kinds.painting import with_boxes, with_masks, with_points

Rectangle: TypeAlias = tuple[float, float, float, float]
RED, BLUE = (250, 0, 0), (0, 0, 250)


@pytest.fixture
def placed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Rectangle]]:
    """Where on a black picture the captions of boxes are written: left, top, right, bottom by caption."""
    found: dict[str, Rectangle] = {}

    def seen(picture: Image.Image, place: tuple[float, float], text: str, colour: Colour, size: int) -> None:
        wide, high = ImageFont.load_default(size).getlength(text) + size // 2, 1.5 * size
        left, top = (
            max(0.0, min(start, side - extent))
            for start, side, extent in zip(place, picture.size, (wide, high), strict=True)
        )
        found[text] = (left, top, left + wide, top + high)
        label(picture, place, text, colour, size)

    def draw(size: tuple[int, int], *boxes: Rectangle) -> dict[str, Rectangle]:
        found.clear()
        names = [f"thing {number}" for number in range(len(boxes))]
        with_boxes(Image.new("RGB", size), boxes, names, [RED] * len(boxes))
        return dict(found)

    monkeypatch.setattr("icm_tasks.kinds.painting.label", seen)
    return draw


def meet(one: Rectangle, other: Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def test_captions_are_above_their_box_then_inside_then_at_its_right_then_below(placed: Any) -> None:
    found = placed((800, 960), *[(300, 400, 560, 560)] * 7)
    assert len(found) == 6  # for the seventh there is no place
    high = 1.5 * 32  # of text that is a 24th of the shorter side, and 32 at most
    wide = [right - left for left, _, right, _ in found.values()]
    assert [(left, top) for left, top, _, _ in found.values()] == [
        (300, 400 - high),
        (300, 400),
        (560 - wide[2], 400 - high),
        (300, 560),
        (300, 560 - high),
        (560 - wide[5], 560),
    ]


@pytest.mark.parametrize("seed", range(8))
def test_captions_at_the_pictures_edges_do_not_cover_each_other(placed: Any, seed: int) -> None:
    random = np.random.default_rng(seed)
    width, height = 300, 200
    corners = [
        (x, y, x + 14, y + 10)
        for x, y in zip(random.integers(230, 286, 10).tolist(), random.integers(0, 190, 10).tolist(), strict=True)
    ]
    rectangles = [*placed((width, height), *corners).values()]
    assert len(rectangles) >= 4
    for number, one in enumerate(rectangles):
        assert one[0] >= 0 and one[2] <= width + 1e-6 and one[1] >= 0 and one[3] <= height + 1e-6
        assert not any(meet(one, other) for other in rectangles[:number])


@pytest.mark.parametrize("box", [(100, 185, 114, 195), (100, 2, 114, 12)], ids=["below", "above"])
def test_a_caption_that_the_edge_moves_over_another_is_left_out(placed: Any, box: Rectangle) -> None:
    """The only free place of the second one would reach a pixel or two beyond the picture, or cover the first."""
    rectangles = [*placed((300, 200), box, box, box).values()]
    assert rectangles and not any(
        meet(one, other) for number, one in enumerate(rectangles) for other in rectangles[:number]
    )


def test_captions_of_boxes_that_are_apart_are_all_at_their_first_place(placed: Any) -> None:
    boxes = [(x, y, x + 100, y + 60) for y in (450, 50, 250) for x in (300, 20, 160)]
    found = placed((480, 640), *boxes)
    assert [rectangle[:2] for rectangle in found.values()] == [(x, y - 30) for x, y, _, _ in boxes]


def test_lines_of_boxes_are_as_wide_as_the_picture_asks_for() -> None:
    drawn = np.asarray(with_boxes(Image.new("RGB", (640, 800)), [(100, 200, 500, 700)], [""], [RED]))
    assert np.flatnonzero((drawn[600] == RED).all(-1)).tolist() == [*range(100, 104), *range(496, 500)]


def test_a_mask_is_drawn_to_its_last_row_and_column_with_a_border_on_all_sides() -> None:
    mask = np.zeros((1, 12, 15), dtype=np.bool_)
    mask[0, 2:9, 3:11] = True
    pixels = np.asarray(with_masks(Image.new("RGB", (15, 12), (9, 9, 9)), mask, [(255, 0, 100)]))
    inner = np.zeros((12, 15), dtype=np.bool_)
    inner[3:8, 4:10] = True
    assert (pixels[~mask[0]] == 9).all()
    assert (pixels[mask[0] & ~inner] == (255, 0, 100)).all()
    assert (pixels[inner] == (132, 4, 54)).all()  # half of the colour: 132, 4.5 and 54.5, rounded to even


def test_half_grey_levels_of_masks_are_rounded_and_not_cut() -> None:
    mask = np.ones((1, 5, 5), dtype=np.bool_)
    pixels = np.asarray(with_masks(Image.new("RGB", (5, 5), (8, 8, 8)), mask, [(11, 15, 9)]))
    assert pixels[2, 2].tolist() == [10, 12, 8]  # 9.5, 11.5 and 8.5


@pytest.mark.parametrize("mode", ["L", "P", "RGBA"])
def test_pictures_of_any_mode_are_drawn_on_in_colour(mode: str) -> None:
    picture = Image.new("RGB", (40, 30), (60, 60, 60)).convert(mode)
    masked = with_masks(picture, np.ones((1, 30, 40), dtype=np.bool_), [RED])
    boxed = with_boxes(picture, [(5, 5, 30, 25)], [""], [RED])
    dotted = with_points(picture, [[(20, 15)]], [RED])
    assert [one.mode for one in (masked, boxed, dotted)] == ["RGB"] * 3
    assert masked.getpixel((0, 0)) == boxed.getpixel((5, 20)) == dotted.getpixel((20, 15)) == RED


def test_the_picture_itself_stays_as_it_is() -> None:
    picture = Image.new("RGB", (40, 30), (60, 60, 60))
    with_masks(picture, np.ones((1, 30, 40), dtype=np.bool_), [RED])
    with_boxes(picture, [(5, 5, 30, 25)], ["thing"], [RED])
    with_points(picture, [[(20, 15)]], [RED])
    assert picture.getcolors() == [(1200, (60, 60, 60))]


def test_of_points_that_meet_the_first_things_are_on_top() -> None:
    drawn = with_points(Image.new("RGB", (40, 30)), [[(20, 15)], [(20, 15)]], [RED, BLUE])
    assert drawn.getpixel((20, 15)) == RED
