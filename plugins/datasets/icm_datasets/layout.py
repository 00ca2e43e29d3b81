"""Looking at folders: what is there, and sentences about what should be there and is not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from icm_core.errors import InputError
from icm_registry import nearest

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff")
"""Endings of pictures, in lower case."""

_SHOWN = 5


def require_folder(folder: Path, who: str) -> Path:
    """`folder`, if it is one.

    Args:
        folder: what the layout asks for.
        who: name of the data set, for the message.

    Raises:
        InputError: it is missing; the message says what lies where it should be.
    """
    if folder.is_dir():
        return folder
    if folder.exists():
        raise InputError(f"{who} expects a folder at {folder}, and that is a file")
    above, missing = folder.parent, folder.name
    while not above.exists() and above != above.parent:
        above, missing = above.parent, above.name
    if above.is_file():
        raise InputError(f"{who} expects the folder {folder}, and {above} is a file")
    names = entries(above)
    guess = nearest(missing, names)
    if above.name == missing:
        hint = f"; give the folder above it, {above.parent}?"
    else:
        hint = f"; did you mean {guess!r}?" if guess else ""
    raise InputError(f"{who} expects the folder {folder}; {above} holds no {missing!r}, but {shown(names)}{hint}")


def entries(folder: Path) -> list[str]:
    """Names of the visible entries of a folder, sorted; `InputError` if it cannot be read."""
    return sorted([*_scan(folder, folders=True), *_scan(folder, folders=False)])


def folders_in(folder: Path) -> list[str]:
    """Names of the visible folders in a folder, sorted; `InputError` if it cannot be read."""
    return sorted(_scan(folder, folders=True))


def files_in(folder: Path, endings: Sequence[str]) -> list[str]:
    """Names of the visible files in a folder with one of the `endings`, sorted; `InputError` if it cannot be read."""
    return sorted(name for name in _scan(folder, folders=False) if name.lower().endswith(tuple(endings)))


def files_below(folder: Path, endings: Sequence[str] = PICTURES, above: tuple[Path, ...] = ()) -> list[str]:
    """Files in a folder and all folders in it, as sorted paths relative to it with ``/`` between their parts.

    Links are followed, except to one of the folders that the link is in; `above` is those.
    """
    above = (*above, folder.resolve())
    found = files_in(folder, endings)
    for inner in folders_in(folder):
        if (folder / inner).resolve() not in above:
            found += [f"{inner}/{name}" for name in files_below(folder / inner, endings, above)]
    return sorted(found)


def no_pictures(folder: Path, who: str) -> InputError:
    """The error for a folder without pictures."""
    return InputError(f"{who} found no pictures ({', '.join(PICTURES)}) in {folder}, but {shown(entries(folder))}")


def shown(names: Sequence[str]) -> str:
    """The first few names and how many more there are.

    >>> shown(["a", "b"]), shown([])
    ('a, b', 'nothing')
    """
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more if names else "nothing"


def keys(names: Iterable[str]) -> list[str]:
    """Paths without their endings; those that would then be the same keep theirs.

    >>> keys(["a.png", "b.jpg", "b.png"])
    ['a', 'b.jpg', 'b.png']
    """
    names = list(names)
    bare = [os.path.splitext(name)[0] for name in names]  # noqa: PTH122 - keys are text with "/" on every system
    count = Counter(bare)
    return [short if count[short] == 1 else name for short, name in zip(bare, names, strict=True)]


def _scan(folder: Path, *, folders: bool) -> list[str]:
    try:
        with os.scandir(folder) as found:
            return [entry.name for entry in found if entry.name[0] != "." and entry.is_dir() == folders]
    except OSError as error:
        raise InputError(f"cannot read the folder {folder}: {error.strerror or error}") from error
