"""Photographs that other packages' wheels bring along, so that a demonstration needs no download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from icm_core.errors import InputError

PHOTOGRAPHS = (
    ("sklearn", "datasets/images/china.jpg"),
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/coffee.png"),
)
"""Package and path of each: a temple (640x427), a cat (451x300), a cup (600x400)."""


def shipped_photographs() -> list[Path]:
    """The files of the photographs; `InputError` says what to install if one is not there."""
    return [_file(package, path) for package, path in PHOTOGRAPHS]


def _file(package: str, path: str) -> Path:
    # Looked up, not imported: the files are all that is needed of these packages.
    found = find_spec(package)
    file = Path(found.origin).parent / path if found and found.origin else None
    if file is None or not file.is_file():
        name = Path(path).name
        raise InputError(
            f"the demo's photograph {name} is not there; pip install 'icm-framework[demo]', or name pictures of yours"
        )
    return file
