"""JPEG XL through Pillow and the plugin of the wheel pillow-jxl-plugin."""

from __future__ import annotations

import importlib
import math
from typing import Annotated, Any, ClassVar

from pydantic import Field

from icm_baselines.external import MOST_SETTINGS, ExternalParams
from icm_baselines.still import PillowCodec
from icm_core.errors import BitstreamError, InputError

_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width to height, numbers 1 ... 7
_SIDE_BITS = (9, 13, 18, 30)
_STEEP = (53 / 3000, -23 / 20, 25.0)  # distance below quality 30: a polynomial of the quality


class JPEGXL(PillowCodec):
    """JPEG XL at effort 7, as a bare codestream (libjxl)."""

    name: ClassVar[str] = "baselines.jpegxl"
    format: ClassVar[str] = "JXL"

    class Params(ExternalParams):
        """Butteraugli distances."""

        settings: tuple[Annotated[float, Field(ge=0.1, le=25)], ...] = Field(
            (25, 15, 9, 5, 3, 1.8),
            min_length=1,
            max_length=MOST_SETTINGS,
            description="JPEG XL's own distance (25 is worst, 0.1 best) for quality 1, 2, ...; in between interpolated",
        )

    params: Params

    def require(self) -> None:
        """Raise `InputError` with the way out, where the plugin is not installed."""
        try:
            importlib.import_module("pillow_jxl")  # tells Pillow of the format
        except ImportError as error:
            raise InputError(f"{self.name} needs the package pillow-jxl-plugin: {self.remedy}") from error

    def options(self, setting: float, size: tuple[int, int]) -> dict[str, Any]:  # noqa: ARG002
        """Of ``Image.save``."""
        return {"quality": quality_of(setting), "effort": 7, "num_threads": 1}

    def claimed(self, payload: bytes) -> tuple[int, int]:
        """Size in the codestream's header; the plugin decodes a picture before it tells its size."""
        if payload[:2] != b"\xff\x0a" or len(payload) < 12:
            raise BitstreamError(f"the {self.name} stream is damaged: it is no JPEG XL codestream")
        bits = _Bits(int.from_bytes(payload[2:12], "little"))
        small = bits.take(1)
        height = bits.side(small)
        ratio = bits.take(3)
        if not ratio:
            return height, bits.side(small)
        across, down = _RATIOS[ratio - 1]
        return height, height * across // down


class _Bits:
    """Reads a number from its lowest bit on."""

    def __init__(self, value: int) -> None:
        self._value = value

    def take(self, count: int) -> int:
        taken = self._value & ((1 << count) - 1)
        self._value >>= count
        return taken

    def side(self, small: int) -> int:
        """A side of the picture as the codestream's SizeHeader writes it."""
        return 8 * (self.take(5) + 1) if small else self.take(_SIDE_BITS[self.take(2)]) + 1


def quality_of(distance: float) -> float:
    """The quality (0...100), which the plugin takes, that libjxl makes this distance of.

    >>> [round(quality_of(d), 2) for d in (25, 15, 9, 1.0)]
    [0.0, 10.34, 20.15, 90.0]
    """
    if distance <= 6.4:
        return 100 - (distance - 0.1) / 0.09
    a, b, c = _STEEP
    return max(0.0, (-b - math.sqrt(b * b - 4 * a * (c - distance))) / (2 * a))
