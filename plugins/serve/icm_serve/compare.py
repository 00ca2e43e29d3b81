"""What other codecs make of a picture at the same number of bytes, to be looked at beside an `.icm` file."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from icm_core.errors import InputError
from icm_core.jpeg import MAX_SIDE, jpeg_bytes, largest_within

CodecName = Literal["jpeg", "webp"]


@dataclass(frozen=True)
class Yardstick:
    """A codec of Pillow.

    Attributes:
        media: its files' media type.
        max_side: the longest side that a file can hold.
        encode: picture and quality, 1 to 100 -> file.
    """

    media: str
    max_side: int
    encode: Callable[[Image.Image, int], bytes]


def _webp(picture: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=quality)
    return buffer.getvalue()


YARDSTICKS: Mapping[CodecName, Yardstick] = {
    "jpeg": Yardstick("image/jpeg", MAX_SIDE, jpeg_bytes),
    "webp": Yardstick("image/webp", 16_383, _webp),
}


def compared(picture: Image.Image, codec: CodecName, limit: int) -> tuple[int, bytes]:
    """The best file of a codec within a number of bytes; where none is so small, the smallest.

    Args:
        picture: RGB.
        codec: its name.
        limit: bytes.

    Returns:
        Pillow's quality, 1 to 100, and the file.

    Raises:
        InputError: the picture has a longer side than the codec can hold.
    """
    how = YARDSTICKS[codec]
    if max(picture.size) > how.max_side:
        raise InputError(
            f"the picture is {picture.width}x{picture.height}; a side in a {codec} file is at most {how.max_side}"
        )
    best = largest_within(lambda quality: how.encode(picture, quality), limit)
    return best or (1, how.encode(picture, 1))
