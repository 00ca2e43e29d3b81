"""Sec. 6.1 of the paper: what machine tasks and the fine picture get of a rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from icm_core.errors import InputError
from icm_evaluation.chosen import check_different, side_rate
from icm_evaluation.curves import Curve, curves_of
from icm_evaluation.papers import Tradeoff
from icm_evaluation.plots import Line, Mark, Panel
from icm_evaluation.results import SEARCHED, Result, describe_data
from icm_evaluation.tables import table

_TASKS: Mapping[str, tuple[str, str]] = {
    "segmentation": ("miou", "Cityscapes, 256x512"),
    "classification": ("top1", "ImageNet"),
}


@dataclass(frozen=True)
class Found:
    """What results say of one system.

    Attributes:
        model: its name.
        curves: of its tasks, by the kind of their data.
        fixed: fine pictures over base layers that keep their rate.
    """

    model: str
    curves: Mapping[str, Curve]
    fixed: Sequence[Curve]


def tradeoffs(name: str, wanted: Tradeoff, results: Sequence[Result]) -> list[Found]:
    """Systems that were measured for both tasks.

    Raises:
        InputError: there is none, or one was measured twice for a task, or stands there under two names; the message
            says of what.
    """
    systems: dict[str, dict[str, Curve]] = {}
    fixed: dict[str, list[Curve]] = {}
    for result in results:
        for curve in curves_of(result):
            kind, model = result.data.kind, _called(result)
            if result.tasks[curve.task].whole and curve.metric == "psnr" and result.fixed_base is not None:
                fixed.setdefault(model, []).append(curve)
            if result.points[0].enhancement_quality is None and kind in _TASKS and curve.metric == _TASKS[kind][0]:
                own = systems.setdefault(model, {})
                if kind in own:
                    raise InputError(
                        f"{name} takes one result of a system for each task, and there are two of {model!r} for "
                        f"{kind}: on {describe_data(own[kind].result)} and on {describe_data(result)}"
                    )
                own[kind] = curve
    whole = {model: own for model, own in systems.items() if len(own) == len(_TASKS)}
    if not whole:
        had = "; ".join(f"{model!r} has {', '.join(own)} alone" for model, own in systems.items())
        raise InputError(f"{name} needs {wanted.needs}; {had or 'there are none of either'}")
    for one, other in combinations(whole.values(), 2):
        for kind in _TASKS:
            check_different(name, one[kind].result, other[kind].result)
    return [Found(model, own, fixed.get(model, ())) for model, own in whole.items()]


def _called(result: Result) -> str:
    """The system, whichever of its layers keeps its quality."""
    encoder = f"+{result.encoder}" if result.encoder else ""
    return result.model + encoder + (f"{SEARCHED}{result.effort}" if result.effort else "")


def panels_of_tasks(wanted: Tradeoff, found: Sequence[Found]) -> list[Panel]:
    """One panel for each task: its figure against the rate of the base layer, the paper's sets as marks."""
    panels = []
    for kind, (metric, place) in _TASKS.items():
        curves = [one.curves[kind] for one in found]
        lines = [
            Line(one.model, f"{one.model}, {curve.result.data.name}", list(curve.rates), list(curve.values))
            for one, curve in zip(found, curves, strict=True)
        ]
        marks = [Mark(f"paper: SICMH, {place}", one.side, getattr(one, metric)) for one in wanted.sets]
        panels.append(Panel(curves[0].about.axis, lines, marks))
    return panels


def page(wanted: Tradeoff, found: Sequence[Found]) -> str:
    """The paper's sets and ours as tables: side rate and tasks, and what is left for the fine picture."""
    totals = [float(total) for total in wanted.sets[0].enhancement]
    head = ["side rate", "mIoU", "top-1", *(f"enhancement at {total:g} bpp" for total in totals)]
    rows = [
        [f"{one.side:.2f}", f"{one.miou:g} %", f"{one.top1:g} %", *(f"{rate:.2f}" for rate in one.enhancement.values())]
        for one in wanted.sets
    ]
    parts = [f"Paper, {wanted.paper_data}", table(head, rows)]
    for one in found:
        parts += [f"Here: {one.model}", _tasks(one)]
        if one.fixed:
            parts.append(_fine(one, totals))
        else:
            parts.append("The fine picture at a fixed base layer was not measured.")
    return "\n\n".join(parts)


def _tasks(one: Found) -> str:
    """By quality: each task's own side rate, since one codec has other rates on other pictures."""
    seen = {kind: _by_setting(curve) for kind, curve in one.curves.items()}
    rows = []
    for quality in sorted({quality for points in seen.values() for quality in points}):
        cells = [f"{quality:g}"]
        for points in seen.values():
            rate, value = points.get(quality, (None, None))
            cells += ["-" if rate is None else f"{rate:.4f}", "-" if value is None else f"{value:.2f} %"]
        rows.append(cells)
    head = ["quality"]
    for kind, curve in one.curves.items():
        about = describe_data(curve.result, classes=True)
        head += [f"side rate, {about}", f"{_TASKS[kind][0]}, {about}"]
    return table(head, rows)


def _by_setting(curve: Curve) -> dict[float, tuple[float, float]]:
    """Rate and figure by quality."""
    qualities = (quality for quality, _ in curve.settings)
    return dict(zip(qualities, zip(curve.rates, curve.values, strict=True), strict=True))


def _fine(one: Found, totals: Sequence[float]) -> str:
    """By base layer: what the enhancement has at each whole rate, and the fine picture's PSNR there."""
    rows = []
    for curve in sorted(one.fixed, key=lambda curve: side_rate(curve)[0]):
        base = side_rate(curve)[0]
        cells = [f"{base:.4f}, {describe_data(curve.result)}"]
        for total in totals:
            rates, values = curve.points.rates, curve.points.values
            inside = rates[0] <= total <= rates[-1]
            measured = f"measured from {rates[0]:.2f} to {rates[-1]:.2f} bpp"
            psnr = f"{np.interp(total, rates, values):.2f} dB" if inside else measured
            cells += [f"{total - base:.2f}" if total > base else "none left", psnr]
        rows.append(cells)
    head = ["side rate"]
    for total in totals:
        head += [f"enhancement at {total:g} bpp", "fine picture"]
    return table(head, rows)
