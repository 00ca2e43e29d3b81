"""Classes of ImageNet's validation pictures, from the files in which they are handed out.

* ``LOC_<split>_solution.csv`` (Kaggle): a line ``ImageId,PredictionString``, then lines such as
  ``ILSVRC2012_val_00000001,n01751748 111 108 441 193``; the first word of the prediction is the class.
* ``<split>.txt``: lines such as ``ILSVRC2012_val_00000001.JPEG 65`` or ``... n01751748``; numbers are 0 to 999.
* ``ILSVRC2012_validation_ground_truth.txt`` of the development kit, with ``meta.mat`` beside it: line ``n`` is
  the ILSVRC2012_ID (1 to 1000) of picture ``n``. These ids are in an order of their own, which only ``meta.mat``
  tells; scipy reads it.
"""

from __future__ import annotations

import csv
import importlib
from collections.abc import Iterable
from pathlib import Path

from icm_core.errors import InputError
from icm_core.files import read_file
from icm_datasets import synsets

_GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_KIT = "ILSVRC2012_devkit_t12/data"
_PICTURE = "ILSVRC2012_val_{:08d}"

ANSWERS = ("LOC_{split}_solution.csv", "{split}.txt", f"{_KIT}/{_GROUND_TRUTH}")
"""Files that tell classes, in the order in which they are looked for; the last one is about val alone."""


def find_answers(root: Path, split: str) -> tuple[Path | None, dict[str, int]]:
    """The file that tells a split's classes, and the class by picture, named without its ending.

    Args:
        root: folder of the data set.
        split: ``"val"``, usually.

    Returns:
        None and nothing if there is no such file.

    Raises:
        InputError: a line of the file cannot be understood, or ``meta.mat`` is missing or unreadable.
    """
    table, listing = root / ANSWERS[0].format(split=split), root / ANSWERS[1].format(split=split)
    if table.is_file():
        return table, _solution(table)
    if listing.is_file():
        return listing, _listing(listing)
    for folder in (root / _KIT, root / "data", root):
        if split == "val" and (truth := folder / _GROUND_TRUTH).is_file():
            return truth, _ground_truth(truth)
    return None, {}


def _solution(path: Path) -> dict[str, int]:
    rows = csv.reader(_lines(path))
    return _numbered(path, ((number, row) for number, row in enumerate(rows, 1) if row and row[0] != "ImageId"))


def _listing(path: Path) -> dict[str, int]:
    return _numbered(path, ((number, line.split()) for number, line in enumerate(_lines(path), 1) if line.strip()))


def _numbered(path: Path, rows: Iterable[tuple[int, list[str]]]) -> dict[str, int]:
    """Class by picture from rows of a picture and what begins with its class."""
    found: dict[str, int] = {}
    for number, row in rows:
        words = row[1].split() if len(row) > 1 else []
        if not words:
            raise InputError(f"line {number} of {path} should hold a picture and its class; it holds {row}")
        stem = Path(row[0]).stem
        if stem in found:
            raise InputError(f"line {number} of {path} names the picture {stem} a second time")
        found[stem] = _class(words[0], number, path)
    return found


def _class(word: str, number: int, path: Path) -> int:
    known = synsets.numbers()
    if word in known:
        return known[word]
    if word.isascii() and word.isdigit() and len(word) <= 3:
        return int(word)
    raise InputError(
        f"line {number} of {path} has the class {word!r}; it should be 0 to {synsets.COUNT - 1} or a WordNet id "
        f"of ImageNet-1k, such as {synsets.synsets()[0]}"
    )


def _ground_truth(path: Path) -> dict[str, int]:
    classes = _classes_of_ids(path.with_name("meta.mat"))
    found: dict[str, int] = {}
    for number, line in enumerate(_lines(path), 1):
        word = line.strip()
        if not word:
            continue
        identity = int(word) if word.isascii() and word.isdigit() and len(word) <= 4 else 0
        if identity not in classes:
            raise InputError(f"line {number} of {path} is {word!r}; it should be an ILSVRC2012_ID, 1 to {len(classes)}")
        found[_PICTURE.format(number)] = classes[identity]
    return found


def _classes_of_ids(path: Path) -> dict[int, int]:
    """Class by ILSVRC2012_ID, from the development kit's list of synsets."""
    if not path.is_file():
        raise InputError(
            f"{path} is missing; it belongs to the development kit and tells which class each ILSVRC2012_ID of "
            f"{_GROUND_TRUTH} is (without it: class folders, LOC_val_solution.csv or val.txt)"
        )
    try:
        scipy_io = importlib.import_module("scipy.io")
    except ImportError as error:
        raise InputError(
            f"scipy is needed to read {path}; install it, or sort the pictures into class folders, "
            "or put LOC_val_solution.csv or val.txt beside their folder"
        ) from error
    try:
        rows = scipy_io.loadmat(str(path), squeeze_me=True)["synsets"]
        found = {int(row["ILSVRC2012_ID"]): synsets.numbers().get(str(row["WNID"])) for row in rows}
    except Exception as error:  # scipy raises whatever it happens to meet in a damaged file
        raise InputError(
            f"{path} is not the development kit's meta.mat: {str(error) or type(error).__name__}"
        ) from error
    # The list goes on with the synsets above the classes, which no picture belongs to.
    classes = {identity: number for identity, number in found.items() if number is not None}
    if len(classes) != synsets.COUNT:
        raise InputError(f"{path} names {len(classes)} of ImageNet's classes; it should name {synsets.COUNT}")
    return classes


def _lines(path: Path) -> list[str]:
    try:
        return read_file(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file (UTF-8)") from error
