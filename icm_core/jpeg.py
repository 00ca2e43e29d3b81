"""Two yardsticks of a decoded picture: PSNR, and JPEG at the same number of bytes."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

MAX_SIDE = 65_500
"""Of a JPEG picture, as libjpeg has it."""

_QUALITIES = range(1, 101)


@dataclass(frozen=True)
class Jpeg:
    """The best JPEG of a picture within a number of bytes.

    Attributes:
        quality: Pillow's quality, 1 to 100.
        bytes: its size.
        psnr: in dB against the original.
        picture: what it decodes to.
    """

    quality: int
    bytes: int
    psnr: float
    picture: Image.Image


def psnr(original: Image.Image, decoded: Image.Image) -> float:
    """PSNR in dB of two RGB pictures of one size over all 8-bit samples; infinite if they are equal."""
    difference = np.asarray(original, dtype=np.float64) - np.asarray(decoded, dtype=np.float64)
    error = float(np.mean(difference**2))
    return 10 * math.log10(255**2 / error) if error else math.inf


def jpeg_within(original: Image.Image, limit: int) -> Jpeg | None:
    """The JPEG (Pillow, 4:2:0, optimised tables) of the highest quality that is not larger than `limit` bytes.

    None where even quality 1 is larger, or where a side is longer than JPEG can hold.
    """
    if max(original.size) > MAX_SIDE:
        return None
    best = largest_within(lambda quality: jpeg_bytes(original, quality), limit)
    if best is None:
        return None
    quality, blob = best
    with Image.open(io.BytesIO(blob)) as image:
        picture = image.convert("RGB")
    return Jpeg(quality, len(blob), psnr(original, picture), picture)


def largest_within(encode: Callable[[int], bytes], limit: int) -> tuple[int, bytes] | None:
    """The highest of Pillow's qualities, 1 to 100, whose file is not larger than `limit` bytes, and the file.

    Found by halving, as if files grew with quality. None where even quality 1 is larger.

    Args:
        encode: quality -> file.
        limit: bytes.
    """
    low, high = 0, len(_QUALITIES)  # _QUALITIES[:low] fit, _QUALITIES[high:] do not
    best: tuple[int, bytes] | None = None
    while low < high:
        middle = (low + high) // 2
        blob = encode(_QUALITIES[middle])
        if len(blob) <= limit:
            low, best = middle + 1, (_QUALITIES[middle], blob)
        else:
            high = middle
    return best


def jpeg_bytes(picture: Image.Image, quality: int) -> bytes:
    """The picture as the content of a JPEG file (Pillow, 4:2:0, optimised tables)."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality, subsampling="4:2:0", optimize=True)
    return buffer.getvalue()
