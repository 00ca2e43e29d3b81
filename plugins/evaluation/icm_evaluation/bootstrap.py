"""How much a figure would change with other pictures: curves over pictures drawn again and again, with replacement."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from icm_evaluation.curves import Array, Curve, Points
from icm_evaluation.results import Tally, counted_bytes

DRAWS = 1000
SHARE = 0.95
_ENOUGH = 0.9
"""An interval is given where so many of the draws have a value."""

_AT_ONCE = 50


class Resampled:
    """A curve's points over any choice of its pictures.

    Args:
        curve: the curve.
    """

    def __init__(self, curve: Curve) -> None:
        rows = curve.result.pictures
        whole = curve.result.tasks[curve.task].whole
        chosen = [index for index, point in enumerate(rows[0].points) if point.quality in curve.qualities]
        coded = [[row.points[index] for index in chosen] for row in rows]
        self.rates: Array = np.array(
            [
                [8 * counted_bytes(one, whole, curve.result.counted) / (row.width * row.height) for one in points]
                for row, points in zip(rows, coded, strict=True)
            ]
        )  # (P, Q)
        tallies = [[one.tasks[curve.task] for one in points] for points in coded]
        if curve.metric == "miou":
            self.values: Array = np.array([[tally.confusion for tally in some] for some in tallies], dtype=np.float64)
        else:
            self.values = np.array([[_value(tally, curve.metric) for tally in some] for some in tallies])

    def points(self, weights: Array) -> Iterator[Points]:
        """The curve for each row of weights (B, P): how often each picture is in the draw."""
        count = weights.sum(1, keepdims=True)
        for start in range(0, len(weights), _AT_ONCE):
            some = weights[start : start + _AT_ONCE]
            each = count[start : start + _AT_ONCE]
            rates = some @ self.rates / each
            if self.values.ndim == 3:
                values = miou_of(np.einsum("bp,pqk->bqk", some, self.values, optimize=True))
            else:
                values = some @ self.values / each
            for one, other in zip(rates, values, strict=True):
                known = ~np.isnan(other)
                yield Points.of(one[known], other[known])


def miou_of(counts: Array) -> Array:
    """Mean IoU in percent from flattened confusion matrices (..., K * K); NaN where no pixel counts."""
    classes = math.isqrt(counts.shape[-1])
    matrix = counts.reshape(*counts.shape[:-1], classes, classes)
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    union = matrix.sum(-1) + matrix.sum(-2) - hits
    occurs = union > 0
    scores = np.divide(hits, union, out=np.zeros_like(hits), where=occurs)
    known = occurs.sum(-1)
    total = 100 * scores.sum(-1)
    found: Array = np.divide(total, known, out=np.full_like(total, np.nan), where=known > 0)
    return found


def draws(pictures: int, count: int, seed: int) -> Array:
    """(count, pictures) weights: how often each picture was drawn."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(pictures, np.full(pictures, 1 / pictures), size=count).astype(np.float64)


def interval(
    anchor: Resampled, test: Resampled, weights: Array, measure: Callable[[Points, Points], float | None]
) -> tuple[float, float] | None:
    """The range that holds 95 % of the draws, both systems on the same pictures; None where too few have a value."""
    found = [
        value
        for one, other in zip(anchor.points(weights), test.points(weights), strict=True)
        if (value := measure(one, other)) is not None
    ]
    if len(found) < max(_ENOUGH * len(weights), 1):
        return None
    low, high = np.quantile(found, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return float(low), float(high)


def _value(tally: Tally, metric: str) -> float:
    value: float | bool | None = getattr(tally, metric)
    assert value is not None  # the curve has no points with unknown figures
    return 100.0 * value if metric in ("top1", "top5") else float(value)
