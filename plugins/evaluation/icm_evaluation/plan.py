"""What can be measured of a pipeline on a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from icm_core.errors import InputError
from icm_core.interfaces import DataSet, TaskKind
from icm_core.interfaces.dataset import PICTURES
from icm_core.pipeline.pipeline import Pipeline
from icm_core.pipeline.search import searched_tasks
from icm_core.plugins.registry import Registry
from icm_core.quality import Quality
from icm_core.spec.model import FINE
from icm_core.types import Legend
from icm_evaluation.kinds import Kinds, match, told
from icm_evaluation.results import TaskInfo
from icm_registry import unknown


@dataclass(frozen=True)
class Measured:
    """One output that is measured.

    Attributes:
        kind: of its answers.
        legend: what the numbers in them mean.
        numbers: the head's number of each label of the data set; None of pictures, whose target is the picture.
        info: what the result says of it.
    """

    kind: TaskKind
    legend: Legend
    numbers: tuple[int, ...] | None
    info: TaskInfo


@dataclass(frozen=True, order=True)
class Setting:
    """How a picture is coded at one point.

    Attributes:
        quality: of the base layer.
        enhancement: of the enhancement layer; None: the same.
    """

    quality: float
    enhancement: float | None = None

    @property
    def name(self) -> str:
        """For messages and names of files, such as ``2`` and ``2.e3.5``.

        >>> Setting(2.0, 3.5).name
        '2.e3.5'
        """
        return f"{self.quality:g}" + ("" if self.enhancement is None else f".e{self.enhancement:g}")

    @property
    def arguments(self) -> dict[str, Any]:
        """What `Pipeline.encode` is told."""
        return {"quality": self.quality, "enhancement_quality": self.enhancement}


@dataclass(frozen=True)
class Plan:
    """What is measured of each picture.

    Attributes:
        settings: rising.
        tasks: the outputs that are measured, by name.
        skipped: the others, and why they are not.
        clean: tasks whose head also runs on the picture itself.
        targets: kind of the data set's targets, None where it has none.
        legend: the data set's.
        encoder: name of the codec's encoder; None for the usual one.
        effort: steps of encoder-side search, 0 for none.
        searched: tasks that are searched for.
    """

    settings: tuple[Setting, ...]
    tasks: dict[str, Measured]
    skipped: dict[str, str]
    clean: tuple[str, ...]
    targets: TaskKind | None
    legend: Legend
    encoder: str | None = None
    effort: int = 0
    searched: tuple[str, ...] = ()

    @property
    def search(self) -> dict[str, Any]:
        """What `Pipeline.encode` is told of the encoder and its search."""
        return {"encoder": self.encoder, "effort": self.effort, "search_for": self.searched or None}


def make_plan(
    pipe: Pipeline,
    data: DataSet,
    registry: Registry,
    qualities: Sequence[float],
    enhancement: Sequence[float] | None = None,
    encoder: str | None = None,
    effort: int = 0,
    search_for: Sequence[str] | None = None,
    only: Sequence[str] | None = None,
) -> Plan:
    """A task is measured where the data set has what it is about; pictures are measured on every data set.

    Raises:
        InputError: the pipeline has no such quality, encoder, search or task, or nothing of it can be measured.
        SpecError: the kind of the data set's targets is not installed.
    """
    if encoder is not None:
        pipe.codec.with_encoder(encoder)
        encoder = None if encoder == pipe.codec.encoders[0] else encoder
    searched = tuple(searched_tasks(pipe, effort, search_for))
    settings = _settings(pipe, qualities, enhancement)
    known = [*pipe.spec.tasks, *([FINE] if pipe.spec.enhancement is not None else [])]
    for name in only or ():
        if name not in known:
            raise InputError(unknown("task", name, known))
    kinds = Kinds(registry)
    targets = None if data.kind == PICTURES else kinds.get(data.kind, data.name)
    tasks: dict[str, Measured] = {}
    skipped: dict[str, str] = {}
    for name, task in pipe.spec.tasks.items():
        if only is not None and name not in only:
            continue
        kind, head = pipe.kind(name), pipe.task(name).head
        numbers = None if kind.is_picture else match(kind, head.legend, data, kinds)
        if isinstance(numbers, str):
            skipped[name] = numbers
            continue
        legend = head.legend if numbers is None else told(head.legend, data.legend)
        tasks[name] = Measured(
            kind, legend, numbers, _info(kind, legend, task.head.use, task.adapter.use, whole=pipe.reads_fine(name))
        )
    if pipe.spec.enhancement is not None and (only is None or FINE in only):
        kind, legend = pipe.kind(FINE), Legend()
        tasks[FINE] = Measured(kind, legend, None, _info(kind, legend, pipe.spec.enhancement.use, "", whole=True))
    if not tasks:
        why = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
        raise InputError(f"nothing of pipeline {pipe.name!r} can be measured on this data set: {why}")
    clean = tuple(
        name for name, one in tasks.items() if one.numbers is not None and pipe.task(name).head.reads_pictures
    )
    return Plan(settings, tasks, skipped, clean, targets, data.legend, encoder, effort, searched)


def _settings(pipe: Pipeline, qualities: Sequence[float], enhancement: Sequence[float] | None) -> tuple[Setting, ...]:
    """All pairs of qualities; a curve over two that both change would be none."""
    low, high = pipe.codec.quality_range
    for quality in [*qualities, *(enhancement or ())]:
        if not low <= quality <= high:
            raise InputError(f"quality {quality:g} is out of range; pipeline {pipe.name!r} has {low:g} to {high:g}")
    base = sorted({Quality.of(quality).value for quality in qualities})
    if enhancement is None:
        return tuple(map(Setting, base))
    if pipe.enhancement is None:
        raise InputError(f"pipeline {pipe.name!r} has no enhancement layer that could have a quality of its own")
    fine = sorted({Quality.of(quality).value for quality in enhancement})
    if len(base) > 1 and len(fine) > 1:
        raise InputError(
            f"there are {len(base)} qualities of the base layer and {len(fine)} of the enhancement; one of the layers "
            f"should keep one, like -q 2 --enhancement-quality 1,2,3,4"
        )
    return tuple(Setting(one, other) for one in base for other in fine)


def _info(kind: TaskKind, legend: Legend, head: str, adapter: str, *, whole: bool) -> TaskInfo:
    return TaskInfo(
        kind=kind.name,
        head=head,
        adapter=adapter,
        whole=whole,
        labels=list(legend.labels),
        unit=legend.unit,
        figures={},
    )
