"""What targets and answers with things in them have to look like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from icm_core.nests import Nest, shown

OPTIONAL = ("iscrowd", "area")
"""What a target of things may have beside what its kind asks for."""

BEYOND = 1.0
"""Pixels by which boxes and points may reach beyond the picture: annotations are rounded to whole pixels."""


def check_things(target: Nest, size: tuple[int, int], classes: int, more: Sequence[str] = ()) -> int:
    """Raise `ValueError` with a clause where a target's boxes, classes, crowd flags or areas are not right.

    Args:
        target: a dict with ``boxes``, ``labels`` and ``more``, and perhaps ``iscrowd`` and ``area``.
        size: height and width of the picture.
        classes: how many there are; 0 where that is not known.
        more: what else it must have; the caller looks at it.

    Returns:
        The number of things.
    """
    if not isinstance(target, dict):
        raise ValueError(f"is {shown(target)}; it should be a dict with {', '.join(('boxes', 'labels', *more))}")
    for name in ("boxes", "labels", *more):
        if name not in target:
            raise ValueError(f"has no {name!r}; it should have {', '.join(('boxes', 'labels', *more))}")
    for name in target:
        if name not in ("boxes", "labels", *more, *OPTIONAL):
            raise ValueError(
                f"has {name!r}, which is not known; beside {', '.join(('boxes', 'labels', *more))} it may "
                f"have {' and '.join(OPTIONAL)}"
            )
    boxes = check_entry(target, "boxes", (None, 4), torch.float32)
    count = len(boxes)
    labels = check_entry(target, "labels", (count,), torch.int64)
    _check_places(boxes, size)
    strange = labels[(labels < 0) | (labels >= classes)] if classes else labels[labels < 0]
    if strange.numel():
        known = f", and there are {classes} labels" if classes else "; classes count from 0"
        raise ValueError(f"has the class {int(strange[0])}{known}")
    if "iscrowd" in target:
        crowd = check_entry(target, "iscrowd", (count,), torch.bool, torch.int64)
        if bool(((crowd != 0) & (crowd != 1)).any()):
            raise ValueError("has an iscrowd that is neither 0 nor 1")
    if "area" in target:
        area = check_entry(target, "area", (count,), torch.float32)
        if not bool((area.isfinite() & (area >= 0)).all()):
            raise ValueError("has an area that is negative or not finite")
    return count


def check_entry(target: dict[str, Any], name: str, shape: tuple[int | None, ...], *types: torch.dtype) -> Tensor:
    """An entry of a target; `ValueError` with a clause unless it is a tensor of a shape (None: any) and type."""
    value = target[name]
    if (
        isinstance(value, Tensor)
        and value.dtype in types
        and value.dim() == len(shape)
        and all(wanted in (None, side) for wanted, side in zip(shape, value.shape, strict=True))
    ):
        return value
    sides = ", ".join("N" if side is None else str(side) for side in shape) + ("," if len(shape) == 1 else "")
    names = " or ".join(str(kind).removeprefix("torch.") for kind in types)
    raise ValueError(f"has {name} that are {shown(value)}; they should be ({sides}) {names}")


def _check_places(boxes: Tensor, size: tuple[int, int]) -> None:
    height, width = size
    for box in boxes.tolist():
        x0, y0, x1, y1 = box
        said = f"has the box {written(box)}"
        if not (x0 < x1 and y0 < y1):  # also where one is not a number
            raise ValueError(f"{said}; boxes are left, top, right, bottom in pixels, of a size above 0")
        if min(x0, y0) < -BEYOND or x1 > width + BEYOND or y1 > height + BEYOND:
            raise ValueError(f"{said}, which reaches beyond the picture of {width}x{height} pixels")


def written(box: Sequence[float]) -> str:
    """A box for messages.

    >>> written([1.0, 2.5, 3.0, 4.0])
    '(1, 2.5, 3, 4)'
    """
    return f"({', '.join(f'{value:g}' for value in box)})"


def check_answer(answer: Nest, classes: int, more: Sequence[str] = ()) -> None:
    """Raise `ValueError` with a clause where what a head says of one picture is not right.

    Args:
        answer: a dict with ``boxes`` (N, 4), ``labels`` (N,), ``scores`` (N,) in [0, 1], and ``more``, (N, ...) each.
        classes: how many there are; 0 where that is not known.
        more: what else it must have; the caller looks at its shape.
    """
    names = ("boxes", "labels", "scores", *more)
    if not isinstance(answer, dict):
        raise ValueError(f"has {shown(answer)} for a picture; it should be a dict with {', '.join(names)}")
    for name in names:
        value = answer.get(name)
        if not isinstance(value, Tensor):
            found = f"{name!r} that is {shown(value)}" if name in answer else f"no {name!r}"
            raise ValueError(f"has {found}; it should have tensors for {', '.join(names)}")
        if not bool(value.isfinite().all()):
            raise ValueError(f"has {name} that are not finite")
    count = len(answer["scores"]) if answer["scores"].dim() == 1 else -1
    if (
        answer["boxes"].shape != (count, 4)
        or answer["labels"].shape != (count,)
        or any(not answer[name].dim() or len(answer[name]) != count for name in more)
    ):
        shapes = ", ".join(f"{name} {tuple(answer[name].shape)}" for name in names)
        raise ValueError(f"has {shapes} for a picture; boxes are (N, 4), labels and scores (N,), all of one N")
    labels, scores = answer["labels"], answer["scores"]
    if labels.is_floating_point():
        raise ValueError(f"has labels that are {shown(labels)}; they should be (N,) int64")
    if scores.numel() and not 0 <= float(scores.min()) <= float(scores.max()) <= 1:
        raise ValueError(
            f"has scores from {float(scores.min()):g} to {float(scores.max()):g}; they should be in [0, 1]"
        )
    strange = labels[(labels < 0) | (labels >= classes)] if classes else labels[labels < 0]
    if strange.numel():
        known = f"0 to {classes - 1}; the background has no number" if classes else "numbers from 0"
        raise ValueError(f"has the class {int(strange[0])}; classes are {known}")
