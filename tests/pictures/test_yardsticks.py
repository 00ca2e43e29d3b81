"""JPEG within a number of bytes: which qualities are tried, and what is none."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from icm_core.jpeg import MAX_SIDE, jpeg_bytes, jpeg_within, largest_within, psnr


def growing(quality: int) -> bytes:
    """A file of ten bytes a quality."""
    return bytes(10 * quality)


def test_of_files_that_grow_the_last_that_fits_is_taken_from_1_to_100() -> None:
    for limit, quality in ((10, 1), (19, 1), (20, 2), (369, 36), (370, 37), (999, 99), (1000, 100), (5000, 100)):
        assert largest_within(growing, limit) == (quality, bytes(10 * quality))
    assert largest_within(growing, 9) is None


def test_few_files_are_made() -> None:
    made: list[int] = []

    def counted(quality: int) -> bytes:
        made.append(quality)
        return growing(quality)

    assert largest_within(counted, 505) == (50, bytes(500))
    assert len(made) <= 7 and len(set(made)) == len(made)


def test_a_side_that_jpeg_cannot_hold_gives_none_down_and_across() -> None:
    for size, fits in (
        ((MAX_SIDE, 1), True),
        ((1, MAX_SIDE), True),
        ((MAX_SIDE + 1, 1), False),
        ((1, MAX_SIDE + 1), False),
    ):
        assert (jpeg_within(Image.new("RGB", size), 10**6) is not None) is fits


def test_the_distance_is_that_of_all_three_colours() -> None:
    one, other = Image.new("RGB", (2, 2), (10, 20, 30)), Image.new("RGB", (2, 2), (10, 20, 36))
    assert math.isclose(psnr(one, other), 10 * math.log10(255**2 / (36 / 3)))
    shifted = one.copy()
    shifted.putpixel((1, 0), (10, 20, 31))  # one step in one of twelve samples
    assert math.isclose(psnr(one, shifted), 10 * math.log10(255**2 * 12))


def test_what_was_found_is_measured_against_the_original() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    found = jpeg_within(picture, len(jpeg_bytes(picture, 30)))
    assert found is not None and found.picture.mode == "RGB" and found.bytes == len(jpeg_bytes(picture, found.quality))
    error = np.mean((np.asarray(found.picture, dtype=float) - noise) ** 2)
    assert math.isclose(found.psnr, 10 * math.log10(255**2 / error)) and found.psnr < 30
