"""What answers are drawn with: colours, overlays, captions, legends; in pixels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont

from icm_core.kinds.painting import (
    captioned,
    colour_of,
    indexed_picture,
    label,
    overlay,
    swatches,
    text_size,
    with_legend,
)
from icm_core.types import Legend

LEGEND = Legend(("sky", "road"), (), ((10, 20, 30), (200, 100, 0)))


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB")).astype(int)


def test_the_legends_colours_come_first_and_made_up_ones_are_told_apart() -> None:
    assert [colour_of(index, LEGEND) for index in (0, 1)] == [(10, 20, 30), (200, 100, 0)]
    made = [colour_of(index, Legend()) for index in range(256)]
    assert made[2] == colour_of(2, LEGEND)
    assert len(set(made)) == 256
    assert all(0 <= channel <= 255 for colour in made for channel in colour)
    distances = [max(abs(a - b) for a, b in zip(*pair, strict=True)) for pair in itertools.pairwise(made[:140])]
    assert min(distances) > 20


def test_made_up_colours_are_okabes_and_itos() -> None:
    hexadecimal = ["E69F00", "56B4E9", "009E73", "F0E442", "0072B2", "D55E00", "CC79A7"]
    assert [bytes(colour_of(index, Legend())).hex().upper() for index in range(7)] == hexadecimal


def test_shades_go_darker_and_lighter_in_turns() -> None:
    brightness = [sum(colour_of(7 * turn, Legend())) for turn in range(5)]
    assert brightness[1] < brightness[0] < brightness[2]
    assert brightness[3] < brightness[1] and brightness[2] < brightness[4]


def test_a_class_map_is_a_palette_of_its_colours() -> None:
    classes = torch.tensor([[0, 1, 1], [1, 0, 5]])
    picture = indexed_picture(classes, LEGEND)
    assert (picture.mode, picture.size) == ("P", (3, 2))
    assert np.asarray(picture).tolist() == classes.tolist()
    assert pixels(picture)[0, :2].tolist() == [[10, 20, 30], [200, 100, 0]]
    assert tuple(pixels(picture)[1, 2]) == colour_of(5, LEGEND)


def test_what_is_laid_over_covers_so_much() -> None:
    below, above = Image.new("RGB", (2, 2), (100, 0, 200)), Image.new("RGB", (2, 2), (0, 50, 200))
    assert pixels(overlay(below, above, 0.25))[0, 0].tolist() == pytest.approx([75, 12.5, 200], abs=1)
    assert pixels(overlay(below, above))[0, 0].tolist() == pytest.approx([40, 30, 200], abs=1)  # 60 %


def test_the_shares_of_a_tall_map_are_of_all_its_rows() -> None:
    tall = torch.zeros(2500, 4, dtype=torch.uint8)
    tall[:1500], tall[2400:] = 1, 7
    assert [(one.index, one.share) for one in swatches(tall, LEGEND)] == [(1, 0.6), (0, 0.36), (7, 0.04)]


def test_swatches_are_shares_largest_first() -> None:
    found = swatches(torch.tensor([[1, 1, 0], [1, 7, 7], [1, 7, 7], [1, 1, 1]]), LEGEND)
    assert [(one.label, one.index, one.colour) for one in found] == [
        ("road", 1, (200, 100, 0)),
        ("7", 7, colour_of(7, LEGEND)),
        ("sky", 0, (10, 20, 30)),
    ]
    assert [one.share for one in found] == pytest.approx([7 / 12, 4 / 12, 1 / 12])


@pytest.mark.parametrize(("size", "height"), [((100, 50), 11), ((480, 2000), 20), ((4000, 3000), 32), ((24, 24), 11)])
def test_text_grows_with_the_picture_within_bounds(size: tuple[int, int], height: int) -> None:
    assert text_size(Image.new("RGB", size)) == height


@pytest.mark.parametrize("place", [(0, 0), (500, 500), (-40, 10), (30, -9)])
@pytest.mark.parametrize(("colour", "text"), [((255, 255, 255), 28), ((0, 0, 90), 255)])
def test_a_label_is_kept_inside_and_can_be_read(
    place: tuple[int, int], colour: tuple[int, int, int], text: int
) -> None:
    picture = Image.new("RGB", (120, 60), (0, 255, 0))
    label(picture, place, "tree", colour)
    found = pixels(picture)
    box = np.argwhere((found != (0, 255, 0)).any(2))
    (top, left), (bottom, right) = box.min(0), box.max(0)
    assert 20 < right - left < 60 and 10 < bottom - top < 30
    assert (found[top : bottom + 1, left : right + 1] == colour).all(2).mean() > 0.4
    inner = found[top : bottom + 1, left : right + 1].reshape(-1, 3)
    assert abs(inner - text).max(1).min() < 40  # letters in the ink that reads on this colour
    for asked, low, high, most in ((place[0], left, right, 119), (place[1], top, bottom, 59)):
        if asked <= 0:
            assert low == 0
        elif asked > most:
            assert high >= most - 1


@pytest.mark.parametrize(
    ("colour", "dark"),
    [
        ((255, 120, 0), True),  # brightness 147, of 140 that are the border: red counts 0.299
        ((0, 120, 255), False),  # 100
        ((150, 150, 255), True),  # 162, without blue 133
        ((180, 100, 100), False),  # 124, and red alone more
        ((45, 200, 90), True),  # 141: green counts most
    ],
)
def test_the_ink_follows_from_a_colours_brightness(colour: tuple[int, int, int], dark: bool) -> None:
    picture = Image.new("RGB", (120, 60), colour)
    label(picture, (0, 0), "tree", colour)
    inner = pixels(picture).reshape(-1, 3)
    ink, paper = ((np.abs(inner - np.array(one)).max(1) < 20).any() for one in ((25, 28, 33), (255, 255, 255)))
    assert (ink, paper) == (dark, not dark)


def test_a_labels_box_is_its_text_and_half_its_size_more() -> None:
    picture = Image.new("RGB", (300, 200), (0, 255, 0))
    label(picture, (10, 20), "a long label", (255, 0, 255), 20)
    box = np.argwhere((pixels(picture) != (0, 255, 0)).any(2))
    left, top, right, bottom = ImageFont.load_default(20).getbbox("a long label")
    wide, high = right - left + 10, bottom - top + 10
    assert box.min(0).tolist() == [20, 10]
    assert (box.max(0) - box.min(0)).tolist() == pytest.approx([high, wide], abs=1)


def test_lines_stand_below_each_other_on_a_copy() -> None:
    picture = Image.new("RGB", (200, 120), (0, 255, 0))
    one, two = captioned(picture, ["a line"]), captioned(picture, ["a line", "another line"])
    assert (pixels(picture) == (0, 255, 0)).all()
    rows = [np.flatnonzero((pixels(drawn) != (0, 255, 0)).any((1, 2))) for drawn in (one, two)]
    assert rows[0].min() == rows[1].min() and rows[1].max() - rows[0].max() >= 11
    assert np.array_equal(pixels(one)[: rows[0].max() - 5], pixels(two)[: rows[0].max() - 5])


def test_a_strip_below_names_the_largest_classes_as_far_as_there_is_room() -> None:
    found = swatches(torch.tensor([[1, 1, 0]]), LEGEND)
    picture = Image.new("RGB", (200, 100), (0, 255, 0))
    drawn = with_legend(picture, found)
    assert drawn.width == 200 and drawn.height > 110
    assert (pixels(drawn)[:100] == (0, 255, 0)).all()
    strip = pixels(drawn)[100:]
    road, sky = ((strip == one.colour).all(2) for one in found)
    assert road.any() and sky.any()
    assert np.argwhere(road)[:, 1].min() < np.argwhere(sky)[:, 1].min()
    narrow = pixels(with_legend(Image.new("RGB", (100, 100)), found))[100:]
    assert (narrow == found[0].colour).all(2).any() and not (narrow == found[1].colour).all(2).any()


def test_a_number_below_0_has_a_colour_of_its_own() -> None:
    assert colour_of(-1, LEGEND) == colour_of(-1, Legend()) != LEGEND.colours[-1]


def test_a_palette_has_the_colours_of_all_labels_though_few_occur() -> None:
    """A viewer of class maps makes its list of classes from it."""
    few = indexed_picture(torch.tensor([[0, 0]]), Legend(("a", "b", "c"), (), ((1, 2, 3), (4, 5, 6), (7, 8, 9))))
    assert few.getpalette()[:9] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    more = indexed_picture(torch.tensor([[0, 4]]), LEGEND)
    assert tuple(more.getpalette()[12:15]) == colour_of(4, LEGEND) and len(more.getpalette()) == 15
    none = indexed_picture(torch.zeros(0, 3, dtype=torch.uint8), LEGEND)
    assert none.size == (3, 0)
