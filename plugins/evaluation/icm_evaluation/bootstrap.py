"""How much a figure would change with other pictures: curves over pictures drawn again and again, with replacement.

Kinds make figures of draws (`TaskKind.resampled`). One that leaves it to the default, which makes all figures of every
draw anew, gets fewer: at most `FEWER`, and so few that it looks at `TALLIES` tallies or less at each quality; where
that would be less than `FEWEST` draws, there are no intervals. So the number of draws depends on nothing but the kind,
the number of pictures, and what was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from icm_core.errors import IcmError
from icm_core.interfaces import Drawn, TaskKind
from icm_evaluation.curves import Array, Curve, Points
from icm_evaluation.kinds import Kinds
from icm_evaluation.results import counted_bytes

DRAWS = 1000
FEWER = 100
FEWEST = 40
TALLIES = 10_000

SHARE = 0.95
_ENOUGH = 0.9
"""An interval is given where so many of the draws have a value."""

_AT_ONCE = 50


class Resampler:
    """Curves of results of the same pictures over draws of these.

    Args:
        weights: (D, P), how often each picture is in each draw.
        kinds: where the kinds of the curves are looked up.
    """

    def __init__(self, weights: Array, kinds: Kinds | None = None) -> None:
        self._weights = weights
        self._kinds = kinds or Kinds()
        self._drawn: dict[tuple[str, str, int], Drawn] = {}
        self._curves: dict[tuple[str, str, str], list[Points] | str] = {}

    @property
    def count(self) -> int:
        """How many draws were asked for, D."""
        return len(self._weights)

    def points(self, curve: Curve) -> list[Points] | str:
        """The curve in each draw, or a clause that says why it cannot be had."""
        key = (curve.result.system, curve.task, curve.metric)
        if key not in self._curves:
            self._curves[key] = self._points(curve)
        return self._curves[key]

    def _points(self, curve: Curve) -> list[Points] | str:
        try:
            kind = self._kinds.get(curve.kind)
        except IcmError:
            return f"no intervals: the kind {curve.kind!r} is not installed"
        weights = self._weights[: draws_of(kind, *self._weights.shape)]
        if len(weights) < len(self._weights) and not len(weights):
            return f"no intervals: drawing so many pictures takes too long with the kind {curve.kind!r}"
        rows = curve.result.pictures
        whole, counted = curve.result.tasks[curve.task].whole, curve.result.counted
        chosen = [index for index, point in enumerate(rows[0].points) if point.setting in curve.settings]
        each = [
            [8 * counted_bytes(row.points[index], whole, counted) / (row.width * row.height) for index in chosen]
            for row in rows
        ]
        try:
            values = np.stack([self._values(kind, curve, index, weights) for index in chosen], axis=1)
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            return f"no intervals: the kind {curve.kind!r} cannot read these tallies ({type(error).__name__}: {error})"
        found = []
        for rates, row in zip(_means(np.array(each), weights), values, strict=True):
            known = np.isfinite(row)
            found.append(Points.of(rates[known], row[known], curve.about.higher_is_better))
        return found

    def _values(self, kind: TaskKind, curve: Curve, index: int, weights: Array) -> Array:
        """The curve's figure in each draw at one quality, (D,); what the output's figures share is made once."""
        key = (curve.result.system, curve.task, index)
        if key not in self._drawn:
            tallies = [row.points[index].tasks[curve.task] for row in curve.result.pictures]
            self._drawn[key] = kind.resampled(tallies, curve.result.tasks[curve.task].legend, weights)
        found = np.asarray(self._drawn[key][curve.metric], dtype=np.float64)
        if found.shape != (len(weights),):
            raise ValueError(f"it gave an array of shape {found.shape} for {len(weights)} draws")
        return found


def draws_of(kind: TaskKind, count: int, pictures: int) -> int:
    """How many of the draws that were asked for a kind gets."""
    if type(kind).resampled is not TaskKind.resampled:
        return count
    most = min(FEWER, TALLIES // pictures)
    return min(count, most) if most >= FEWEST else 0


def draws(pictures: int, count: int, seed: int) -> Array:
    """(count, pictures) weights: how often each picture was drawn."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(pictures, np.full(pictures, 1 / pictures), size=count).astype(np.float64)


def interval(
    anchor: Sequence[Points], test: Sequence[Points], measure: Callable[[Points, Points], float | None]
) -> tuple[float, float] | None:
    """The range that holds 95 % of the draws, both systems on the same pictures; None where too few have a value."""
    found = [value for one, other in zip(anchor, test, strict=True) if (value := measure(one, other)) is not None]
    if len(found) < max(_ENOUGH * len(anchor), 1):
        return None
    low, high = np.quantile(found, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return float(low), float(high)


def _means(values: Array, weights: Array) -> Array:
    """Means over pictures (P, Q) in each draw, (D, Q)."""
    parts = []
    for start in range(0, len(weights), _AT_ONCE):
        some = weights[start : start + _AT_ONCE]
        parts.append(some @ values / some.sum(1, keepdims=True))
    return np.concatenate(parts) if parts else np.zeros((0, values.shape[1]))
