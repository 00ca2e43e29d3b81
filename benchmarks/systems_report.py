"""The page of the systems that SICMH is compared with, made from benchmarks/systems/ and stored results.

python benchmarks/systems_report.py            writes docs/systems.md
python benchmarks/systems_report.py --check    exit code 1 if the page is not what the results say
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from icm_evaluation.results import Result, describe_data, read_result
from icm_evaluation.summary import points_of
from icm_evaluation.tables import table

ROOT = Path(__file__).parents[1]
SYSTEMS = ROOT / "benchmarks/systems"
RESULTS = ROOT / "benchmarks/results/systems"
OURS = ROOT / "benchmarks/results/camvid/sicmh-small.json"
PAGE = ROOT / "docs/systems.md"
FIGURES = (
    ("segmentation", "miou", "mIoU", "%"),
    ("fine", "psnr", "fine PSNR", "dB"),
    ("picture", "psnr", "PSNR", "dB"),
)
"""Task, figure, title and unit of what a row shows: the first that a system has."""

HEAD = """<!-- Made by benchmarks/systems_report.py from benchmarks/systems/ and benchmarks/results/; do not edit. -->
# Systems

This page is for people who compare SICMH with the systems of its paper, or change one of them. Each is a pipeline of
the same parts: a spec, and a recipe that trains it (`icm train RECIPE`). No weights of them ship. Every byte of a file
counts, label maps included. A result is what `icm evaluate` writes, in `results/systems` of the benchmarks.
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
        lines = table(["system", "spec", "recipe", "result", "simplified", "source"], [_cells(row) for row in its])
        parts.append(f"## {family[0].upper()}{family[1:]}\n\n{lines}\n")
    return "\n".join(parts)


def _cells(row: dict[str, Any]) -> list[str]:
    recipe = row.get("recipe")
    named = f"`{recipe}`" if recipe else "-"
    return [row["name"], f"`{row['spec']}`", named, measured(row["spec"], recipe), row["simplified"], row["source"]]


def measured(spec: str, recipe: str | None) -> str:
    """What a row says of its result, with sicmh-small's on the same pictures."""
    path = RESULTS / (f"{spec}.{recipe}.json" if recipe else f"{spec}.json")
    if not path.is_file():
        return "not measured yet"
    result = read_result(path)
    for task, figure, title, unit in FIGURES:
        if task in result.points[0].tasks:
            said = f"{title} {_points(result, task, figure, unit)}"
            ours = _ours(result, task, figure, unit)
            return f"{said}{ours}; {describe_data(result)}"
    return "no figure that is shown here"


def _ours(result: Result, task: str, figure: str, unit: str) -> str:
    ours = read_result(OURS)
    keys = {row.key for row in result.pictures}
    rows = [row for row in ours.pictures if row.key in keys]
    if ours.data.name != result.data.name or len(rows) != len(keys) or task not in ours.points[0].tasks:
        return ""
    points = points_of(rows, ours.tasks, ours.counted)
    return f"; sicmh-small: {_points(ours.model_copy(update={'points': points}), task, figure, unit)}"


def _points(result: Result, task: str, figure: str, unit: str) -> str:
    shown = []
    for point in result.points:
        value = point.tasks[task][figure]
        rate = point.bpp if task == "fine" or result.tasks[task].whole else point.base_bpp
        shown.append(f"{value:.1f} {unit} at {rate:.3f} bpp")
    return ", ".join(shown)


if __name__ == "__main__":
    raise SystemExit(main())
