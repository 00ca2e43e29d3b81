"""Entry points of installed distributions. The only module that knows the `entrypoints` package.

That package is maintenance-only, so nothing of it is visible outside this file. Its own loops are not used:
they turn an unreadable entry point into a warning, and keep one of two same-named ones without a word.
"""

from __future__ import annotations

import configparser
import importlib
import importlib.metadata
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import entrypoints

_TARGET = re.compile(r"^(?P<module>\w+(\.\w+)*)(:(?P<object>\w+(\.\w+)*))?\s*(\[.*\])?$")


@dataclass(frozen=True, order=True)
class EntryPoint:
    """One line of one distribution's ``entry_points.txt``.

    Attributes:
        name: left of the ``=``.
        target: right of it, ``"package.module"`` or ``"package.module:object"``.
        distribution: name of the distribution that ships it, normalised as pip does: lower case, hyphens.
        version: version of that distribution, ``"unknown"`` where its metadata does not say.
    """

    name: str
    target: str
    distribution: str
    version: str

    def load(self) -> object:
        """Import the module and return what the target names; whatever the import raises passes through."""
        match = _TARGET.match(self.target)
        if match is None:
            raise ImportError(f"{self.target!r} is not of the form 'package.module' or 'package.module:object'")
        found: object = importlib.import_module(match["module"])
        for attribute in (match["object"] or "").split("."):
            found = getattr(found, attribute) if attribute else found
        return found


def find_entry_points(group: str, path: Sequence[str] | None = None) -> list[EntryPoint]:
    """All entry points of a group, sorted by name and then by distribution.

    Two distributions with the same entry point are both in the list. A distribution that is found twice on the
    path (an installed one and its source folder) counts once, where it is found first, as in an import.

    Args:
        group: e.g. ``"icm.plugins"``.
        path: folders to search, `sys.path` by default.
    """
    seen: dict[str, str] = {}
    found: dict[EntryPoint, None] = {}
    for folder in sys.path if path is None else path:
        for written, version, name, target in _in_folder(group, folder):
            distribution = _canonical(written)
            if seen.setdefault(distribution, folder) == folder:
                found[EntryPoint(name, target, distribution, version)] = None
    return sorted(found)


def _in_folder(group: str, folder: str) -> Iterable[tuple[str, str, str, str]]:
    try:
        return list(_with_entrypoints(group, folder))
    except (configparser.Error, UnicodeError):
        # One damaged file of one package ends that generator for the whole folder, the others' plugins included.
        return list(_with_importlib(group, folder))


def _with_entrypoints(group: str, folder: str) -> Iterator[tuple[str, str, str, str]]:
    for config, distribution in entrypoints.iter_files_distros([folder]):
        if group in config:
            # In a source folder ("icm_framework.egg-info") the name carries no version; an egg's may carry "-py3.11".
            version = (distribution.version or "").split("-")[0] or _version(distribution.name)
            for name in config[group]:
                yield distribution.name, version, name, config.get(group, name, raw=True)


def _with_importlib(group: str, folder: str) -> Iterator[tuple[str, str, str, str]]:
    for distribution in importlib.metadata.distributions(path=[folder]):
        try:
            points = distribution.entry_points
        except UnicodeError:  # this package's file alone
            continue
        for point in points:
            if point.group == group:
                yield distribution.metadata["Name"] or "unknown", distribution.version, point.name, point.value


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
