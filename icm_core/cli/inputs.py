"""Which files a command reads, and under which names it writes."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from icm_core.errors import InputError
from icm_core.files import read_file

Item = TypeVar("Item")

_KINDS = ("avif", "bmp", "gif", "jp2", "jpeg", "jpg", "pbm", "pgm", "png", "pnm", "ppm", "tga", "tif", "tiff", "webp")
PICTURES = frozenset(f".{kind}" for kind in _KINDS)
CODED = frozenset([".icm"])
PART = ".icme"
"""Suffix of an enhancement that came apart from its base file."""


@dataclass(frozen=True)
class Found:
    """A file to be read, and the folder below the output's in which its results go."""

    path: Path
    below: Path = Path()


def expand(paths: Sequence[Path], suffixes: frozenset[str]) -> list[Path]:
    """Files as they are, folders as the files in them that end in one of `suffixes`; each file once.

    A file that is missing stays in the list where others are there: reading it says so, and the others go on.

    Raises:
        InputError: a folder has no such file, or cannot be read; or nothing that is named is there.
    """
    return [found.path for found in find(paths, suffixes)]


def find(
    paths: Sequence[Path], suffixes: frozenset[str], *, listed: str | None = None, recursive: bool = False
) -> list[Found]:
    """As `expand`, with the files that a list names, and with those further down.

    Args:
        paths: files and folders.
        suffixes: of the files that are taken from folders.
        listed: a file with one path a line, or ``-`` for what comes in.
        recursive: if True, folders are searched to the bottom, but for those whose names begin with a dot, and results
            go into folders as the files do: below a folder that is named, or as a relative path in the list says.

    Raises:
        InputError: as in `expand`; or the list cannot be read, or nothing is named.
    """
    named = [Found(path) for path in paths]
    if listed is not None:
        named += [Found(path, _below(path) if recursive else Path()) for path in _in_list(listed)]
    if not named:
        raise InputError("name files, or a list of them with --files" if listed is None else f"{listed} names no file")
    if not any(os.path.lexists(one.path) for one in named):
        raise InputError(f"{named[0].path}: No such file or directory")
    found: dict[Path, Found] = {}
    for one in named:
        for file in _in_folder(one, suffixes, recursive) if one.path.is_dir() else [one]:
            found.setdefault(file.path.resolve(), file)
    return list(found.values())


def shard_of(items: Sequence[Item], shard: str) -> Sequence[Item]:
    """Every N-th item from the I-th on, for a shard ``I/N``; all of them for an empty text.

    Raises:
        InputError: it is no shard.
    """
    if not shard:
        return items
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", shard)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise InputError(f"--shard is {shard!r}; it should be I/N with I from 1 to N, like 2/8")
    return items[int(match[1]) - 1 :: int(match[2])]


def written_as(files: Sequence[Found], output: Path, suffix: str) -> list[Path]:
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
        targets = [output]
    else:
        targets = [output / file.below / f"{file.path.stem}{suffix}" for file in files]
    check_names([file.path for file in files], targets)
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


def _in_folder(folder: Found, suffixes: frozenset[str], recursive: bool) -> list[Found]:
    try:
        files = [
            Found(file, folder.below / file.relative_to(folder.path).parent)
            for file in (_walk(folder.path) if recursive else sorted(folder.path.iterdir()))
            if file.suffix.lower() in suffixes and file.is_file()
        ]
    except OSError as error:
        raise InputError(f"cannot read the folder {folder.path}: {error.strerror or error}") from error
    if not files:
        deeper = "" if recursive else "; --recursive looks further down"
        raise InputError(f"the folder {folder.path} has no file that ends in {', '.join(sorted(suffixes))}{deeper}")
    return files


def _walk(folder: Path) -> Iterator[Path]:
    """The files of a folder and of those in it, in order; links to folders are not followed."""

    def fail(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(files))


def _in_list(listed: str) -> list[Path]:
    try:
        text = sys.stdin.read() if listed == "-" else read_file(Path(listed)).decode()
    except UnicodeError as error:
        raise InputError(f"the list {listed} is not text in UTF-8") from error
    return [Path(line) for line in text.splitlines() if line.strip()]


def _below(path: Path) -> Path:
    return Path() if path.is_absolute() or ".." in path.parts else path.parent
