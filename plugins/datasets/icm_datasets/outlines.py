"""Outlines as COCO writes them: polygons and run lengths, to masks through pycocotools.

pycocotools decodes in C and trusts what it is given: polygons far outside of the picture make it ask for any amount of
memory, and run lengths of another picture make it write where it should not. So both are looked at first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from icm_core.errors import InputError

_FIRST = 48
_MORE = 0x20
_NEGATIVE = 0x10
_BITS = 0x1F
_WIDEST = 13
"""Groups of five bits in a number of 64."""


def tools(who: str) -> Any:
    """``COCO`` of pycocotools; `InputError` where it is not installed."""
    try:
        from pycocotools.coco import COCO
    except ImportError as error:
        raise InputError(
            f"{who} needs the package pycocotools to read outlines, and it is not installed; install it with: "
            "pip install 'icm-framework[train]'"
        ) from error
    return COCO


def mask_of(outline: object, size: tuple[int, int], coco: Any) -> Tensor:
    """The pixels inside of an outline, (H, W) uint8, 0 or 1.

    Args:
        outline: a list of polygons, or a dict with ``size`` and ``counts``: run lengths in columns, as numbers or
            packed into text.
        size: height and width of the picture.
        coco: the class ``COCO``, from `tools`.

    Raises:
        ValueError: it is no outline of such a picture; a clause.
    """
    if isinstance(outline, list):
        _check_polygons(outline, size)
    elif isinstance(outline, dict):
        _check_runs(outline, size)
    else:
        raise ValueError("it should be a list of polygons or a dict of run lengths")
    reader = coco()
    reader.imgs = {0: {"height": size[0], "width": size[1]}}
    found: Tensor = torch.from_numpy(reader.annToMask({"image_id": 0, "segmentation": outline}))
    return found


def _check_polygons(polygons: Sequence[object], size: tuple[int, int]) -> None:
    if not polygons:
        raise ValueError("it has no polygon")
    height, width = size
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise ValueError("a polygon should be a list of at least three points, x and y after one another")
        for number, value in enumerate(polygon):
            side = height if number % 2 else width
            # Annotations may reach beyond the picture by some pixels, but not by more than the picture itself.
            if type(value) not in (int, float) or not -side <= value <= 2 * side:
                raise ValueError(f"a polygon has {value!r}, which is no place in or near {width}x{height} pixels")


def _check_runs(outline: dict[str, object], size: tuple[int, int]) -> None:
    counts = outline.get("counts")
    if outline.get("size") != [*size]:
        raise ValueError(f"its run lengths are of the size {outline.get('size')!r}, and the picture is {[*size]}")
    if isinstance(counts, str):
        runs: Sequence[object] = unpacked(counts)
    elif isinstance(counts, list):
        runs = counts
    else:
        raise ValueError("its counts should be a list of numbers, or text")
    strange = next((run for run in runs if type(run) is not int or run < 0), None)
    if strange is not None:
        raise ValueError(f"it has the run length {strange!r}, which should be a whole number from 0")
    if (total := sum(runs)) != math.prod(size):  # type: ignore[arg-type]
        raise ValueError(f"its run lengths cover {total} pixels, and the picture has {math.prod(size)}")


def unpacked(text: str) -> list[int]:
    """Run lengths from COCO's text: each is a number in groups of five bits, the lowest first, and from the third on
    the difference to the last but one.

    Raises:
        ValueError: it is no such text; a clause.

    >>> unpacked("52203")
    [5, 2, 2, 2, 5]
    """
    found: list[int] = []
    value = shift = 0
    for character in text:
        group = ord(character) - _FIRST
        if not 0 <= group <= _BITS + _MORE or shift >= 5 * _WIDEST:
            raise ValueError("its counts are no run lengths")
        value |= (group & _BITS) << shift
        shift += 5
        if group & _MORE:
            continue
        if group & _NEGATIVE:
            value -= 1 << shift
        found.append(value + (found[-2] if len(found) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("its counts end in the middle of a number")
    return found
