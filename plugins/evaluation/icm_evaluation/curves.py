"""Results as curves: what a system reaches of a figure, over the bits that it needs for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icm_core.errors import InputError
from icm_evaluation.figure_info import CLEAN, FigureInfo
from icm_evaluation.results import Result, describe_data

Array = NDArray[np.float64]

SAME_HEAD = 0.1
"""Clean figures that differ by more, in percent, are of different heads; bfloat16 moves one by some hundredths."""


@dataclass(frozen=True)
class Points:
    """A curve's bare points.

    Attributes:
        rates: bits per pixel, strictly rising.
        values: a figure, of the same length.
        higher_is_better: which way is better.
    """

    rates: Array
    values: Array
    higher_is_better: bool = True

    @classmethod
    def of(
        cls, rates: Sequence[float] | Array, values: Sequence[float] | Array, higher_is_better: bool = True
    ) -> Points:
        """Points in any order; of several at one rate the best stays."""
        best: dict[float, float] = {}
        better = max if higher_is_better else min
        for rate, value in zip(rates, values, strict=True):
            best[float(rate)] = better(float(value), best.get(float(rate), float(value)))
        order = sorted(best)
        return cls(np.array(order), np.array([best[rate] for rate in order]), higher_is_better)

    @property
    def merits(self) -> Array:
        """The values with more being better: those of figures where less is better with the other sign."""
        return self.values if self.higher_is_better else -self.values

    def merit(self, value: float) -> float:
        """A value of the figure among the merits, and back."""
        return value if self.higher_is_better else -value

    def front(self) -> Points:
        """Without the points that another one beats or equals with fewer bits, so that merits rise strictly, too."""
        kept: list[int] = []
        merits = self.merits
        for index, merit in enumerate(merits):
            if not kept or merit > merits[kept[-1]]:
                kept.append(index)
        return Points(self.rates[kept], self.values[kept], self.higher_is_better)

    def __len__(self) -> int:
        return len(self.rates)


Key = tuple[str, str, str, bool]


@dataclass(frozen=True)
class Curve:
    """One figure of one output of a system.

    Attributes:
        label: the system, with the output where several have this figure.
        kind: of the output.
        metric: name of the figure.
        about: what it is.
        task: the output.
        clean: the same head's figure on clean pictures, None where it is not known.
        settings: qualities of both layers of the measured points, rising; None: the enhancement has the base's.
        rates, values: of these points.
        result: what it was taken from.
    """

    label: str
    kind: str
    metric: str
    about: FigureInfo
    task: str
    clean: float | None
    settings: tuple[tuple[float, float | None], ...]
    rates: tuple[float, ...]
    values: tuple[float, ...]
    result: Result

    @property
    def points(self) -> Points:
        """The bare points."""
        return Points.of(self.rates, self.values, self.about.higher_is_better)

    @property
    def key(self) -> Key:
        """What curves have in common that may be compared: two kinds may call different figures by one name."""
        return self.kind, self.metric, self.about.unit, self.about.higher_is_better


def curves_of(result: Result) -> list[Curve]:
    """Every figure of every output, figure by figure; points whose figure is not known are left out."""
    known = dict.fromkeys((info.kind, metric) for info in result.tasks.values() for metric in info.figures)
    return [curve for kind, metric in known for curve in _of_metric(result, kind, metric)]


def _of_metric(result: Result, kind: str, metric: str) -> list[Curve]:
    tasks = [
        task
        for task, info in result.tasks.items()
        if info.kind == kind and any(metric in point.tasks[task] for point in result.points)
    ]
    found = []
    for task in tasks:
        info = result.tasks[task]
        known = [point for point in result.points if point.tasks[task].get(metric) is not None]
        if not known:
            continue
        found.append(
            Curve(
                label=f"{result.system} {task}" if len(tasks) > 1 else result.system,
                kind=kind,
                metric=metric,
                about=info.figures[metric],
                task=task,
                clean=known[0].tasks[task].get(CLEAN) if metric == info.main else None,
                settings=tuple(point.setting for point in known),
                rates=tuple(point.bpp if info.whole else point.base_bpp for point in known),
                values=tuple(_number(point.tasks[task][metric]) for point in known),
                result=result,
            )
        )
    return found


def same_head(one: float, other: float, about: FigureInfo) -> bool:
    """Whether two figures on clean pictures are near enough to be of one head.

    Shares in percent by their difference, other figures by the difference's share of them.
    """
    scale = 1.0 if about.unit == "%" else max(abs(one), abs(other)) / 100
    return abs(one - other) <= SAME_HEAD * scale


def check_comparable(results: Sequence[Result]) -> None:
    """Raise `InputError` unless all results have names of their own and are of the same pictures."""
    first = results[0]
    names = [result.system for result in results]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError(f"two results are of a system called {min(twice)!r}; a spec's name tells systems apart")
    keys = [row.key for row in first.pictures]
    for other in results[1:]:
        if [row.key for row in other.pictures] != keys:
            raise InputError(
                f"{other.system!r} was not measured on the pictures of {first.system!r}: {describe_data(other)} "
                f"against {describe_data(first)}; measure both with the same --data, --split and --limit"
            )


def _number(value: float | None) -> float:
    assert value is not None
    return value
