"""What `docs/results.md` says of `sicmh-scenes`: tasks that were added behind the files of `sicmh-small`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from icm_core.errors import InputError
from icm_evaluation.compare import compare, sentence
from icm_evaluation.curves import curves_of
from icm_evaluation.plots import Panel, clean_levels, figure, line_of
from icm_evaluation.results import Result, describe_data, read_result
from icm_evaluation.tables import table

RESULTS = Path(__file__).parent / "results/scenes"
OURS = "sicmh-scenes"
SHOWN = {"cityscapes": ("streets", "miou"), "coco": ("boxes", "ap"), "nyu": ("depth", "abs_rel")}
"""Data sets with the task and the figure that are shown."""

TITLES = {
    "cityscapes": "Streets: 19 classes",
    "coco": "Things: boxes of COCO's 80 classes",
    "nyu": "Rooms: distances",
}


def results(data: str) -> list[Result]:
    """Every system's result on a data set, ours first."""
    found = {path.stem: read_result(path) for path in sorted((RESULTS / data).glob("*.json"))}
    return [found.pop(OURS), *found.values()] if OURS in found else []


def section() -> str:
    """The part of the page; empty before anything was measured."""
    parts = [_part(data) for data in SHOWN if results(data)]
    if not parts:
        return ""
    return (
        "## More tasks behind the same files\n\n"
        "`sicmh-scenes` adds three tasks to `sicmh-small` without touching its codec: a file that was coded before "
        "they existed gives boxes, distances and Cityscapes' 19 classes. Each task has a network of its own; that "
        "for boxes looks at the coarse picture, the others have adapters. They were trained with the codec frozen "
        "(`benchmarks/scenes.py`, `benchmarks/scenes/recipe.json`), the networks behind its earlier weights. The same "
        "networks stand behind other codecs. `untouched` is YOLOX-nano as it is published, behind the coarse and the "
        "fine picture that people see.\n\n"
        "![A street: what base layer and whole file say, task beside task](scenes.png)\n\n"
        "![Rate and accuracy of the added tasks](scenes-compared.png)\n\n" + "\n\n".join(parts)
    )


def chart() -> Any:
    """A panel for each data set; None before anything was measured."""
    panels, titles = [], []
    for data in SHOWN:
        metric = SHOWN[data][1]
        curves = [curve for result in results(data) for curve in curves_of(result) if curve.metric == metric]
        if curves:
            lines = [line_of(curve) for curve in curves]
            panels.append(Panel(curves[0].about.axis, lines, levels=clean_levels(curves)))
            titles.append(describe_data(results(data)[0]))
    return figure(panels, "; ".join(titles)) if panels else None


def _part(data: str) -> str:
    task, metric = SHOWN[data]
    found = results(data)
    curves = [curve for result in found for curve in curves_of(result) if curve.metric == metric]
    about = curves[0].about
    rows = []
    for curve in curves:
        clean = "-" if curve.clean is None else about.text(curve.clean)
        points = zip(curve.points.rates, curve.points.values, strict=True)
        rows.append([curve.label, clean, *(f"{rate:.3f}: {about.text(value)}" for rate, value in points)])
    most = max(map(len, rows))
    head = ["system", "clean", *([f"bits per pixel: {about.title}"] + [""] * (most - 3))]
    lines = [f"- {line}" for line in _compared(found, metric)]
    return (
        f"### {TITLES[data]}\n\n{table(head, [row + [''] * (most - len(row)) for row in rows])}\n\n"
        f"{describe_data(found[0])}; task `{task}`.\n\n" + "\n".join(lines)
    )


def _compared(found: list[Result], metric: str) -> list[str]:
    """Bits at equal accuracy, against every other system."""
    said = []
    for other in found[1:]:
        try:
            compared = compare([other, found[0]], count=200)
        except InputError as error:
            said.append(f"{other.system}: {error}")
            continue
        said += [sentence(one, at) for one in compared if one.metric == metric for at in one.at]
    return said
