"""Two yardsticks of a decoded picture: PSNR, and JPEG at the same number of bytes."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

_QUALITIES = range(1, 101)
_MAX_SIDE = 65_500  # of libjpeg


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
    if max(original.size) > _MAX_SIDE:
        return None
    low, high = 0, len(_QUALITIES)  # _QUALITIES[:low] fit, _QUALITIES[high:] do not
    best: tuple[int, bytes] | None = None
    while low < high:
        middle = (low + high) // 2
        blob = _encode(original, _QUALITIES[middle])
        if len(blob) <= limit:
            low, best = middle + 1, (_QUALITIES[middle], blob)
        else:
            high = middle
    if best is None:
        return None
    quality, blob = best
    with Image.open(io.BytesIO(blob)) as image:
        picture = image.convert("RGB")
    return Jpeg(quality, len(blob), psnr(original, picture), picture)


def _encode(picture: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality, subsampling="4:2:0", optimize=True)
    return buffer.getvalue()
