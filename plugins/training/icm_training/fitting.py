"""What losses ask before a stage begins: whether task and data are ones that they can be had of."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from icm_core.errors import SpecError
from icm_core.interfaces import DataSet, PipelineView, TaskHead
from icm_core.training import Batch
from icm_core.types import Features, Level
from icm_training.mixture import served

Of = Literal["output", "image", "fine"]
"""A picture that a pipeline makes: a task's output, the semantic image that its adapter makes, the fine picture."""


_SIDE = 256


def named(loss: str, task: str | None) -> str:
    """The task that a loss is about; `SpecError` if it has none."""
    if task is None:
        raise SpecError(f"loss {loss!r} needs the task that it is about")
    return task


def check_targets(pipe: PipelineView, task: str, data: DataSet) -> None:
    """Raise `SpecError` unless a head can be trained on a data set's targets as they are.

    Targets are not renumbered in training: classes in another order would be learned as they stand.
    """
    owner = pipe.task(task)
    kind, legend = owner.kind, owner.head.legend
    if kind.is_picture:
        return
    if kind.name not in served(data):
        has = f"have targets of kind {data.kind}" if served(data) else "have no targets in common"
        raise SpecError(f"task {task!r} is of kind {kind.name}, and the feed's data sets {has}")
    found = kind.match(data.legend, legend)
    if isinstance(found, str):
        raise SpecError(f"task {task!r} cannot be trained on data set {data.name!r}: {found}")
    for number, other in enumerate(found):
        if number != other:
            raise SpecError(
                f"task {task!r} cannot be trained on data set {data.name!r}: {data.legend.label(number)!r} is number "
                f"{number} in its targets and {other} of the head"
            )


def check_output(head: TaskHead, task: str, number: int) -> None:
    """Raise `SpecError` if a head has no output of this number.

    Only a head on the ``meta`` device is asked, which costs nothing; one that cannot run there is asked in training.
    """
    if not any(parameter.is_meta for parameter in head.parameters()):
        return
    size = (_SIDE, _SIDE)
    maps = {
        name: torch.empty(1, level.channels, *level.at(_SIDE, _SIDE), device="meta")
        for name, level in head.features.items()
    }
    try:
        with torch.no_grad(), torch.device("meta"):
            count = len(head.outputs(Features(maps, size)))
    except Exception:  # whatever somebody's network does to tensors without values
        return
    check_number(number, count, task)


def check_number(number: int, count: int, task: str | None) -> None:
    """Raise `SpecError` unless there is an output of this number among so many."""
    if number >= count:
        raise SpecError(f"output is {number}; the head of task {task!r} has {count}, counted from 0")


def check_enhancement(pipe: PipelineView) -> None:
    """Raise `SpecError` if there is no enhancement."""
    if pipe.enhancement is None:
        raise SpecError(f"pipeline {pipe.name!r} has no enhancement, so no fine picture to train on")


def check_picture(loss: str, of: Of, pipe: PipelineView, task: str | None) -> None:
    """Raise `SpecError` if there is no such picture; see `picture_of`."""
    if of == "fine":
        check_enhancement(pipe)
        return
    owner = pipe.task(named(loss, task))
    if of == "output" and not owner.kind.is_picture:
        raise SpecError(f"task {task!r} is of kind {owner.kind.name}; loss {loss!r} of its output is of pictures")
    if of == "image" and owner.head.features.get("image") != Level(3, 1):
        raise SpecError(
            f"the adapter of task {task!r} makes no semantic image: no map 'image' of 3 channels at full size"
        )


def picture_of(batch: Batch, of: Of, task: str | None) -> Tensor:
    """A picture that a pipeline makes, (B, 3, H, W), not clamped."""
    if of == "fine":
        return batch.fine()[0]
    assert task is not None  # see `check_picture`
    found: Tensor = batch.features(task).cropped("image") if of == "image" else batch.output(task)
    return found
