"""Annotation files in COCO's format (Lin et al., ECCV 2014), read once into columns.

A file for all of COCO has almost a million annotations. As Python objects they would take gigabytes, and every worker
process would copy them, one reference count after the other; arrays are shared.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from icm_core.errors import InputError
from icm_core.files import read_file

Targets = Literal["boxes", "masks", "keypoints"]

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Texts:
    """Many texts in one array of bytes."""

    data: NDArray[np.uint8]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[bytes]) -> Texts:
        """The texts, in order."""
        ends = np.cumsum([0, *map(len, texts)], dtype=np.int64)
        return cls(np.frombuffer(b"".join(texts), dtype=np.uint8), ends)

    def __getitem__(self, number: int) -> bytes:
        return self.data[self.ends[number] : self.ends[number + 1]].tobytes()


@dataclass(frozen=True)
class Annotations:
    """What an annotation file says, P pictures with A annotations between them.

    Attributes:
        labels: names of the classes in the order of their ids; of keypoints the names of the points.
        names: file names of the pictures, sorted.
        sizes: height and width of each, (P, 2).
        ends: the annotations of picture p are numbers ends[p] to ends[p + 1] - 1, (P + 1,).
        numbers: where each annotation stands in the file, for messages, (A,).
        boxes: (A, 4) float32: left, top, right, bottom in pixels, inside of the picture and of a size above 0.
        classes: (A,), from 0.
        crowds: (A,).
        areas: in square pixels, (A,) float32, None where an annotation has none.
        outlines: of masks; JSON, empty where an annotation has none.
        keypoints: (A, K, 3) float32: x, y, visibility 0, 1 or 2.
    """

    labels: tuple[str, ...]
    names: Texts
    sizes: NDArray[np.int64]
    ends: NDArray[np.int64]
    numbers: NDArray[np.int64]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    crowds: NDArray[np.int64]
    areas: NDArray[np.float32] | None
    outlines: Texts | None
    keypoints: NDArray[np.float32] | None


def read_annotations(path: Path, targets: Targets, empty: bool) -> Annotations:
    """An annotation file, checked.

    Annotations whose box has no size, or none inside of the picture, are left out. So are those of classes without
    keypoints, where keypoints are the targets.

    Args:
        path: the file.
        targets: what is read of each annotation.
        empty: whether pictures without annotations are kept.

    Raises:
        InputError: it cannot be read, is no JSON, or says something that cannot be; the message names the place.
    """
    try:
        found = json.loads(read_file(path).decode("utf-8-sig"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file (UTF-8): byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from error
    except RecursionError as error:
        raise InputError(f"{path} is not an annotation file: its JSON is nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits, or not a number
        raise InputError(f"{path} is not JSON: {str(error).split(';')[0]}") from error
    try:
        return _annotations(found, targets, empty)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _annotations(found: object, targets: Targets, empty: bool) -> Annotations:
    """See `read_annotations`; `ValueError` with a clause where something cannot be."""
    if not isinstance(found, dict):
        raise ValueError(f"it holds {_short(found)}; it should be an object with images, annotations and categories")
    classes, labels = _categories(found, targets)
    pictures = sorted(_pictures(found), key=lambda picture: picture.name)
    at = {picture.identity: number for number, picture in enumerate(pictures)}
    if len(at) < len(pictures):
        raise ValueError("two of its images have the same id")
    rows = sorted(_rows(found, at, classes, targets, len(labels)), key=lambda row: (row.picture, row.number))
    counts = np.bincount([row.picture for row in rows], minlength=len(pictures))
    boxes = np.array([row.box for row in rows], dtype=np.float64).reshape(-1, 4)
    sizes = np.array([picture.size for picture in pictures], dtype=np.int64).reshape(-1, 2)
    limits = np.repeat(sizes[:, [1, 0, 1, 0]], counts, axis=0)
    clipped = np.clip(boxes, 0, limits).astype(np.float32)
    kept = (clipped[:, 0] < clipped[:, 2]) & (clipped[:, 1] < clipped[:, 3])
    rows = [row for row, good in zip(rows, kept, strict=True) if good]
    counts = np.bincount([row.picture for row in rows], minlength=len(pictures))
    shown = np.ones(len(pictures), dtype=bool) if empty else counts > 0
    areas = [row.area for row in rows]
    return Annotations(
        labels=labels,
        names=Texts.of([picture.name.encode() for picture, seen in zip(pictures, shown, strict=True) if seen]),
        sizes=sizes[shown],
        ends=np.cumsum([0, *counts[shown]], dtype=np.int64),
        numbers=np.array([row.number for row in rows], dtype=np.int64),
        boxes=clipped[kept],
        classes=np.array([row.label for row in rows], dtype=np.int64),
        crowds=np.array([row.crowd for row in rows], dtype=np.int64),
        areas=None if None in areas else np.array(areas, dtype=np.float32),
        outlines=Texts.of([row.outline for row in rows]) if targets == "masks" else None,
        keypoints=np.array([row.points for row in rows], dtype=np.float32).reshape(len(rows), len(labels), 3)
        if targets == "keypoints"
        else None,
    )


@dataclass(frozen=True, slots=True)
class _Picture:
    identity: int | str
    name: str
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Row:
    picture: int
    number: int
    label: int
    box: tuple[float, float, float, float]
    crowd: int
    area: float | None
    outline: bytes
    points: list[float]


def _entries(found: Entry, name: str) -> Iterator[tuple[int, Entry]]:
    entries = found.get(name)
    if not isinstance(entries, list):
        what = _short(entries) if name in found else "missing"
        raise ValueError(f"{name} is {what}; an annotation file has lists of images, annotations and categories")
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ValueError(f"{name}[{number}] is {_short(entry)}; it should be an object")
        yield number, entry


def _categories(found: Entry, targets: Targets) -> tuple[dict[int, int], tuple[str, ...]]:
    """Class of each category's id, and the names of the classes or points."""
    named: dict[int, str] = {}
    points: dict[int, tuple[str, ...]] = {}
    for number, entry in _entries(found, "categories"):
        where = f"categories[{number}]"
        identity = _value(entry, "id", where, _is_whole, "a whole number")
        name = _value(entry, "name", where, _is_name, "a name")
        if identity in named or name in named.values():
            raise ValueError(f"{where} has the id {identity} and the name {name!r}, and an earlier one has one of them")
        named[identity] = name
        if entry.get("keypoints"):
            points[identity] = tuple(_value(entry, "keypoints", where, _are_names, "a list of names, each once"))
    ordered = sorted(named)
    if targets != "keypoints":
        return {identity: number for number, identity in enumerate(ordered)}, tuple(named[one] for one in ordered)
    if not points:
        raise ValueError("none of its categories names keypoints; those of persons are in person_keypoints_*.json")
    if len({*points.values()}) > 1:
        raise ValueError("its categories name different keypoints; all should have the same")
    return {identity: number for number, identity in enumerate(sorted(points))}, next(iter(points.values()))


