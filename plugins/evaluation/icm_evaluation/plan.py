"""What can be measured of a pipeline on a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from icm_core.errors import InputError
from icm_core.interfaces import DataSet, TaskHead
from icm_core.pipeline.pipeline import Pipeline
from icm_core.pipeline.search import searched_tasks
from icm_core.quality import Quality
from icm_core.spec.model import FINE
from icm_evaluation.results import TaskInfo

MOST_CLASSES = 256
"""Of a head and a data set that both do not name theirs; what a class map of 8 bits can hold."""


@dataclass(frozen=True)
class Plan:
    """What is measured of each picture.

    Attributes:
        qualities: rising.
        tasks: the outputs that are measured, by name.
        skipped: the others, and why they are not.
        classes: for each task with targets, the head's number of each class of the data set.
        clean: tasks whose head also runs on the picture itself.
        ignore: value in the data set's class maps that counts nowhere.
        effort: steps of encoder-side search, 0 for none.
        searched: tasks that are searched for.
    """

    qualities: tuple[float, ...]
    tasks: dict[str, TaskInfo]
    skipped: dict[str, str]
    classes: dict[str, tuple[int, ...]]
    clean: tuple[str, ...]
    ignore: int | None
    effort: int = 0
    searched: tuple[str, ...] = ()

    @property
    def search(self) -> dict[str, Any]:
        """What `Pipeline.encode` is told of the search."""
        return {"effort": self.effort, "search_for": self.searched or None}


def make_plan(
    pipe: Pipeline,
    data: DataSet,
    qualities: Sequence[float],
    effort: int = 0,
    search_for: Sequence[str] | None = None,
) -> Plan:
    """A task is measured where the data set has what it is about; pictures are measured on every data set.

    Raises:
        InputError: the pipeline has no such quality or search, or nothing of it can be measured.
    """
    searched = tuple(searched_tasks(pipe, effort, search_for))
    low, high = pipe.codec.quality_range
    for quality in qualities:
        if not low <= quality <= high:
            raise InputError(f"quality {quality:g} is out of range; pipeline {pipe.name!r} has {low:g} to {high:g}")
    tasks: dict[str, TaskInfo] = {}
    skipped: dict[str, str] = {}
    classes: dict[str, tuple[int, ...]] = {}
    for name, task in pipe.spec.tasks.items():
        head = pipe.task(name).head
        count = len(head.labels)
        if head.kind != "reconstruction":
            if head.kind != data.kind:
                skipped[name] = f"the data set has targets of kind {data.kind}, the head is of kind {head.kind}"
                continue
            numbers = class_numbers(data.labels, head)
            if numbers is None:
                skipped[name] = f"the head has {count} classes, and they are not the data set's {len(data.labels)}"
                continue
            classes[name] = numbers
        tasks[name] = TaskInfo(kind=head.kind, head=task.head.use, adapter=task.adapter.use, whole=False)
    if pipe.spec.enhancement is not None:
        use = pipe.spec.enhancement.use
        tasks[FINE] = TaskInfo(kind="reconstruction", head=use, adapter="", whole=True)
    if not tasks:
        why = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
        raise InputError(f"nothing of pipeline {pipe.name!r} can be measured on this data set: {why}")
    clean = tuple(name for name in classes if pipe.task(name).head.reads_pictures)
    steps = sorted({Quality.of(quality).value for quality in qualities})
    return Plan(tuple(steps), tasks, skipped, classes, clean, data.ignore_index, effort, searched)


def class_numbers(labels: Sequence[str], head: TaskHead) -> tuple[int, ...] | None:
    """The head's number of each class of a data set, by name where the names are known, else in order.

    None if the two do not speak of the same classes.
    """
    count = len(head.labels) or len(labels) or MOST_CLASSES
    if not labels:
        return tuple(range(count))
    if tuple(labels) == tuple(head.labels):  # names may occur twice: ImageNet has two cranes
        return tuple(range(count))
    # A classifier of ImageNet also knows its classes by the names of their folders.
    for names in (head.labels, tuple(getattr(head, "synsets", ()))):
        if all(names.count(label) == 1 for label in labels):
            return tuple(names.index(label) for label in labels)
    return tuple(range(count)) if len(labels) == count else None
