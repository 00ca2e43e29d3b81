"""Codec `lossless`: pictures that come back as they were, for label maps and thumbnails."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from icm_baselines.external import ExternalParams, whole
from icm_baselines.still import PillowCodec
from icm_core.errors import BitstreamError

_SIGNATURE = 0x2F  # first byte of a VP8L stream


class Lossless(PillowCodec):
    """Lossless WebP; few colours become a palette, so label maps as grey pictures are small (libwebp)."""

    name: ClassVar[str] = "related.lossless"
    format: ClassVar[str] = "WEBP"
    feature: ClassVar[str | None] = "webp"

    class Params(ExternalParams):
        """How hard the encoder tries."""

        settings: tuple[Annotated[int, Field(ge=0, le=100)], ...] = Field(
            (100,),
            min_length=1,
            max_length=15,
            description="the encoder's effort (0...100) for quality 1, 2, ...; the picture is the same with any",
        )

    params: Params

    def options(self, setting: float, size: tuple[int, int]) -> dict[str, Any]:  # noqa: ARG002
        """Of ``Image.save``."""
        return {"lossless": True, "exact": True, "quality": whole(setting), "method": 6}

    def claimed(self, payload: bytes) -> tuple[int, int]:
        """Size in the header of the one VP8L chunk; Pillow's reader has memory for it before it tells the size."""
        if len(payload) < 25 or payload[:4] != b"RIFF" or payload[8:16] != b"WEBPVP8L" or payload[20] != _SIGNATURE:
            raise BitstreamError(f"the {self.name} stream is damaged: it is no lossless WebP file without extensions")
        packed = int.from_bytes(payload[21:25], "little")
        return (packed >> 14 & 0x3FFF) + 1, (packed & 0x3FFF) + 1
