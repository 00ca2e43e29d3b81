"""The page of the systems that SICMH is compared with, made from benchmarks/systems/ and stored results.

python benchmarks/systems_report.py            writes docs/systems.md
python benchmarks/systems_report.py --check    exit code 1 if the page is not what the results say
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from icm_evaluation.results import Result, describe_data, read_result
from icm_evaluation.summary import points_of
from icm_evaluation.tables import table

ROOT = Path(__file__).parents[1]
SYSTEMS = ROOT / "benchmarks/systems"
RESULTS = ROOT / "benchmarks/results/systems"
OURS = {
    "camvid": ROOT / "benchmarks/results/camvid/sicmh-small.json",
    "folders": ROOT / "benchmarks/results/imagenette/sicmh-small.json",
}
"""sicmh-small's own result, by the data set's name."""

PAGE = ROOT / "docs/systems.md"
FIGURES = (
    ("segmentation", "miou", "mIoU", "%", "segmentation"),
    ("classification", "top1", "top-1", "%", "classification"),
    ("fine", "psnr", "PSNR", "dB", "fine"),
    ("picture", "psnr", "PSNR", "dB", "fine"),
)
"""Task, figure, title and unit of what a row shows, and the output of sicmh-small that stands beside it."""

HEAD = """<!-- Made by benchmarks/systems_report.py from benchmarks/systems/ and benchmarks/results/; do not edit. -->
# Systems

This page is for people who compare SICMH with the other systems of its paper, or change one of them. Each system is a
pipeline like any other: a spec, and a recipe that trains it (`icm train RECIPE`). Their weights do not ship.

**These are not the figures of the original systems.** Each one was trained here for a few minutes, on one thread of a
CPU, with narrow networks and small crops; `sicmh-small` was trained for hours. The figures show that the system runs
from its spec to a measured file, and what so short a training reaches. To compare the systems, train their recipes to
the end.

The column "trained here" gives the steps, the number of pictures, the time and the device. `icm evaluate` wrote the
results from whole files: every byte counts, including those of label maps. The column "sicmh-small" gives its own
points at the nearest rates, on the same pictures.

Segmentation networks are tuned on crops of 256x256, at a fifth of their recipes' rate. On smaller crops the network of
`sicmh-small` misses what lies around an object, and says much less even of clean pictures; and as the first steps of
Adam move every weight by the whole rate, a few of them at the recipe's leave a network worse than it was.

`python benchmarks/systems.py --data DIR --runs RUNS` trains and measures the rows again.
"""


def main() -> int:
    """Write the page, or look whether it is right."""
    text = page()
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.is_file() and PAGE.read_text("utf-8") == text else 1
    PAGE.write_text(text, "utf-8")
    return 0


def page() -> str:
    """The whole page: a table for each family."""
    rows = [row for file in sorted(SYSTEMS.glob("*.json")) for row in json.loads(file.read_text("utf-8"))]
    parts = [HEAD]
    for family in dict.fromkeys(row["family"] for row in rows):
        its = [row for row in rows if row["family"] == family]
        titles = ["system", "spec, recipe", "trained here", "result", "sicmh-small", "simplified", "source"]
        lines = table(titles, [_cells(row) for row in its])
        parts.append(f"## {family[0].upper()}{family[1:]}\n\n{lines}\n")
    return "\n".join(parts)


def _cells(row: dict[str, Any]) -> list[str]:
    recipe = row.get("recipe")
    named = ", ".join(f"`{name}`" for name in (row["spec"], recipe) if name) or "-"
    stem = ".".join(filter(None, (row["spec"], recipe)))
    return [row["name"], named, _trained(row, stem), *_measured(row, stem), row["simplified"], row["source"]]


def _trained(row: dict[str, Any], stem: str) -> str:
    """Steps, pictures, minutes and device of the training behind a row."""
    path = RESULTS / "training" / f"{stem}.json"
    if "recipe" not in row:
        return "-"
    if not path.is_file():
        return "no"
    record = json.loads(path.read_text("utf-8"))
    stages = []
    for name, stage in record["stages"].items():
        if other := stage["from"]:
            stages.append(f"{name}: that of `{other}`")
        else:
            crops = "1 crop" if stage["batch"] == 1 else f"{stage['batch']} crops"
            seen = f"{stage['steps']} steps of {crops} of {stage['crop']}x{stage['crop']}"
            stages.append(f"{name}: {seen}, {stage['seconds'] / 60:.1f} minutes")
    device = record["device"].replace("1 threads of a ", "1 thread of ")
    return f"{'; '.join(stages)}; {record['pictures']}; {device}"


def _measured(row: dict[str, Any], stem: str) -> tuple[str, str]:
    """What a row says of its result, and sicmh-small's on the same pictures."""
    path = RESULTS / f"{stem}.json"
    if not path.is_file():
        if "points" in row:
            points = ", ".join(f"{value:.1f} dB at {bpp:.3f} bpp" for bpp, value in row["points"]["psnr"])
            return f"PSNR {points}; {row['points']['of']}", "other pictures"
        later = f"not measured yet; run `benchmarks/systems.py --only {row.get('recipe', row['spec'])}`"
        return (f"not measured: {row['why']}" if "why" in row else later), "-"
    result = read_result(path)
    ours = _ours(result)
    shown, beside = [], []
    for task, figure, title, unit, own in FIGURES:
        if task not in result.tasks:
            continue
        points = _points(result, task, figure)
        shown.append(f"{title} {_said(points, unit)}")
        if ours is not None and own in ours.tasks:
            known = _points(ours, own, figure)
            nearest = {min(known, key=lambda one: abs(math.log(one[1] / rate))) for _, rate in points}
            beside.append(f"{title} {_said(sorted(nearest, key=lambda one: one[1]), unit)}")
    return f"{'; '.join(shown)}; {describe_data(result, classes=True)}", "; ".join(beside) or "-"


def _ours(result: Result) -> Result | None:
    """sicmh-small's result on the pictures of another one."""
    path = OURS.get(result.data.name)
    if path is None or not path.is_file():
        return None
    ours = read_result(path)
    keys = {row.key for row in result.pictures}
    rows = [row for row in ours.pictures if row.key in keys]
    if len(rows) != len(keys):
        return None
    return ours.model_copy(update={"points": points_of(rows, ours.tasks, ours.counted)})


def _points(result: Result, task: str, figure: str) -> list[tuple[float, float]]:
    """Figure and bits per pixel of what the output needs, at each quality."""
    whole = result.tasks[task].whole
    found = [(point.tasks[task][figure], point.bpp if whole else point.base_bpp) for point in result.points]
    return [(value, rate) for value, rate in found if value is not None]


def _said(points: list[tuple[float, float]], unit: str) -> str:
    return ", ".join(f"{value:.1f} {unit} at {rate:.3f} bpp" for value, rate in points)


if __name__ == "__main__":
    raise SystemExit(main())
