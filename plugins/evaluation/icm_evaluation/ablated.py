"""What came of an ablation: a table, a plot, and JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icm_core.files import write_atomically
from icm_core.spec.model import FINE
from icm_evaluation.ablation import Job
from icm_evaluation.figure_info import CLEAN, DROP, FigureInfo, earlier_figures
from icm_evaluation.plots import Line, Panel, figure, write_plot
from icm_evaluation.results import Result, describe_data
from icm_evaluation.tables import table
from icm_evaluation.tidy import write_tidy

NAMES = ("ablation.json", "ablation.md", "ablation.csv", "ablation.png", "ablation.svg")


def write_summary(out: Path, jobs: Sequence[Job], results: Sequence[Result], command: str) -> list[Path]:
    """Write all five files; the plot has the mean over seeds, the table the spread as well, the CSV file each seed.

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
    write_tidy(paths[2], [(job.variant.name, job.seed, result) for job, result in zip(jobs, results, strict=True)])
    drawn = figure(panels(found), f"Ablation, {found['data']}")
    for path in paths[3:]:
        write_plot(path, drawn)
    return paths


def summary(jobs: Sequence[Job], results: Sequence[Result], command: str) -> dict[str, Any]:
    """The ablation as JSON data: of each variant the points, with mean and spread (standard deviation) over seeds."""
    variants: dict[str, list[Result]] = {}
    values: dict[str, Mapping[str, Any]] = {}
    for job, result in zip(jobs, results, strict=True):
        variants.setdefault(job.variant.name, []).append(result)
        values[job.variant.name] = job.variant.values
    names = _names(results)
    tasks: dict[str, dict[str, Any]] = {}
    for result in results:
        for task, info in result.tasks.items():
            about = tasks.setdefault(names[task, info.kind], {"whole": info.whole, "figures": {}})
            for name, described in info.figures.items():
                about["figures"].setdefault(name, described.model_dump())
    return {
        "data": describe_data(results[0]),
        "command": command,
        "device": results[0].device,
        "seeds": sorted({job.seed for job in jobs}),
        "tasks": tasks,
        "variants": {
            name: {"values": dict(values[name]), "points": _points(of_seeds, names)}
            for name, of_seeds in variants.items()
        },
    }


def _names(results: Sequence[Result]) -> dict[tuple[str, str], str]:
    """What a task of a kind is called: with its kind where variants differ in it, since figures may share a name."""
    kinds: dict[str, dict[str, None]] = {}
    for result in results:
        for task, info in result.tasks.items():
            kinds.setdefault(task, {})[info.kind] = None
    return {
        (task, kind): f"{task} ({kind})" if len(of_task) > 1 else task
        for task, of_task in kinds.items()
        for kind in of_task
    }


def _points(results: Sequence[Result], names: Mapping[tuple[str, str], str]) -> list[dict[str, Any]]:
    points = []
    for index, first in enumerate(results[0].points):
        same = [result.points[index] for result in results]
        tasks: dict[str, dict[str, Any]] = {}
        for task, name in results[0].columns:
            if name != DROP:
                known = tasks.setdefault(names[task, results[0].tasks[task].kind], {})
                known[name] = _over_seeds([point.tasks[task].get(name) for point in same])
        rates = {name: _over_seeds([getattr(point, name) for point in same]) for name in ("bpp", "base_bpp")}
        points.append({"quality": first.quality, **rates, "tasks": tasks})
    return points


def _over_seeds(values: Sequence[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    mean = statistics.fmean(known) if known else None
    return {"mean": mean, "spread": statistics.stdev(known) if len(known) > 1 else None}


@dataclass(frozen=True)
class _Task:
    """What an ablation has of one output.

    Attributes:
        whole: whether it needs the whole file.
        figures: what its figures are, the main one first.
        clean: whether the main figure of clean pictures is known.
    """

    whole: bool
    figures: Mapping[str, FigureInfo]
    clean: bool


def _tasks(found: Mapping[str, Any]) -> dict[str, _Task]:
    """The outputs of any of the variants."""
    names: dict[str, dict[str, None]] = {}
    for variant in found["variants"].values():
        for point in variant["points"]:
            for task, figures in point["tasks"].items():
                names.setdefault(task, {}).update(dict.fromkeys(figures))
    return {task: _task(found, task, list(known)) for task, known in names.items()}


def _task(found: Mapping[str, Any], task: str, names: Sequence[str]) -> _Task:
    if "tasks" in found:
        about = found["tasks"][task]
        figures = {name: FigureInfo.model_validate(figure) for name, figure in about["figures"].items()}
        return _Task(about["whole"], figures, CLEAN in names)
    # Ablations of before figures described themselves.
    known = {name: figure for of_kind in earlier_figures().values() for name, figure in of_kind.items()}
    return _Task(task == FINE, {name: known[name] for name in names if name != CLEAN}, CLEAN in names)


def page(found: Mapping[str, Any]) -> str:
    """The table as Markdown: rate, quality of every task, and that of its head on clean pictures."""
    columns: list[tuple[str, str, FigureInfo]] = []
    titles: list[str] = []
    for task, about in _tasks(found).items():
        for index, (name, described) in enumerate(about.figures.items()):
            columns.append((task, name, described))
            titles.append(f"{task} {described.title} {described.unit}".strip())
            if not index and about.clean:
                columns.append((task, CLEAN, described))
                titles.append(f"{titles[-1]}, clean")
    head = ["variant", "quality", "base bpp", *titles]
    rows = []
    for variant, of_variant in found["variants"].items():
        for point in of_variant["points"]:
            cells = [_text(point["tasks"].get(task, {}).get(name), about) for task, name, about in columns]
            rows.append([variant, f"{point['quality']:g}", f"{point['base_bpp']['mean']:.4f}", *cells])
    seeds = ", ".join(map(str, found["seeds"]))
    return f"{table(head, rows)}\n\n{found['data']}; seeds {seeds}; {found['device']}: `{found['command']}`.\n"


def _text(cell: Mapping[str, float | None] | None, about: FigureInfo) -> str:
    if cell is None or cell["mean"] is None:
        return "-"
    spread = f" ± {about.text(cell['spread'])}" if cell["spread"] is not None else ""
    return f"{about.text(cell['mean'])}{spread}"


def panels(found: Mapping[str, Any]) -> list[Panel]:
    """A panel for each task's main figure, a line for each variant."""
    drawn = []
    for task, about in _tasks(found).items():
        main = next(iter(about.figures), None)
        if main is None:
            continue
        lines = []
        for name, variant in found["variants"].items():
            rate = "bpp" if about.whole else "base_bpp"
            cells = [(point[rate]["mean"], point["tasks"].get(task, {}).get(main)) for point in variant["points"]]
            known = [(x, cell["mean"]) for x, cell in cells if cell is not None and cell["mean"] is not None]
            lines.append(Line(name, f"{name} {task}", [x for x, _ in known], [y for _, y in known]))
        drawn.append(Panel(about.figures[main].axis, lines))
    return drawn
