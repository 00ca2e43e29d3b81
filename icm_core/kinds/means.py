"""Figures that are means over pictures of one number each: the same for any order, quick to draw again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from icm_core.interfaces.kind import Tally, Weights


def mean(values: Sequence[float | None]) -> float | None:
    """The mean, None if a value is None or there is none; exact, so that it does not depend on the order."""
    known = [float(value) for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def number(tally: Tally, field: str) -> float | None:
    """A number or truth value of a tally."""
    value = tally.get(field)
    return None if value is None else float(value)  # type: ignore[arg-type]


def resampled_means(
    tallies: Sequence[Tally], fields: Mapping[str, float], weights: Weights
) -> dict[str, NDArray[np.float64]]:
    """Means of tallies' fields over draws of pictures.

    Args:
        tallies: one for each of P pictures.
        fields: names, each with a factor.
        weights: (D, P).

    Returns:
        By name (D,); NaN where a drawn picture has no number.
    """
    count = weights.sum(1)
    found = {}
    for field, factor in fields.items():
        values = np.array([np.nan if (v := number(tally, field)) is None else factor * v for tally in tallies])
        known = np.isfinite(values)
        means = weights @ np.where(known, values, 0.0) / count
        found[field] = np.where((weights[:, ~known] > 0).any(1), np.nan, means)
    return found
