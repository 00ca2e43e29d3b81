"""Kinds of answers, asked for what evaluation needs of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TypeVar

from icm_core.errors import InputError
from icm_core.interfaces import DataSet, Figure, Nest, Sample, Tally, TaskKind
from icm_core.interfaces.dataset import PICTURES
from icm_core.plugins.own import icm_kinds
from icm_core.plugins.registry import Registry, build_registry
from icm_core.types import Legend
from icm_evaluation.figure_info import CLEAN, DROP, FigureInfo

T = TypeVar("T")


class Kinds:
    """Kinds by name. The core's own are there at once; what else is installed is found when it is first asked for.

    Args:
        registry: what is installed, found anew by default.
    """

    def __init__(self, registry: Registry | None = None) -> None:
        self._given = registry
        self._own = {kind.name: kind for kind in icm_kinds()}

    def get(self, name: str, where: str = "") -> TaskKind:
        """A kind; `SpecError` where it is not installed, whose message begins with ``where``."""
        own = self._own.get(name)
        return self.registry.kind(name, where) if own is None else own()

    @cached_property
    def registry(self) -> Registry:
        """What is installed."""
        return self._given or build_registry()


def match(kind: TaskKind, head: Legend, data: DataSet, kinds: Kinds) -> tuple[int, ...] | str:
    """What a data set is to a head: the head's number of each of its labels, or a clause why it cannot measure it.

    Args:
        kind: of the head's answers.
        head: the head's legend.
        data: the data set.
        kinds: where the kind of its targets is looked up.
    """
    if data.kind == PICTURES:
        return f"the data set has no targets, the head is of kind {kind.name}"
    if data.kind != kind.name and kind.name not in kinds.get(data.kind, data.name).also:
        return f"the data set has targets of kind {data.kind}, the head is of kind {kind.name}"
    return kind.match(data.legend, head)


def told(head: Legend, data: Legend) -> Legend:
    """A head's legend, with names and unit of the data set where the head has none."""
    return Legend(head.labels or data.labels, head.aliases, head.colours, head.unit or data.unit, None)


def target_of(sample: Sample, targets: TaskKind, kind: TaskKind, numbers: tuple[int, ...], legend: Legend) -> Nest:
    """A picture's target in a head's numbers.

    Args:
        sample: picture and target.
        targets: kind of the data set's targets.
        kind: of the head's answers.
        numbers: what `match` gave.
        legend: the data set's.

    Raises:
        InputError: there is no target, or it is not one of its kind, or has a class that the data set does not name.
    """
    if sample.target is None:
        raise InputError(f"{sample.key} has no target, though its data set has some")
    about = f"the target of {sample.key}"
    said(about, targets.check_target, sample.target, (sample.picture.shape[-2], sample.picture.shape[-1]), legend)
    found: Nest = said(about, kind.renumber, sample.target, numbers, legend)
    return found


def said(about: str, ask: Callable[..., T], *arguments: object) -> T:
    """What a kind answers; the clause of its `ValueError` becomes a sentence about something."""
    try:
        return ask(*arguments)
    except ValueError as error:
        raise InputError(f"{about} {error}") from error


def kept(kind: TaskKind, tally: Tally) -> Tally:
    """A tally as a file gives it back; `InputError` where JSON cannot hold it."""
    try:
        found: Tally = json.loads(json.dumps(tally, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"a tally of kind {kind.name!r} cannot be kept as JSON: {error}") from error
    return found


def figures(kind: TaskKind, tallies: Sequence[Tally], legend: Legend) -> dict[str, Figure]:
    """A kind's figures over pictures; those that are not finite are not known.

    Raises:
        InputError: there are no figures of these tallies, or one is called by a name that results have for another.
    """
    try:
        found = kind.figures(tallies, legend)
    except ValueError as error:
        raise InputError(f"the figures of kind {kind.name!r} cannot be made of these tallies: {error}") from error
    for name in (CLEAN, DROP):
        if name in found:
            raise InputError(f"kind {kind.name!r} has a figure {name!r}, a name that results have for another")
    return dict(found)


def value_of(figure: Figure) -> float | None:
    """A figure's value as results hold it: None unless it is finite."""
    if figure.value is None or not math.isfinite(figure.value):
        return None
    return float(figure.value)


def infos(found: Mapping[str, Figure]) -> dict[str, FigureInfo]:
    """What figures are, without their values."""
    return {name: FigureInfo.of(name, figure) for name, figure in found.items()}
