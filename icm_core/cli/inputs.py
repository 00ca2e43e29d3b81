"""Which files a command reads, and under which names it writes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from icm_core.errors import InputError

_KINDS = ("avif", "bmp", "gif", "jp2", "jpeg", "jpg", "pbm", "pgm", "png", "pnm", "ppm", "tga", "tif", "tiff", "webp")
PICTURES = frozenset(f".{kind}" for kind in _KINDS)
CODED = frozenset([".icm"])
PART = ".icme"
"""Suffix of an enhancement that came apart from its base file."""


def expand(paths: Sequence[Path], suffixes: frozenset[str]) -> list[Path]:
    """Files as they are, folders as the files in them that end in one of `suffixes`; each file once.

    A file that is missing stays in the list where others are there: reading it says so, and the others go on.

    Raises:
        InputError: a folder has no such file, or cannot be read; or nothing that is named is there.
    """
    if not any(os.path.lexists(path) for path in paths):
        raise InputError(f"{paths[0]}: No such file or directory")
    found: dict[Path, Path] = {}
    for path in paths:
        for file in _in_folder(path, suffixes) if path.is_dir() else [path]:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def written_as(files: Sequence[Path], output: Path, suffix: str) -> dict[Path, Path]:
    """Where the result of each file goes: into a folder under its stem, or of a single file where the user says.

    Args:
        files: what is read.
        output: a folder, or a file that ends in `suffix`.
        suffix: of what is written.

    Raises:
        InputError: one file is named for several, two would be written to one, or one over an input.
    """
    if output.suffix.lower() == suffix and not output.is_dir():
        if len(files) != 1:
            raise InputError(f"-o {output} names one file and there are {len(files)} pictures; give a folder")
        targets = {files[0]: output}
    else:
        targets = {file: output / f"{file.stem}{suffix}" for file in files}
    check_names(files, list(targets.values()))
    return targets


def check_names(inputs: Sequence[Path], outputs: Sequence[Path]) -> None:
    """Raise `InputError` where two inputs would write one output, or an output would replace an input."""
    sources = {path.resolve() for path in inputs}
    taken: dict[Path, Path] = {}
    for source, output in zip(inputs, outputs, strict=True):
        target = output.resolve()
        if target in taken:
            raise InputError(f"{taken[target]} and {source} would both be written to {output}; nothing was written")
        if target in sources:
            raise InputError(f"{source} would be written over the input {output}; nothing was written")
        taken[target] = source


def _in_folder(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in suffixes and file.is_file())
    except OSError as error:
        raise InputError(f"cannot read the folder {folder}: {error.strerror or error}") from error
    if not files:
        raise InputError(f"the folder {folder} has no file that ends in {', '.join(sorted(suffixes))}")
    return files
