"""Results as curves: what a system reaches of a figure, over the bits that it needs for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icm_core.errors import InputError
from icm_evaluation.results import HIGHER_IS_BETTER, Result, describe_data

Array = NDArray[np.float64]

SAME_HEAD = 0.1
"""Clean figures that differ by more, in percent, are of different heads; bfloat16 moves one by some hundredths."""


@dataclass(frozen=True)
class Points:
    """A curve's bare points.

    Attributes:
        rates: bits per pixel, strictly rising.
        values: a figure where more is better, of the same length.
    """

    rates: Array
    values: Array

    @classmethod
    def of(cls, rates: Sequence[float] | Array, values: Sequence[float] | Array) -> Points:
        """Points in any order; of several at one rate the best stays."""
        best: dict[float, float] = {}
        for rate, value in zip(rates, values, strict=True):
            best[float(rate)] = max(float(value), best.get(float(rate), -np.inf))
        order = sorted(best)
        return cls(np.array(order), np.array([best[rate] for rate in order]))

    def front(self) -> Points:
        """Without the points that another one beats or equals with fewer bits, so that values rise strictly, too."""
        kept: list[int] = []
        for index, value in enumerate(self.values):
            if not kept or value > self.values[kept[-1]]:
                kept.append(index)
        return Points(self.rates[kept], self.values[kept])

    def __len__(self) -> int:
        return len(self.rates)


@dataclass(frozen=True)
class Curve:
    """One figure of one output of a system.

    Attributes:
        label: the system, with the output where several have this figure.
        metric: one of `HIGHER_IS_BETTER`.
        task: the output.
        clean: the same head's figure on clean pictures, None where it is not known.
        qualities, rates, values: of the measured points, by rising quality.
        result: what it was taken from.
    """

    label: str
    metric: str
    task: str
    clean: float | None
    qualities: tuple[float, ...]
    rates: tuple[float, ...]
    values: tuple[float, ...]
    result: Result

    @property
    def points(self) -> Points:
        """The bare points."""
        return Points.of(self.rates, self.values)


def curves_of(result: Result) -> list[Curve]:
    """Every figure of every output; points whose figure is not known are left out."""
    return [curve for metric in HIGHER_IS_BETTER for curve in _of_metric(result, metric)]


def _of_metric(result: Result, metric: str) -> list[Curve]:
    tasks = [task for task in result.tasks if metric in result.points[0].tasks[task]]
    found = []
    for task in tasks:
        whole = result.tasks[task].whole
        known = [point for point in result.points if point.tasks[task].get(metric) is not None]
        if not known:
            continue
        main = next(iter(result.points[0].tasks[task]))
        found.append(
            Curve(
                label=f"{result.system} {task}" if len(tasks) > 1 else result.system,
                metric=metric,
                task=task,
                clean=known[0].tasks[task].get("clean") if metric == main else None,
                qualities=tuple(point.quality for point in known),
                rates=tuple(point.bpp if whole else point.base_bpp for point in known),
                values=tuple(_number(point.tasks[task][metric]) for point in known),
                result=result,
            )
        )
    return found


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
