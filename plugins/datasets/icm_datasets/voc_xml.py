"""Annotation files of Pascal VOC: things with boxes, in XML."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree

import torch
from torch import Tensor

from icm_core.errors import InputError
from icm_core.files import read_file
from icm_registry import nearest

_MAX_BYTES = 4_000_000
_SIDES = ("xmin", "ymin", "xmax", "ymax")


class _Tree(ElementTree.TreeBuilder):
    """Elements; a document type is refused where it begins, before an entity can be declared and expanded."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> NoReturn:
        """Refuse it."""
        del name, pubid, system
        raise ValueError("it has a document type, and annotations have none")


def read_things(path: Path, size: tuple[int, int], numbers: Mapping[str, int]) -> dict[str, Tensor]:
    """Boxes, classes and what is difficult, as a target of kind ``detection`` has them.

    VOC counts pixels from 1 and names the first and the last one of a thing, so that a box of one pixel has xmin equal
    to xmax. Here it reaches from the left edge of the first to the right edge of the last: from xmin - 1 to xmax. Boxes
    are cut at the picture's borders, and those without a size are left out.

    Args:
        path: the file.
        size: height and width of the picture.
        numbers: class of each name.

    Returns:
        ``boxes`` (N, 4) float32, ``labels`` (N,) int64, ``iscrowd`` (N,) int64, 1 where a thing is difficult.

    Raises:
        InputError: it cannot be read, is another file, or about another picture; the message names it.
    """
    try:
        return _things(_root(read_file(path)), size, numbers)
    except ValueError as error:
        raise InputError(f"{path} is not an annotation of this picture: {error}") from error


def _root(data: bytes) -> ElementTree.Element:
    if len(data) > _MAX_BYTES:
        raise ValueError(f"it has {len(data)} bytes, and the limit is {_MAX_BYTES}")
    parser = ElementTree.XMLParser(target=_Tree())
    try:
        parser.feed(data)
        root: Any = parser.close()
    except (ElementTree.ParseError, LookupError) as error:  # LookupError: an unknown encoding
        raise ValueError(f"it is not XML: {error}") from error
    if root.tag != "annotation":
        raise ValueError(f"its root is <{root.tag[:40]}>; it should be <annotation>")
    found: ElementTree.Element = root
    return found


def _things(root: ElementTree.Element, size: tuple[int, int], numbers: Mapping[str, int]) -> dict[str, Tensor]:
    height, width = size
    if (told := root.find("size")) is not None:
        sides = _number(told, "width", "<size>"), _number(told, "height", "<size>")
        if all(sides) and sides != (width, height):  # some writers leave it at 0
            raise ValueError(f"it is of {sides[0]:g}x{sides[1]:g} pixels, and the picture has {width}x{height}")
    boxes, labels, difficult = [], [], []
    for number, thing in enumerate(root.findall("object"), 1):
        where = f"object {number}"
        name = (thing.findtext("name") or "").strip()
        if name not in numbers:
            guess = nearest(name, numbers)
            hint = f"; did you mean {guess!r}?" if guess else ""
            raise ValueError(f"{where} has the name {name[:40]!r}, which is none of the {len(numbers)} classes{hint}")
        box = thing.find("bndbox")
        if box is None:
            raise ValueError(f"{where} has no <bndbox>")
        left, top, right, bottom = (_number(box, side, f"<bndbox> of {where}") for side in _SIDES)
        cut = torch.tensor(
            [max(left - 1, 0), max(top - 1, 0), min(right, width), min(bottom, height)], dtype=torch.float32
        )
        if cut[0] < cut[2] and cut[1] < cut[3]:
            boxes.append(cut)
            labels.append(numbers[name])
            difficult.append(_flag(thing, where))
    return {
        "boxes": torch.stack(boxes) if boxes else torch.zeros(0, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "iscrowd": torch.tensor(difficult, dtype=torch.int64),
    }


def _number(element: ElementTree.Element, name: str, where: str) -> float:
    text = (element.findtext(name) or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name} in {where} is {text[:40]!r}; it should be a number of pixels")
    return value


def _flag(thing: ElementTree.Element, where: str) -> int:
    text = (thing.findtext("difficult") or "0").strip()
    if text not in ("0", "1"):
        raise ValueError(f"difficult of {where} is {text[:40]!r}; it should be 0 or 1")
    return int(text)
