"""Bjontegaard deltas between two curves, and their bits at one quality; never beyond what both curves cover.

Rates are interpolated in their logarithm, by the package ``bjontegaard``.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from icm_evaluation.curves import Array, Points
from icm_evaluation.extras import need

Method = Literal["pchip", "akima"]
NO_OVERLAP = "no overlap"
NO_RATES = "no common rates"
TOO_FEW = "fewer than two points"


@dataclass(frozen=True)
class Delta:
    """A difference, or why there is none.

    Attributes:
        value: None where it cannot be said.
        overlap: share of the range of both curves together that both cover, 0 to 1.
        low: where the common range begins, None without one.
        high: where it ends.
        note: `NO_OVERLAP`, `NO_RATES` or `TOO_FEW` where `value` is None, else empty.
    """

    value: float | None
    overlap: float = 0.0
    low: float | None = None
    high: float | None = None
    note: str = ""


def bd_rate(anchor: Points, test: Points, method: Method = "pchip") -> Delta:
    """Mean difference of the bits at equal quality, in percent of the anchor's; negative is fewer bits.

    Points that another one beats or equals with fewer bits are left out, on both curves.
    """
    anchor, test = anchor.front(), test.front()
    common = _common(anchor, test, anchor.merits, test.merits)
    if common.note:
        return common
    found = _quietly("bd_rate", anchor.rates, anchor.merits, test.rates, test.merits, method)
    assert common.low is not None and common.high is not None
    low, high = sorted((anchor.merit(common.low), anchor.merit(common.high)))
    return Delta(float(found), common.overlap, low, high)


def bd_value(anchor: Points, test: Points, method: Method = "pchip") -> Delta:
    """Mean difference of the figure at equal bits, in its own unit: BD-PSNR, BD-mIoU, BD-accuracy; all points count.

    Positive: the test is better, also of a figure of which less is better.
    """
    common = _common(anchor, test, np.log10(anchor.rates), np.log10(test.rates))
    if common.note:
        return replace(common, note=NO_RATES) if common.note == NO_OVERLAP else common
    found = _quietly("bd_psnr", anchor.rates, anchor.merits, test.rates, test.merits, method)
    assert common.low is not None and common.high is not None
    return Delta(float(found), common.overlap, 10**common.low, 10**common.high)


def bits_at(points: Points, level: float, method: Method = "pchip") -> float | None:
    """Bits per pixel at which a curve reaches a level; None outside of what it covers."""
    front = points.front()
    merits, wanted = front.merits, points.merit(level)
    if len(front) < 2 or not merits[0] <= wanted <= merits[-1]:
        return None
    interpolation = need("bjontegaard.interpolation")
    return float(10 ** interpolation.interpolate(merits, np.log10(front.rates), method)(wanted))


def ratio_at(anchor: Points, test: Points, level: float, method: Method = "pchip") -> Delta:
    """The bits that the test needs at a level, in percent of the anchor's."""
    mine, theirs = bits_at(test, level, method), bits_at(anchor, level, method)
    if mine is None or theirs is None:
        return Delta(None, note=TOO_FEW if min(len(anchor.front()), len(test.front())) < 2 else NO_OVERLAP)
    return Delta(100 * mine / theirs, 1.0, level, level)


def _common(anchor: Points, test: Points, of_anchor: Array, of_test: Array) -> Delta:
    """The range that both cover, as a `Delta` without value."""
    if min(len(anchor), len(test)) < 2:
        return Delta(None, note=TOO_FEW)
    low, high = max(of_anchor.min(), of_test.min()), min(of_anchor.max(), of_test.max())
    whole = max(of_anchor.max(), of_test.max()) - min(of_anchor.min(), of_test.min())
    if high <= low:
        return Delta(None, note=NO_OVERLAP)
    return Delta(None, float((high - low) / whole), float(low), float(high))


def _quietly(name: str, *arguments: object) -> float:
    """One of the package's functions; how much overlap is enough is the reader's to say, who is told the share."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: float = getattr(need("bjontegaard"), name)(*arguments, require_matching_points=False, min_overlap=0)
    return found
