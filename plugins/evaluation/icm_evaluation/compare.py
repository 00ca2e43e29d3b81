"""Systems against one of them: Bjontegaard deltas, and bits at equal quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

from icm_core.errors import InputError
from icm_evaluation.bd import Method, bd_rate, bd_value, bits_at, ratio_at
from icm_evaluation.bootstrap import DRAWS, Resampled, draws, interval
from icm_evaluation.curves import SAME_HEAD, Array, Curve, check_comparable, curves_of
from icm_evaluation.results import HIGHER_IS_BETTER, TITLES, UNITS, Result, describe_data
from icm_registry import unknown

Range = tuple[float, float]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AtLevel(_Model):
    """Two systems where they are equally good."""

    level: float = Field(description="value of the figure")
    anchor_bpp: float | None = Field(description="bits per pixel of the anchor there, None where it does not get there")
    test_bpp: float | None
    ratio: float | None = Field(description="test_bpp in percent of anchor_bpp; None without overlap")
    interval: Range | None = Field(description="95 % of the ratio over draws of pictures")


class Comparison(_Model):
    """One figure of two systems."""

    metric: str
    unit: str
    anchor: str
    test: str
    bd_rate: float | None = Field(description="percent; negative: the test needs fewer bits")
    bd_rate_interval: Range | None
    bd_value: float | None = Field(description="in the metric's unit; positive: the test is better")
    bd_value_interval: Range | None
    overlap: float = Field(description="share of both ranges of the figure that both cover, 0 to 1")
    common: Range | None = Field(description="that range")
    left_out: int = Field(description="points that another one beats with fewer bits, which BD-rate leaves out")
    note: str = Field(description="'no overlap', 'no common rates', 'fewer than two points', or what to bear in mind")
    at: list[AtLevel]


def compare(
    results: Sequence[Result],
    *,
    anchor: str | None = None,
    levels: Mapping[str, float] | None = None,
    method: Method = "pchip",
    count: int = DRAWS,
    seed: int = 0,
) -> list[Comparison]:
    """Every figure that the anchor shares with another system.

    Args:
        results: at least two, of the same pictures.
        anchor: name of the system that the others are compared with, the first by default.
        levels: where to compare bits, by metric; by default in the middle of what both cover.
        method: interpolation.
        count: draws of pictures for the intervals, 0 for none.
        seed: of these draws.

    Raises:
        InputError: fewer than two results, other pictures, or there is no such anchor or metric.
    """
    if len(results) < 2:
        raise InputError(f"comparing takes two results or more, not {len(results)}")
    check_comparable(results)
    levels = levels or {}
    for metric in levels:
        if metric not in HIGHER_IS_BETTER:
            raise InputError(unknown("metric", metric, HIGHER_IS_BETTER))
    names = [result.system for result in results]
    if anchor is not None and anchor not in names:
        raise InputError(unknown("system", anchor, names))
    first = results[names.index(anchor)] if anchor is not None else results[0]
    weights = draws(len(first.pictures), count, seed)
    return [
        _compare(mine, other, levels.get(mine.metric), method, weights)
        for mine in curves_of(first)
        for result in results
        if result is not first
        for other in curves_of(result)
        if other.metric == mine.metric
    ]


def compare_by_data(results: Sequence[Result], *, anchor: str | None = None, count: int = DRAWS) -> list[Comparison]:
    """`compare` among results of each data set; where the anchor was not measured, the first result stands for it.

    Raises:
        InputError: as `compare` does.
    """
    names = [result.system for result in results]
    if anchor is not None and anchor not in names:
        raise InputError(unknown("system", anchor, names))
    found = []
    for some in by_data(results).values():
        if len(some) > 1:
            own = anchor if anchor in [result.system for result in some] else None
            found += compare(some, anchor=own, count=count)
    return found


def by_data(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Results by what they were measured on."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(describe_data(result), []).append(result)
    return groups


def _compare(anchor: Curve, test: Curve, level: float | None, method: Method, weights: Array) -> Comparison:
    one, other = anchor.points, test.points
    rate, value = bd_rate(one, other, method), bd_value(one, other, method)
    if level is None and rate.low is not None and rate.high is not None:
        level = (rate.low + rate.high) / 2
    drawn = (Resampled(anchor), Resampled(test), weights)
    at = []
    if level is not None:
        where = level
        ratio = ratio_at(one, other, where, method).value
        at.append(
            AtLevel(
                level=where,
                anchor_bpp=bits_at(one, where, method),
                test_bpp=bits_at(other, where, method),
                ratio=ratio,
                interval=None if ratio is None else interval(*drawn, lambda a, b: ratio_at(a, b, where, method).value),
            )
        )
    has_rate, has_value = rate.value is not None, value.value is not None
    return Comparison(
        metric=anchor.metric,
        unit=UNITS[anchor.metric],
        anchor=anchor.label,
        test=test.label,
        bd_rate=rate.value,
        bd_rate_interval=interval(*drawn, lambda a, b: bd_rate(a, b, method).value) if has_rate else None,
        bd_value=value.value,
        bd_value_interval=interval(*drawn, lambda a, b: bd_value(a, b, method).value) if has_value else None,
        overlap=rate.overlap,
        common=None if rate.low is None or rate.high is None else (rate.low, rate.high),
        left_out=len(one) + len(other) - len(one.front()) - len(other.front()),
        note="; ".join(filter(None, (rate.note, "" if rate.note else value.note, _heads(anchor, test)))),
        at=at,
    )


def _heads(anchor: Curve, test: Curve) -> str:
    if anchor.clean is None or test.clean is None or abs(anchor.clean - test.clean) <= SAME_HEAD:
        return ""
    return f"different heads: {anchor.clean:.1f} and {test.clean:.1f} on clean pictures"


def sentence(found: Comparison, at: AtLevel) -> str:
    """Bits at equal quality for a person."""
    where = f"{TITLES[found.metric]} {at.level:.4g}{' ' if found.unit else ''}{found.unit}"
    if at.ratio is None:
        return f"{found.test} and {found.anchor} do not both reach {where}: no overlap"
    spread = f" (95 %: {at.interval[0]:.0f} to {at.interval[1]:.0f} %)" if at.interval else ""
    return f"{found.test} uses {at.ratio:.0f} % of {found.anchor}'s bits at {where}{spread}"
