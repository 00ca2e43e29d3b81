"""RGB and the 10-bit planes that video codecs take: BT.709, full range.

Where chroma is 4:2:0, it is made with Lanczos and enlarged bicubically, both centred on its pixels.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from icm_baselines.external import Pixels

Plane: TypeAlias = npt.NDArray[np.float64]

_RED, _BLUE = 0.2126, 0.0722
_GREEN = 1 - _RED - _BLUE
_TOP, _MIDDLE = 1023, 512


def to_planes(pixels: Pixels, halved: bool) -> bytes:
    """Planes Y, Cb, Cr one after the other, 16-bit little-endian samples of 10 bits.

    Args:
        pixels: the picture; both sides even if the colour planes are to be halved.
        halved: if True, Cb and Cr have half as many rows and columns (4:2:0).
    """
    red, green, blue = np.moveaxis(pixels / 255.0, 2, 0)
    luma = _RED * red + _GREEN * green + _BLUE * blue
    differences = ((blue - luma) / (2 * (1 - _BLUE)), (red - luma) / (2 * (1 - _RED)))
    planes = [luma * _TOP, *(difference * _TOP + _MIDDLE for difference in differences)]
    if halved:
        height, width = luma.shape
        size = (width // 2, height // 2)
        planes[1:] = [_resized(plane, size, Image.Resampling.LANCZOS) for plane in planes[1:]]
    return b"".join(np.clip(np.rint(plane), 0, _TOP).astype("<u2").tobytes() for plane in planes)


def from_planes(raw: bytes, height: int, width: int, halved: bool) -> Pixels:
    """The picture in what `to_planes` gave.

    Args:
        raw: exactly as many bytes as `planes_bytes` says.
        height: rows of the picture.
        width: columns of the picture.
        halved: whether Cb and Cr are halved.
    """
    samples = np.frombuffer(raw, "<u2").astype(np.float64)
    luma = samples[: height * width].reshape(height, width) / _TOP
    shape = (2, height // 2, width // 2) if halved else (2, height, width)
    chroma = samples[height * width :].reshape(shape)
    if halved:
        chroma = np.stack([_resized(plane, (width, height), Image.Resampling.BICUBIC) for plane in chroma])
    to_blue, to_red = (chroma - _MIDDLE) / _TOP
    red = luma + 2 * (1 - _RED) * to_red
    blue = luma + 2 * (1 - _BLUE) * to_blue
    green = (luma - _RED * red - _BLUE * blue) / _GREEN
    pixels: Pixels = np.clip(np.rint(np.stack([red, green, blue], 2) * 255), 0, 255).astype(np.uint8)
    return pixels


def planes_bytes(height: int, width: int, halved: bool) -> int:
    """Bytes of all three planes."""
    return height * width * 3 if halved else height * width * 6


def _resized(plane: Plane, size: tuple[int, int], method: Image.Resampling) -> Plane:
    """A plane at another (width, height)."""
    return np.asarray(Image.fromarray(plane.astype(np.float32)).resize(size, method)).astype(np.float64)
