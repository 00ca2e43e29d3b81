"""One picture as a raw intra stream of a video codec: HEVC with x265, VVC with vvenc."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from icm_baselines.colour import from_planes, planes_bytes, to_planes
from icm_baselines.external import MOST_SETTINGS, ExternalCodec, ExternalParams, Pixels, check_picture, whole
from icm_baselines.ffmpeg import FFmpegError, run
from icm_baselines.still import Chroma
from icm_core.errors import BitstreamError, InputError

_ALIGNMENT, _LEAST_SIDE = 8, 64  # of what the encoders get: smaller sides are refused by one or the other
_HEADER_LIMIT = 256


class VideoCodec(ExternalCodec):
    """A raw stream (Annex B) of one 10-bit picture, without a container.

    The picture is continued by its edge to sides that are multiples of 8 and at least 64, and cut back after
    decoding: its size is in the ``.icm`` file.
    """

    stream: ClassVar[str]

    @property
    @abstractmethod
    def halved(self) -> bool:
        """Whether `compress` codes the colour planes at half their resolution."""

    @abstractmethod
    def encoder(self, setting: int) -> list[str]:
        """ffmpeg's arguments that choose and set up the encoder, for a QP."""

    def compress(self, pixels: Pixels, setting: float) -> bytes:
        """See `ExternalCodec.compress`."""
        height, width = pixels.shape[:2]
        rows, columns = _coded(height), _coded(width)
        padded = np.pad(pixels, ((0, rows - height), (0, columns - width), (0, 0)), mode="edge")
        form = "yuv420p10le" if self.halved else "yuv444p10le"
        source = ["-f", "rawvideo", "-pix_fmt", form, "-s", f"{columns}x{rows}", "-protocol_whitelist", "pipe"]
        target = ["-frames:v", "1", *self.encoder(whole(setting)), "-f", self.stream, "pipe:1"]
        raw = to_planes(padded, self.halved)
        try:
            return run(self.name, [*source, "-i", "pipe:0", *target], raw, rows * columns)
        except FFmpegError as error:
            raise InputError(f"{self.name} cannot code a picture of {width}x{height} pixels: {error}") from error

    def decompress(self, payload: bytes, size: tuple[int, int]) -> Pixels:
        """See `ExternalCodec.decompress`."""
        rows, columns = _coded(size[0]), _coded(size[1])
        limit = (rows + _LEAST_SIDE) * (columns + _LEAST_SIDE)  # decoders count whole coding blocks
        source = ["-f", self.stream, "-max_pixels", str(limit), "-threads", "1", "-protocol_whitelist", "pipe"]
        strict = ["-xerror", "-err_detect", "explode"]
        # This format has the picture's size in its header; formats of 10 bits are its extensions.
        target = ["-frames:v", "1", "-strict", "-1", "-f", "yuv4mpegpipe", "pipe:1"]
        try:
            found = run(self.name, [*strict, *source, "-i", "pipe:0", *target], payload, rows * columns)
        except FFmpegError as error:
            raise BitstreamError(f"the {self.name} stream is damaged: {error}") from error
        height, width, halved, raw = _unpacked(self.name, found)
        check_picture(self.name, (height, width), (rows, columns))
        if len(raw) != planes_bytes(rows, columns, halved):
            raise BitstreamError(f"the {self.name} stream is damaged: it holds {len(raw)} bytes of pixels")
        return np.ascontiguousarray(from_planes(raw, rows, columns, halved)[: size[0], : size[1]])


class HEVC(VideoCodec):
    """HEVC intra: x265 at its slowest preset, tuned for PSNR, 10 bit."""

    name: ClassVar[str] = "baselines.hevc"
    stream: ClassVar[str] = "hevc"

    class Params(ExternalParams):
        """QPs, and chroma."""

        settings: tuple[Annotated[int, Field(ge=0, le=51)], ...] = Field(
            (51, 45, 40, 35, 30, 25),
            min_length=1,
            max_length=MOST_SETTINGS,
            description="QP (51 is worst, 0 best) for quality 1, 2, ...; in between interpolated and rounded",
        )
        chroma: Chroma = Field("4:4:4", description="resolution of the colour planes")

    params: Params

    @property
    def halved(self) -> bool:
        """As `Params.chroma` says."""
        return self.params.chroma == "4:2:0"

    def encoder(self, setting: int) -> list[str]:
        """x265 on one thread, without the text that it would write into the stream."""
        options = f"qp={setting}:keyint=1:info=0:pools=none:frame-threads=1:log-level=error"
        return ["-c:v", "libx265", "-preset", "placebo", "-tune", "psnr", "-x265-params", options]


class VVC(VideoCodec):
    """VVC intra: vvenc at preset medium without perceptual adaptation, 10 bit, 4:2:0, which is all that it has."""

    name: ClassVar[str] = "baselines.vvc"
    stream: ClassVar[str] = "vvc"

    class Params(ExternalParams):
        """QPs."""

        settings: tuple[Annotated[int, Field(ge=0, le=63)], ...] = Field(
            (51, 45, 40, 35, 30, 25),
            min_length=1,
            max_length=MOST_SETTINGS,
            description="QP (63 is worst, 0 best) for quality 1, 2, ...; in between interpolated and rounded",
        )

    params: Params

    @property
    def halved(self) -> bool:
        """True."""
        return True

    def encoder(self, setting: int) -> list[str]:
        """vvenc with every picture an intra picture."""
        options = "intraperiod=1:gopsize=1"
        return ["-c:v", "libvvenc", "-preset", "medium", "-qp", str(setting), "-qpa", "0", "-vvenc-params", options]


def _coded(side: int) -> int:
    return max(_LEAST_SIDE, -(-side // _ALIGNMENT) * _ALIGNMENT)


def _unpacked(codec: str, data: bytes) -> tuple[int, int, bool, bytes]:
    """Height, width, whether chroma is halved, and the planes, of a YUV4MPEG2 file with one picture."""
    line, _, rest = data.partition(b"\n")
    frame, _, raw = rest.partition(b"\n")
    fields = {part[:1]: part[1:] for part in reversed(line[:_HEADER_LIMIT].decode("ascii", "replace").split(" ")[1:])}
    halved = fields.get("C") == "420p10"
    if not halved and fields.get("C") != "444p10":
        raise BitstreamError(f"the {codec} stream is damaged: it holds pixels as {fields.get('C')!r}, not of 10 bits")
    if not frame.startswith(b"FRAME"):
        raise BitstreamError(f"the {codec} stream is damaged: it holds no picture")
    return int(fields["H"]), int(fields["W"]), halved, raw
