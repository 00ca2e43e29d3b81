"""The yardsticks: PSNR by its definition, and the best JPEG within a number of bytes by trying all."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from icm_core.jpeg import jpeg_within, psnr


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """A smooth picture with a little noise, 48 x 32."""
    rows, columns = np.mgrid[0:32, 0:48]
    noise = np.random.default_rng(0).normal(0, 6, (32, 48, 3))
    pixels = np.stack([rows * 7, columns * 5, rows * columns / 6], 2) + noise
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def files(picture: Image.Image) -> dict[int, bytes]:
    """The picture at every quality."""
    found = {}
    for quality in range(1, 101):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality, subsampling="4:2:0", optimize=True)
        found[quality] = buffer.getvalue()
    return found


def test_psnr_is_10_log10_of_255_squared_over_the_mean_squared_error() -> None:
    one, other = Image.new("RGB", (4, 2), (10, 20, 30)), Image.new("RGB", (4, 2), (10, 23, 26))
    assert psnr(one, other) == pytest.approx(10 * math.log10(255**2 / ((0 + 9 + 16) / 3)))
    black, white = Image.new("RGB", (4, 2)), Image.new("RGB", (4, 2), "white")
    assert psnr(black, white) == psnr(white, black) == 0
    assert psnr(one, one) == math.inf


@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.parametrize("quality", [1, 2, 37, 75, 99, 100])
def test_the_highest_quality_that_fits_is_found(
    picture: Image.Image, files: dict[int, bytes], quality: int, more: int
) -> None:
    limit = len(files[quality]) + more
    fitting = [one for one, blob in files.items() if len(blob) <= limit]
    found = jpeg_within(picture, limit)
    if not fitting:
        assert found is None
        return
    assert found is not None
    # Sizes do not quite rise with the quality: what is found is one where they cross the limit.
    assert found.bytes <= limit and len(files[found.quality]) == found.bytes
    assert len(files[min(found.quality + 1, 100)]) > limit or found.quality == 100
    decoded = Image.open(io.BytesIO(files[found.quality])).convert("RGB")
    assert np.array_equal(np.asarray(found.picture), np.asarray(decoded))
    assert found.psnr == psnr(picture, decoded)


def test_a_side_that_jpeg_cannot_hold_gives_none() -> None:
    assert jpeg_within(Image.new("RGB", (65_500, 1)), 10**6) is not None
    assert jpeg_within(Image.new("RGB", (65_501, 1)), 10**6) is None
