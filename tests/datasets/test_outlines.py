"""Outlines of any form against pycocotools' own encoder, and text that nobody encoded."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as rle
from pycocotools.coco import COCO

from icm_datasets.outlines import mask_of, unpacked

MASKS = arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(0, 1))


@given(MASKS)
def test_run_lengths_say_the_mask_as_text_and_as_numbers(mask: np.ndarray) -> None:
    text = rle.encode(np.asfortranarray(mask))["counts"].decode()
    counts = unpacked(text)
    bits = itertools.chain.from_iterable([number % 2] * count for number, count in enumerate(counts))
    assert [*bits] == mask.flatten(order="F").tolist()
    for written in (text, counts):
        found = mask_of({"size": [*mask.shape], "counts": written}, mask.shape, COCO)
        assert found.tolist() == mask.tolist()


@given(st.text(max_size=40), st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_any_text_is_a_mask_or_an_error(text: str, size: tuple[int, int]) -> None:
    try:
        found = mask_of({"size": [*size], "counts": text}, size, COCO)
    except ValueError:
        return
    assert found.shape == size and sum(unpacked(text)) == size[0] * size[1]


@given(
    st.lists(st.lists(st.floats(allow_nan=True), max_size=20), max_size=3),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_any_polygons_are_a_mask_or_an_error(polygons: list[list[float]], size: tuple[int, int]) -> None:
    try:
        found = mask_of(polygons, size, COCO)
    except ValueError:
        return
    assert found.shape == size and int(found.max()) <= 1


@pytest.mark.parametrize("reach", [-10, 20])
def test_polygons_may_reach_beyond_the_picture_a_little(reach: float) -> None:
    found = mask_of([[reach, 0, 5, 0, 5, 10, reach, 10]], (10, 10), COCO)
    assert found.sum() == 50


@pytest.mark.parametrize(("x", "y"), [(-10, -4), (20, 8), (3, 8), (20, 2)])
def test_points_may_be_as_far_outside_as_the_picture_is_large(x: float, y: float) -> None:
    """A picture of 10x4 pixels."""
    assert mask_of([[x, y, 5, 0, 5, 4]], (4, 10), COCO).shape == (4, 10)


@pytest.mark.parametrize(
    ("x", "y", "what"), [(-10.5, 0, "-10.5"), (0, -4.5, "-4.5"), (20.5, 0, "20.5"), (0, 8.5, "8.5"), (0, True, "True")]
)
def test_points_further_outside_are_refused(x: float, y: float, what: str) -> None:
    with pytest.raises(ValueError, match=rf"a polygon has {what}, which is no place in or near 10x4 pixels"):
        mask_of([[x, y, 5, 0, 5, 4]], (4, 10), COCO)


def test_a_number_has_at_most_as_many_groups_as_64_bits_need() -> None:
    """Of five bits; those in front of the last one are empty here."""
    assert unpacked("P" * 12 + "1") == [1 << 60]
    with pytest.raises(ValueError, match="its counts are no run lengths"):
        unpacked("P" * 13 + "0")


def test_run_lengths_are_in_columns_of_a_picture_of_any_form() -> None:
    found = mask_of({"size": [2, 3], "counts": [1, 2, 3]}, (2, 3), COCO)
    assert found.tolist() == [[0, 1, 0], [1, 0, 0]]
    with pytest.raises(ValueError, match=r"are of the size \[3, 2\], and the picture is \[2, 3\]"):
        mask_of({"size": [3, 2], "counts": [1, 2, 3]}, (2, 3), COCO)
