"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path

from icm_core.errors import InputError

__all__ = ["make_folder", "read_file", "write_atomically"]


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file aside in its own folder, then rename it: no reader ever sees half of it.

    Args:
        path: where the file goes; an existing file is replaced, its folder must exist.
        data: its whole content.

    Raises:
        InputError: the folder is missing or cannot be written, the disk is full, or `path` is a folder.
    """
    # The name aside is short and says nothing of `path`, whose own name may already be as long as a name can be.
    aside = path.parent / f".icm-{secrets.token_hex(6)}.part"
    try:
        with aside.open("xb") as file:
            file.write(data)
        aside.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error
        raise


def make_folder(path: Path) -> None:
    """Make a folder and those above it; `InputError` where that is not allowed or a file stands there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise InputError(f"cannot make the folder {path}: a file of that name is there") from error
    except OSError as error:
        raise InputError(f"cannot make the folder {path}: {error.strerror or error}") from error


def read_file(path: Path) -> bytes:
    """The whole content of a file; `InputError` if it is missing, a folder, or may not be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
