"""docs/experiments.md: what each training was expected to give, written down before it ran, and what it gave.

``benchmarks/results/experiments.json`` holds the words. Every figure is looked up: in the record of the training, or in
a measured result.
"""

from __future__ import annotations

import csv
import json
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from icm_evaluation.results import read_result
from icm_evaluation.tables import table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"
HEAD = """<!-- Made by benchmarks/report.py from benchmarks/results/; do not edit. -->
# Experiments

This page is for people who want to know what was tried with `sicmh-small`. For each change it says what was expected,
written down before the outcome, and what came out. Figures with "val" are of a few pictures while a training ran, with
estimated rates; the others are of whole files.

"""


def page() -> str:
    """The page."""
    words = json.loads((RESULTS / "experiments.json").read_text())
    record = json.loads((RESULTS / "sicmh-small.training.json").read_text())
    rows = []
    for row in words["rows"]:
        got = [_figures(one, record) for one in row.get("got", [])]
        if "ablation" in row:
            got.append(_ablation(**row["ablation"]))
        rows.append([row["change"], row["expected"], "; ".join([*got, row.get("remark", "")]).strip("; "), row["kept"]])
    text = table(["change", "expected", "got", "kept"], rows)
    return f"{HEAD}{text}\n\n{_trained(record)}\n\n{_over_time(record)}\n\n{words['next']}\n"


def _figures(source: dict[str, Any], record: dict[str, Any]) -> str:
    """Some figures as words: of a training's last row, or of one quality of a result."""
    if "stage" in source:
        last = record["stages"][source["stage"]]["last"]
        title = f"{source['title']}: " if "title" in source else ""
        return title + ", ".join(f"{key} {last[key]:.4g}" for key in source["keys"])
    result = read_result(RESULTS / source["result"])
    point = next(p for p in result.points if p.quality == source["quality"])
    found = []
    for key in source["keys"]:
        task, _, metric = key.partition(" ")
        value = getattr(point, key) if not metric else point.tasks[task][metric]
        found.append(f"{key.replace('_', ' ')} {value:.4g}")
    return f"quality {source['quality']:g}: {', '.join(found)}"


def _ablation(result: str, key: str) -> str:
    """mIoU of every variant of a stored ablation, the mean over its seeds and qualities; `key` is miou or clean."""
    found = json.loads((RESULTS / result).read_text())
    means = {
        name: fmean(point["tasks"]["segmentation"][key]["mean"] for point in variant["points"])
        for name, variant in found["variants"].items()
    }
    figures = ", ".join(f"{name} {mean:.2f} %" for name, mean in means.items())
    return f"{figures} mIoU, means over seeds {', '.join(map(str, found['seeds']))} and qualities"


def _trained(record: dict[str, Any]) -> str:
    """Hours and device of each stage, and the command that repeats them."""
    rows = [
        [name, str(stage["steps"]), f"{stage['seconds'] / 3600:.2f}", stage["device"]]
        for name, stage in record["stages"].items()
    ]
    return f"{table(['stage', 'steps', 'hours', 'device'], rows)}\n\nCommand: `{record['command']}`."


PARTS = 5
"""Of a training, each with the mean of its loss."""


def _over_time(record: dict[str, Any]) -> str:
    """How the loss of the long stages fell, which shows what more hours would give."""
    rows = []
    for name in (name for name in record["stages"] if _log(name).is_file()):
        with _log(name).open(newline="") as file:
            losses = [float(row["loss"]) for row in csv.DictReader(file)]
        ends = [round(part * len(losses) / PARTS) for part in range(PARTS + 1)]
        means = [f"{fmean(losses[a:b]):.4g}" for a, b in pairwise(ends)]
        hours = record["stages"][name]["seconds"] / 3600
        rows.append([name, f"{hours / PARTS:.2f}", *means])
    head = ["stage", "hours a part", *(f"part {part}" for part in range(1, PARTS + 1))]
    text = "Mean loss in the parts of a training, all equally long. Losses of two stages do not compare."
    return f"{text}\n\n{table(head, rows)}"


def _log(stage: str) -> Path:
    """The steps and losses of a stage, where they were kept."""
    return RESULTS / "training" / f"broad.{stage.replace(' ', '-')}.csv"
