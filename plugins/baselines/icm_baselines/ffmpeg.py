"""Calls of the ffmpeg that the wheel imageio-ffmpeg carries: bytes in, bytes out, no files, no shell, no network."""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Sequence

from icm_core.errors import InputError

REMEDY = "pip install 'icm-framework[baselines]'"

# The slowest encoder here does ten times as many pixels a second on a slow core.
_SECONDS, _PIXELS_A_SECOND = 120, 2000


class FFmpegError(Exception):
    """What ffmpeg said, in one line."""


def program(codec: str) -> str:
    """Path of ffmpeg; `InputError` with the way out, where there is none."""
    try:
        path: str = importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise InputError(f"{codec} needs the ffmpeg of the package imageio-ffmpeg: {REMEDY}") from error
    return path


def run(codec: str, arguments: Sequence[str], data: bytes, pixels: int) -> bytes:
    """What ffmpeg writes to its standard output.

    Args:
        codec: registered name of the codec, for messages.
        arguments: between ffmpeg's general options and the end.
        data: what ffmpeg reads from its standard input.
        pixels: of the picture; decides how long it may take.

    Raises:
        InputError: ffmpeg is not there, or did not end in time.
        FFmpegError: ffmpeg failed.
    """
    seconds = _SECONDS + pixels / _PIXELS_A_SECOND
    command = [program(codec), "-nostdin", "-hide_banner", "-loglevel", "error", *arguments]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{codec}: ffmpeg did not end within {seconds:.0f} seconds") from error
    except OSError as error:
        raise InputError(f"{codec}: ffmpeg does not start: {error.strerror}; {REMEDY}") from error
    if done.returncode or not done.stdout:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise FFmpegError(lines[0] if lines else f"it ended with status {done.returncode} and wrote nothing")
    return done.stdout
