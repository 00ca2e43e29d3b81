"""Patterns that a user gives for where files are: a folder, or names in it, with the split filled in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator

from icm_core.errors import InputError
from icm_datasets.layout import files_below, require_folder

SPLIT = "{split}"
_ANY = "*"


def _checked_pattern(pattern: str) -> str:
    parts = PurePosixPath(pattern).parts
    if not parts or PurePosixPath(pattern).is_absolute() or ".." in parts or "\\" in pattern or "\0" in pattern:
        raise ValueError("it should be a path inside the data set's folder, such as '{split}' or 'images/{split}'")
    if _ANY in "".join(parts[:-1]) or parts[-1].count(_ANY) > 1:
        raise ValueError("it should have '*' once at most, in its last part, such as '{split}/*_labels.png'")
    if "{" in pattern.replace(SPLIT, "") or "}" in pattern.replace(SPLIT, ""):
        raise ValueError(f"it should have no other braces than {SPLIT}")
    return pattern


Pattern = Annotated[str, AfterValidator(_checked_pattern)]
"""A path relative to the data set's folder: of a folder, or with ``*`` in its last part of files in a folder.
``{split}`` stands for the split."""


def place(pattern: str, root: Path, split: str) -> Path:
    """The one folder or file that a pattern without ``*`` means."""
    return root / pattern.replace(SPLIT, split)


def matching(pattern: str, root: Path, split: str, endings: Sequence[str], who: str) -> tuple[Path, dict[str, Path]]:
    """The files that a pattern means, however deep in its folder.

    Args:
        pattern: see `Pattern`.
        root: the data set's folder.
        split: which part of it.
        endings: of the files, in lower case.
        who: name of the data set, for messages.

    Returns:
        The folder, and the files by their path in it without the ending; with ``*``, by what stands in its place.

    Raises:
        InputError: the folder is missing, or two files differ in their ending alone.
    """
    folder = place(pattern, root, split)
    before = after = ""
    if _ANY in folder.name:
        before, _, after = folder.name.partition(_ANY)
        folder = folder.parent
        ending = PurePosixPath(f"x{after}").suffix
        if ending.lower() in endings:
            endings, after = [ending.lower()], after.removesuffix(ending)
    found: dict[str, Path] = {}
    for name in files_below(require_folder(folder, who), endings):
        inner = PurePosixPath(name)
        shared = inner.stem.removeprefix(before).removesuffix(after)
        if not shared or before + shared + after != inner.stem:
            continue
        key = str(inner.with_name(shared))
        if key in found:
            raise InputError(f"{folder / name} and {found[key]} would share one annotation; remove one of them")
        found[key] = folder / name
    return folder, found
