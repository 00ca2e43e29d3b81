"""BPG through its own programs bpgenc and bpgdec, where they are on the PATH."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, ClassVar

import numpy as np
from PIL import Image
from pydantic import Field

from icm_baselines.external import MOST_SETTINGS, ExternalCodec, ExternalParams, Pixels, check_picture, whole
from icm_baselines.still import Chroma
from icm_core.errors import BitstreamError, InputError

_MAGIC = b"BPG\xfb"
_SECONDS, _PIXELS_A_SECOND = 120, 500  # jctvc at its slowest level is slow


class BPG(ExternalCodec):
    """BPG, that is HEVC intra, with the reference encoder (jctvc) at level 9, 10 bit, BT.709."""

    name: ClassVar[str] = "baselines.bpg"

    class Params(ExternalParams):
        """QPs, and chroma."""

        settings: tuple[Annotated[int, Field(ge=0, le=51)], ...] = Field(
            (45, 39, 34, 29, 24),
            min_length=1,
            max_length=MOST_SETTINGS,
            description="BPG's own QP (51 is worst, 0 best) for quality 1, 2, ...; in between interpolated and rounded",
        )
        chroma: Chroma = Field("4:4:4", description="resolution of the colour planes")

    params: Params

    def compress(self, pixels: Pixels, setting: float) -> bytes:
        """See `ExternalCodec.compress`."""
        height, width = pixels.shape[:2]
        chroma = self.params.chroma.replace(":", "")
        options = ["-e", "jctvc", "-m", "9", "-q", str(whole(setting)), "-f", chroma, "-c", "ycbcr_bt709", "-b", "10"]
        program = self.program("bpgenc")
        with TemporaryDirectory(prefix="icm-bpg-") as folder:
            source, target = Path(folder, "in.png"), Path(folder, "out.bpg")
            Image.fromarray(pixels).save(source)
            problem = _run([program, *options, "-o", str(target), str(source)], height * width)
            if problem is None and target.is_file():
                return target.read_bytes()
        raise InputError(
            f"{self.name} cannot code a picture of {width}x{height} pixels: {problem or 'no file came out'}"
        )

    def decompress(self, payload: bytes, size: tuple[int, int]) -> Pixels:
        """See `ExternalCodec.decompress`."""
        program = self.program("bpgdec")
        check_picture(self.name, claimed(payload), size)
        with TemporaryDirectory(prefix="icm-bpg-") as folder:
            source, target = Path(folder, "in.bpg"), Path(folder, "out.png")
            source.write_bytes(payload)
            problem = _run([program, "-o", str(target), str(source)], size[0] * size[1])
            if problem is None and target.is_file():
                with Image.open(target, formats=["PNG"]) as image:
                    check_picture(self.name, (image.height, image.width), size)
                    return np.asarray(image.convert("RGB"))
        raise BitstreamError(f"the {self.name} stream is damaged: {problem or 'no picture came out'}")

    def program(self, name: str) -> str:
        """Path of one of the two programs; `InputError` with the way out, where it is not there."""
        path = shutil.which(name)
        if path is None:
            raise InputError(
                f"{self.name} needs the program {name} on the PATH; build it, with jctvc, from https://bellard.org/bpg/"
            )
        return path


def claimed(payload: bytes) -> tuple[int, int]:
    """(height, width) in a BPG file's header.

    Raises:
        BitstreamError: it has no such header.
    """
    if payload[:4] != _MAGIC:
        raise BitstreamError("the baselines.bpg stream is damaged: it does not start as a BPG file does")
    at, sides = 6, []
    for _ in range(2):
        value = 0
        for _ in range(5):  # 7 bits a byte, at most 32 in all
            byte = payload[at] if at < len(payload) else 0
            value, at = value << 7 | byte & 0x7F, at + 1
            if byte < 0x80:
                break
        sides.append(value)
    return sides[1], sides[0]


def _run(command: list[str], pixels: int) -> str | None:
    """What went wrong, None if nothing did."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS + pixels / _PIXELS_A_SECOND,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return f"it did not end within {error.timeout:.0f} seconds"
    except OSError as error:
        return f"it does not start: {error.strerror}"
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return (lines[0] if lines else f"it ended with status {done.returncode}") if done.returncode else None
