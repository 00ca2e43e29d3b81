"""Files that are either whole or not there, and files beside others."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path, PurePosixPath, PureWindowsPath

from icm_core.errors import InputError, SpecError

__all__ = ["beside", "check_inside", "make_folder", "read_file", "write_atomically"]


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


def check_inside(name: str, what: str) -> None:
    """Raise `ValueError` unless a path is relative and stays inside the folder that it is relative to."""
    windows, posix = PureWindowsPath(name), PurePosixPath(name)
    if windows.drive or windows.root or posix.is_absolute() or ".." in windows.parts or "\0" in name:
        verb = "are" if what == "weights" else "is"
        raise ValueError(f"{what} {verb} given relative to the spec's folder and inside it, not as {name!r}")


def beside(spec: Path, name: str, what: str) -> Path:
    """Where a path leads that a spec names.

    Args:
        spec: the spec's file.
        name: the path, relative to its folder.
        what: what it is, for messages.

    Raises:
        ValueError: it is absolute or has ``..`` in it.
        SpecError: a link leads out of the spec's folder.
    """
    check_inside(name, what)
    # Installers may link each file of a package into a cache: then spec and file lead to one other folder.
    homes = {spec.parent.resolve(), spec.resolve().parent}
    found = spec.parent / name
    resolved = found.resolve()
    if not any(resolved.is_relative_to(home) for home in homes):
        raise SpecError(f"{what} {name!r} leads out of the spec's folder to {resolved}")
    return found
