"""Systems against one of them: Bjontegaard deltas, and bits at equal quality."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

from icm_core.errors import InputError
from icm_evaluation.bd import Method, bd_rate, bd_value, bits_at, ratio_at
from icm_evaluation.bootstrap import DRAWS, Resampler, draws, interval
from icm_evaluation.common import by_pictures
from icm_evaluation.curves import Curve, Points, check_comparable, curves_of, same_head
from icm_evaluation.figure_info import FigureInfo
from icm_evaluation.kinds import Kinds
from icm_evaluation.results import Result, describe_data
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

    kind: str = Field(description="of the outputs")
    metric: str = Field(description="name of the figure")
    figure: FigureInfo = Field(description="what it is")
    unit: str = Field(description="the figure's")
    anchor: str
    test: str
    bd_rate: float | None = Field(description="percent; negative: the test needs fewer bits")
    bd_rate_interval: Range | None
    bd_value: float | None = Field(
        description="in the figure's unit; positive: the test is better, also where less of the figure is"
    )
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
    kinds: Kinds | None = None,
) -> list[Comparison]:
    """Every figure that the anchor shares with another system.

    Args:
        results: at least two, of the same pictures.
        anchor: name of the system that the others are compared with, the first by default.
        levels: where to compare bits, by metric; by default in the middle of what both cover.
        method: interpolation.
        count: draws of pictures for the intervals, 0 for none.
        seed: of these draws.
        kinds: where the kinds that draw are looked up; one that is not installed costs its intervals alone.

    Raises:
        InputError: fewer than two results, other pictures, or there is no such anchor or metric.
    """
    if len(results) < 2:
        raise InputError(f"comparing takes two results or more, not {len(results)}")
    check_comparable(results)
    levels = levels or {}
    known = dict.fromkeys(name for result in results for info in result.tasks.values() for name in info.figures)
    for metric in levels:
        if metric not in known:
            raise InputError(unknown("metric", metric, known))
    names = [result.system for result in results]
    if anchor is not None and anchor not in names:
        raise InputError(unknown("system", anchor, names))
    first = results[names.index(anchor)] if anchor is not None else results[0]
    resampler = Resampler(draws(len(first.pictures), count, seed), kinds) if count else None
    return [
        _compare(mine, other, levels.get(mine.metric), method, resampler)
        for mine in curves_of(first)
        for result in results
        if result is not first
        for other in curves_of(result)
        if other.key == mine.key
    ]


def compare_by_data(
    results: Sequence[Result], *, anchor: str | None = None, count: int = DRAWS, kinds: Kinds | None = None
) -> list[Comparison]:
    """`compare` among results of each data set over the pictures that they have in common.

    Where the anchor was not measured, the first result stands for it.

    Raises:
        InputError: as `compare` does.
    """
    names = [result.system for result in results]
    if anchor is not None and anchor not in names:
        raise InputError(unknown("system", anchor, names))
    found = []
    for some in by_pictures(results, kinds).values():
        if len(some) > 1:
            own = anchor if anchor in [result.system for result in some] else None
            found += compare(some, anchor=own, count=count, kinds=kinds)
    return found


def by_data(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Results by what they were measured on."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(describe_data(result), []).append(result)
    return groups


def _compare(
    anchor: Curve, test: Curve, level: float | None, method: Method, resampler: Resampler | None
) -> Comparison:
    one, other = anchor.points, test.points
    rate, value = bd_rate(one, other, method), bd_value(one, other, method)
    if level is None and rate.low is not None and rate.high is not None:
        level = (rate.low + rate.high) / 2
    spread = _Spread(anchor, test, resampler)
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
                interval=spread.of(ratio, lambda a, b: ratio_at(a, b, where, method).value),
            )
        )
    rate_spread = spread.of(rate.value, lambda a, b: bd_rate(a, b, method).value)
    value_spread = spread.of(value.value, lambda a, b: bd_value(a, b, method).value)
    notes = (rate.note, "" if rate.note else value.note, _heads(anchor, test), spread.note)
    return Comparison(
        kind=anchor.kind,
        metric=anchor.metric,
        figure=anchor.about,
        unit=anchor.about.unit,
        anchor=anchor.label,
        test=test.label,
        bd_rate=rate.value,
        bd_rate_interval=rate_spread,
        bd_value=value.value,
        bd_value_interval=value_spread,
        overlap=rate.overlap,
        common=None if rate.low is None or rate.high is None else (rate.low, rate.high),
        left_out=len(one) + len(other) - len(one.front()) - len(other.front()),
        note="; ".join(filter(None, notes)),
        at=at,
    )


class _Spread:
    """Intervals of one comparison; its note, once something was asked for, says what to know of them."""

    def __init__(self, anchor: Curve, test: Curve, resampler: Resampler | None) -> None:
        self._curves = (anchor, test)
        self._resampler = resampler
        self.note = ""

    def of(self, found: float | None, measure: Callable[[Points, Points], float | None]) -> Range | None:
        """The range of a measure over draws; None where there is no value, or none can be had."""
        if found is None or self._resampler is None:
            return None
        one, other = (self._resampler.points(curve) for curve in self._curves)
        if isinstance(one, str) or isinstance(other, str):
            self.note = one if isinstance(one, str) else str(other)
            return None
        if len(one) < self._resampler.count:
            self.note = f"intervals of {len(one)} draws"
        return interval(one, other, measure)


def _heads(anchor: Curve, test: Curve) -> str:
    one, other, about = anchor.clean, test.clean, anchor.about
    if one is None or other is None or same_head(one, other, about):
        return ""
    form = ".1f" if about.unit == "%" else ".4g"
    return f"different heads: {one:{form}} and {other:{form}} on clean pictures"


def sentence(found: Comparison, at: AtLevel) -> str:
    """Bits at equal quality for a person."""
    where = f"{found.figure.title} {found.figure.with_unit(at.level)}"
    if at.ratio is None:
        return f"{found.test} and {found.anchor} do not both reach {where}: no overlap"
    spread = f" (95 %: {at.interval[0]:.0f} to {at.interval[1]:.0f} %)" if at.interval else ""
    return f"{found.test} uses {at.ratio:.0f} % of {found.anchor}'s bits at {where}{spread}"
