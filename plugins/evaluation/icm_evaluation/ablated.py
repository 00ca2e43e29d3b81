"""What came of an ablation: a table, a plot, and JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from icm_core.files import write_atomically
from icm_evaluation.ablation import Job
from icm_evaluation.plots import Line, Panel, figure, write_plot
from icm_evaluation.results import HIGHER_IS_BETTER, TITLES, UNITS, Result, describe_data
from icm_evaluation.tables import table

NAMES = ("ablation.json", "ablation.md", "ablation.png", "ablation.svg")


def write_summary(out: Path, jobs: Sequence[Job], results: Sequence[Result], command: str) -> list[Path]:
    """Write all four files; the plot has the mean over seeds, the table the spread as well.

    Args:
        out: the ablation's folder.
        jobs: its jobs.
        results: their measurements, in the same order.
        command: what repeats it.
    """
    found = summary(jobs, results, command)
    paths = [out / name for name in NAMES]
    write_atomically(paths[0], (json.dumps(found, indent=1) + "\n").encode())
    write_atomically(paths[1], page(found).encode())
    drawn = figure(panels(found), f"Ablation, {found['data']}")
    for path in paths[2:]:
        write_plot(path, drawn)
    return paths


def summary(jobs: Sequence[Job], results: Sequence[Result], command: str) -> dict[str, Any]:
    """The ablation as JSON data: of each variant the points, with mean and spread (standard deviation) over seeds."""
    variants: dict[str, list[Result]] = {}
    values: dict[str, Mapping[str, Any]] = {}
    for job, result in zip(jobs, results, strict=True):
        variants.setdefault(job.variant.name, []).append(result)
        values[job.variant.name] = job.variant.values
    return {
        "data": describe_data(results[0]),
        "command": command,
        "device": results[0].device,
        "seeds": sorted({job.seed for job in jobs}),
        "variants": {
            name: {"values": dict(values[name]), "points": _points(of_seeds)} for name, of_seeds in variants.items()
        },
    }


def _points(results: Sequence[Result]) -> list[dict[str, Any]]:
    points = []
    for index, first in enumerate(results[0].points):
        same = [result.points[index] for result in results]
        tasks = {
            task: {
                metric: _over_seeds([point.tasks[task][metric] for point in same])
                for metric in (*HIGHER_IS_BETTER, "clean")
                if metric in figures
            }
            for task, figures in first.tasks.items()
        }
        rates = {name: _over_seeds([getattr(point, name) for point in same]) for name in ("bpp", "base_bpp")}
        points.append({"quality": first.quality, **rates, "tasks": tasks})
    return points


def _over_seeds(values: Sequence[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    mean = statistics.fmean(known) if known else None
    return {"mean": mean, "spread": statistics.stdev(known) if len(known) > 1 else None}


def _cells(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Task and metric of every column, the main metric of each task first."""
    tasks = next(iter(found["variants"].values()))["points"][0]["tasks"]
    return [(task, metric) for task, figures in tasks.items() for metric in HIGHER_IS_BETTER if metric in figures]


def page(found: Mapping[str, Any]) -> str:
    """The table as Markdown: rate, quality of every task, and that of its head on clean pictures."""
    tasks = next(iter(found["variants"].values()))["points"][0]["tasks"]
    columns: list[tuple[str, str]] = []
    titles: list[str] = []
    for task, metric in _cells(found):
        first = task not in {known for known, _ in columns}
        columns.append((task, metric))
        titles.append(f"{task} {TITLES[metric]} {UNITS[metric]}".strip())
        if first and "clean" in tasks[task]:
            columns.append((task, "clean"))
            titles.append(f"{titles[-1]}, clean")
    head = ["variant", "quality", "base bpp", *titles]
    rows = []
    for name, variant in found["variants"].items():
        for point in variant["points"]:
            cells = [_text(point["tasks"][task][metric], metric) for task, metric in columns]
            rows.append([name, f"{point['quality']:g}", f"{point['base_bpp']['mean']:.4f}", *cells])
    seeds = ", ".join(map(str, found["seeds"]))
    return f"{table(head, rows)}\n\n{found['data']}; seeds {seeds}; {found['device']}: `{found['command']}`.\n"


def _text(cell: Mapping[str, float | None], metric: str) -> str:
    if cell["mean"] is None:
        return "-"
    digits = 4 if metric == "ms_ssim" else 2
    spread = f" ± {cell['spread']:.{digits}f}" if cell["spread"] is not None else ""
    return f"{cell['mean']:.{digits}f}{spread}"


def panels(found: Mapping[str, Any]) -> list[Panel]:
    """A panel for each task's main metric, a line for each variant."""
    shown: dict[str, tuple[str, str]] = {}
    for task, metric in _cells(found):
        shown.setdefault(task, (task, metric))
    drawn = []
    for task, metric in shown.values():
        lines = []
        for name, variant in found["variants"].items():
            rate = "bpp" if task == "fine" else "base_bpp"
            pairs = [(point[rate]["mean"], point["tasks"][task][metric]["mean"]) for point in variant["points"]]
            known = [(x, y) for x, y in pairs if y is not None]
            lines.append(Line(name, f"{name} {task}", [x for x, _ in known], [y for _, y in known]))
        drawn.append(Panel(metric, lines))
    return drawn
