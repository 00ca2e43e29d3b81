"""Codecs that Pillow brings: JPEG, JPEG 2000, WebP, AVIF."""

from __future__ import annotations

import io
import warnings
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from PIL import Image, features
from pydantic import Field

from icm_baselines.external import MOST_SETTINGS, ExternalCodec, ExternalParams, Pixels, check_picture, whole
from icm_core.errors import BitstreamError, InputError

Chroma = Literal["4:4:4", "4:2:0"]


class PillowCodec(ExternalCodec):
    """A codec that Pillow writes and reads."""

    format: ClassVar[str]
    feature: ClassVar[str | None] = None
    remedy: ClassVar[str] = "pip install 'icm-framework[baselines]'"

    def options(self, setting: float, size: tuple[int, int]) -> dict[str, Any]:
        """What ``Image.save`` is called with, for a picture of (height, width)."""
        raise NotImplementedError

    def require(self) -> None:
        """Raise `InputError` with the way out, where this installation lacks the codec."""
        if self.feature is not None and not features.check(self.feature):
            raise InputError(f"{self.name} needs Pillow with {self.format}, which this one lacks: {self.remedy}")

    def claimed(self, payload: bytes) -> tuple[int, int] | None:
        """(height, width) that the payload claims, None where Pillow finds it out before it decodes.

        Raises:
            BitstreamError: `compress` writes no such payload.
        """
        return None if payload else (0, 0)

    def compress(self, pixels: Pixels, setting: float) -> bytes:
        """See `ExternalCodec.compress`."""
        self.require()
        buffer = io.BytesIO()
        height, width = pixels.shape[:2]
        try:
            Image.fromarray(pixels).save(buffer, self.format, **self.options(setting, (height, width)))
        except Exception as error:  # each codec's limits come as whatever its binding raises
            raise InputError(f"{self.name} cannot code a picture of {width}x{height} pixels: {_said(error)}") from error
        return buffer.getvalue()

    def decompress(self, payload: bytes, size: tuple[int, int]) -> Pixels:
        """See `ExternalCodec.decompress`."""
        self.require()
        claimed = self.claimed(payload)
        if claimed is not None:
            check_picture(self.name, claimed, size)
        try:
            with warnings.catch_warnings():
                # Pillow warns of pictures that are large; this one's size is known, and checked before it is decoded.
                warnings.simplefilter("ignore")
                with Image.open(io.BytesIO(payload), formats=[self.format]) as image:
                    check_picture(self.name, (image.height, image.width), size)
                    return np.asarray(image.convert("RGB"))
        except BitstreamError:
            raise
        except Exception as error:  # on damaged data, decoders raise whatever they happen to meet
            raise BitstreamError(f"the {self.name} stream is damaged: {_said(error)}") from error


class JPEG(PillowCodec):
    """JPEG, progressive, with optimised Huffman tables (libjpeg-turbo)."""

    name: ClassVar[str] = "baselines.jpeg"
    format: ClassVar[str] = "JPEG"

    class Params(ExternalParams):
        """Quality numbers, and chroma."""

        settings: tuple[Annotated[int, Field(ge=1, le=100)], ...] = Field(
            (3, 6, 10, 20, 40, 65),
            min_length=1,
            max_length=MOST_SETTINGS,
            description="JPEG's own quality (1...100) for quality 1, 2, ...; in between interpolated and rounded",
        )
        chroma: Chroma = Field("4:2:0", description="resolution of the colour planes")

    params: Params

    def options(self, setting: float, size: tuple[int, int]) -> dict[str, Any]:  # noqa: ARG002
        """Of ``Image.save``."""
        chroma = self.params.chroma
        return {"quality": whole(setting), "subsampling": chroma, "optimize": True, "progressive": True}


class JPEG2000(PillowCodec):
    """JPEG 2000 in a JP2 file: 9/7 wavelet, irreversible colour transform, coded to a target rate (OpenJPEG)."""

    name: ClassVar[str] = "baselines.jpeg2000"
    format: ClassVar[str] = "JPEG2000"
    feature: ClassVar[str | None] = "jpg_2000"

    class Params(ExternalParams):
        """Target rates."""

        settings: tuple[Annotated[float, Field(ge=0.005, le=24)], ...] = Field(
            (0.05, 0.1, 0.2, 0.4, 0.8, 1.2),
            min_length=1,
            max_length=MOST_SETTINGS,
            description="target in bits per pixel (0.005...24) for quality 1, 2, ...; in between interpolated",
        )

    params: Params

    def options(self, setting: float, size: tuple[int, int]) -> dict[str, Any]:
        """Of ``Image.save``."""
        # OpenJPEG refuses more resolutions than halvings of the picture; six are its default.
        resolutions = min(6, min(size).bit_length())
        return {
            "quality_mode": "rates",
            "quality_layers": [24 / setting],
            "irreversible": True,
            "mct": 1,
            "num_resolutions": resolutions,
        }


class WebP(PillowCodec):
    """Lossy WebP at its slowest method; its chroma is always 4:2:0 (libwebp)."""

    name: ClassVar[str] = "baselines.webp"
    format: ClassVar[str] = "WEBP"
    feature: ClassVar[str | None] = "webp"

    class Params(ExternalParams):
        """Quality numbers."""

        settings: tuple[Annotated[int, Field(ge=0, le=100)], ...] = Field(
            (0, 5, 20, 45, 70, 82),
            min_length=1,
            max_length=MOST_SETTINGS,
            description="WebP's own quality (0...100) for quality 1, 2, ...; in between interpolated and rounded",
        )

    params: Params

    def options(self, setting: float, size: tuple[int, int]) -> dict[str, Any]:  # noqa: ARG002
        """Of ``Image.save``."""
        return {"quality": whole(setting), "method": 6}

    def claimed(self, payload: bytes) -> tuple[int, int]:
        """Size in the header of the one VP8 chunk; Pillow's reader has memory for it before it tells the size."""
        if (
            len(payload) < 30
            or payload[:4] != b"RIFF"
            or payload[8:16] != b"WEBPVP8 "
            or payload[23:26] != b"\x9d\x01*"
        ):
            raise BitstreamError(f"the {self.name} stream is damaged: it is no lossy WebP file without extensions")
        width, height = (int.from_bytes(payload[at : at + 2], "little") & 0x3FFF for at in (26, 28))
        return height, width


class AVIF(PillowCodec):
    """AVIF, 8 bit, tuned for PSNR at speed 4 (libaom); its container takes 275 bytes."""

    name: ClassVar[str] = "baselines.avif"
    format: ClassVar[str] = "AVIF"
    feature: ClassVar[str | None] = "avif"

    class Params(ExternalParams):
        """Quality numbers, and chroma."""

        settings: tuple[Annotated[int, Field(ge=0, le=100)], ...] = Field(
            (1, 8, 20, 35, 50, 62),
            min_length=1,
            max_length=MOST_SETTINGS,
            description="AVIF's own quality (0...100) for quality 1, 2, ...; in between interpolated and rounded",
        )
        chroma: Chroma = Field("4:4:4", description="resolution of the colour planes")

    params: Params

    def options(self, setting: float, size: tuple[int, int]) -> dict[str, Any]:  # noqa: ARG002
        """Of ``Image.save``."""
        return {
            "quality": whole(setting),
            "subsampling": self.params.chroma,
            "codec": "aom",
            "speed": 4,
            "max_threads": 1,  # tiles and threads would change the bytes
            "advanced": {"tune": "psnr"},
        }


def _said(error: Exception) -> str:
    return str(error).strip().replace("\n", " ") or type(error).__name__
