"""What commands find out about an installation, remembered so that they need not import it again.

Finding out imports PyTorch and every plugin, which takes seconds. What was found is kept as JSON in the user's cache
folder: ``$ICM_CACHE``, or ``icm`` in ``$XDG_CACHE_HOME``, or ``~/.cache/icm``. With it stands everything that it was
found in: Python, the search path, the plugins' entry points, and date and size of each file that was imported or lies
in a plugin's package. It is used as long as all of that is as it was. A file that is damaged, or says something else,
counts as none; a folder that cannot be written makes commands slow and nothing worse.

Two things are never remembered: an installation in which something is wrong, because that may be mended outside of
Python's files; and what was found in a process that had imported networks before, because its modules may be older than
their files.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from icm_core import __version__
from icm_core.errors import InputError
from icm_core.files import make_folder, write_atomically
from icm_core.plugins import GROUP
from icm_registry import EntryPoint, find_entry_points

FOLDER = "ICM_CACHE"
"""Environment variable that names the cache folder."""

MOST_FILES = 20_000
"""An installation of more files is not remembered: looking at all of them would take longer than it saves."""

_FORMAT = 1
_STARTED = time.time_ns() - 2 * 10**9  # file systems' clocks are up to two seconds coarse
_OWN = ("icm_core", "icm_registry")
_MADE_BY_PYTHON = "__pycache__"


@dataclass(frozen=True)
class Found:
    """What was found out.

    Attributes:
        value: JSON data.
        sound: whether all is well in what it was found in.
        files: files that it was read from, besides Python's.
    """

    value: Any
    sound: bool
    files: Iterable[Path] = field(default=())


def remembered(what: str, find_out: Callable[[], Found]) -> Any:
    """JSON data about the installation, found out now or remembered.

    Args:
        what: names the data.
        find_out: finds it out; must depend on nothing but files that it imports or names.
    """
    if "torch" in sys.modules:  # then importing plugins is quick, and what they were read from is not known
        return find_out().value
    points = find_entry_points(GROUP)
    place, about = _place(what), _about(what, points)
    if place is not None and (known := _read(place, about)) is not None:
        return known["value"]
    found = find_out()
    if place is not None and found.sound and (files := _files(points, found.files)) is not None:
        text = json.dumps({**about, "files": files, "value": found.value})
        with contextlib.suppress(InputError):
            make_folder(place.parent)
            write_atomically(place, f"{_digest(text)}\n{text}".encode())
    return found.value


def _place(what: str) -> Path | None:
    """The file for one thing of one environment; None where there is no folder for it."""
    given, shared = os.environ.get(FOLDER), os.environ.get("XDG_CACHE_HOME")
    try:
        if given:
            folder = Path(given)
        elif shared and Path(shared).is_absolute():
            folder = Path(shared, "icm")
        else:
            folder = Path.home() / ".cache" / "icm"
    except RuntimeError:  # a user without a home
        return None
    return folder / f"{_digest(json.dumps([what, sys.prefix]))[:24]}.json"


def _about(what: str, points: Iterable[EntryPoint]) -> dict[str, Any]:
    """What the installation is, apart from its files."""
    return {
        "format": _FORMAT,
        "what": what,
        "icm": __version__,
        "python": sys.version,
        "path": _search_path(),
        "plugins": [[point.name, point.target, point.distribution, point.version] for point in points],
    }


def _read(place: Path, about: dict[str, Any]) -> dict[str, Any] | None:
    """What a file remembers, None unless it is whole and all is still as it says."""
    try:
        digest, _, text = place.read_bytes().decode().partition("\n")
        if digest != _digest(text):
            return None
        known = json.loads(text)
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(known, dict) or {key: known.get(key) for key in about} != about:
        return None
    files = known.get("files")
    if not isinstance(files, dict) or "value" not in known:
        return None
    return known if all(_state(path) == state for path, state in files.items()) else None


def _files(points: Iterable[EntryPoint], named: Iterable[Path]) -> dict[str, list[int] | None] | None:
    """Date and size of all that was read; None if any of it may have changed since it was, or there is too much."""
    found: dict[str, list[int] | None] = {}
    for path in _read_from(points, named):
        if path in found:
            continue
        state = _state(path)
        if (state is not None and state[0] >= _STARTED) or len(found) == MOST_FILES:
            return None
        found[path] = state
    return found


def _read_from(points: Iterable[EntryPoint], named: Iterable[Path]) -> Iterator[str]:
    yield from _search_path()
    yield from (str(path.absolute()) for path in named)
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and Path(file).is_absolute():  # others are made in memory
            yield file
    for package in sorted({*_OWN, *(point.target.partition(":")[0].partition(".")[0] for point in points)}):
        spec = importlib.util.find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            yield from _below(folder)


def _search_path() -> list[str]:
    return [folder or str(Path.cwd()) for folder in sys.path]


def _below(folder: str) -> Iterator[str]:
    """A folder, and all folders and files in it."""
    for path, folders, files in os.walk(folder):
        if _MADE_BY_PYTHON in folders:
            folders.remove(_MADE_BY_PYTHON)
        yield path
        yield from (os.path.join(path, file) for file in files)  # noqa: PTH118 (thousands of them)


def _state(path: str) -> list[int] | None:
    """When a file or folder was last changed, in nanoseconds, and a file's size; None if it is not there."""
    try:
        found = os.stat(path)  # noqa: PTH116 (thousands of them, at each start)
    except OSError:
        return None
    return [found.st_mtime_ns, found.st_size]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