def _pictures(found: Entry) -> Iterator[_Picture]:
    names = set()
    for number, entry in _entries(found, "images"):
        where = f"images[{number}]"
        identity = _value(entry, "id", where, _is_identity, "a number or text")
        name = _value(entry, "file_name", where, _is_inside, "a path inside the folder of pictures")
        if name in names:
            raise ValueError(f"{where} has the file_name {name!r}, and so has an earlier one")
        names.add(name)
        height, width = (_value(entry, side, where, _is_side, "1 to 65535") for side in ("height", "width"))
        yield _Picture(identity, name, (height, width))


def _rows(
    found: Entry, at: Mapping[int | str, int], classes: Mapping[int, int], targets: Targets, points: int
) -> Iterator[_Row]:
    known = {entry["id"] for _, entry in _entries(found, "categories")}
    for number, entry in _entries(found, "annotations"):
        where = f"annotations[{number}]"
        picture = _value(entry, "image_id", where, _is_identity, "the id of an image")
        category = _value(entry, "category_id", where, _is_whole, "the id of a category")
        for identity, those, what in ((picture, at, "images"), (category, known, "categories")):
            if identity not in those:
                raise ValueError(f"{where} is of {identity!r}, which is the id of none of the {what}")
        if category not in classes:
            continue  # it has no keypoints
        x, y, width, height = _value(entry, "bbox", where, _are_four, "x, y, width and height")
        crowd = _value(entry, "iscrowd", where, _is_flag, "0 or 1", 0)
        outline = entry.get("segmentation") or None
        if targets == "masks" and outline is None and not crowd:
            raise ValueError(f"{where} has no segmentation; without outlines there are only boxes ('targets': 'boxes')")
        yield _Row(
            at[picture],
            number,
            classes[category],
            (x, y, x + width, y + height),
            int(crowd),
            _value(entry, "area", where, _is_area, "a number from 0", None),
            json.dumps(outline).encode() if targets == "masks" and outline is not None else b"",
            _points(entry, where, points) if targets == "keypoints" else [],
        )


def _points(entry: Entry, where: str, count: int) -> list[float]:
    """x, y and visibility of all points, after one another; an annotation may have none at all."""
    values = entry.get("keypoints") or [0] * (3 * count)
    if not (isinstance(values, list) and len(values) == 3 * count and all(map(_is_number, values))):
        raise ValueError(
            f"{where}.keypoints is {_short(values)}; it should be x, y and visibility of each of {count} points"
        )
    strange = [value for value in values[2::3] if value not in (0, 1, 2)]
    if strange:
        raise ValueError(f"{where}.keypoints has the visibility {strange[0]!r}; it should be 0, 1 or 2")
    return values


_REQUIRED = object()


def _value(
    entry: Entry, name: str, where: str, right: Callable[[Any], bool], should: str, default: Any = _REQUIRED
) -> Any:
    """A value of an entry; `ValueError` with a clause where it is missing without a default, or wrong."""
    value = entry.get(name, default)
    if value is default and default is not _REQUIRED:
        return default
    if value is _REQUIRED:
        raise ValueError(f"{where} has no {name}")
    if not right(value):
        raise ValueError(f"{where}.{name} is {_short(value)}; it should be {should}")
    return value


def _is_whole(value: object) -> bool:
    return type(value) is int


def _is_identity(value: object) -> bool:
    return type(value) in (int, str)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_name, value)) and len({*value}) == len(value)


def _is_side(value: object) -> bool:
    return type(value) is int and 1 <= value <= 65535


def _is_number(value: object) -> bool:
    # A whole number beyond what a float can hold is larger than any picture.
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) < 2**53)


def _is_area(value: object) -> bool:
    return _is_number(value) and value >= 0  # type: ignore[operator]


def _are_four(value: object) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


def _is_flag(value: object) -> bool:
    return value in (0, 1) if isinstance(value, int) else False


def _is_inside(value: object) -> bool:
    if not _is_name(value) or "\\" in str(value) or not str(value).isprintable():
        return False
    path = PurePosixPath(str(value))
    return not path.is_absolute() and ".." not in path.parts and bool(path.name)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
