"""Results as a tidy CSV file: one row for each system, seed, quality, task and figure; ``pandas.read_csv`` reads it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from icm_core.files import write_atomically
from icm_evaluation.figure_info import CLEAN, DROP
from icm_evaluation.results import Result

COLUMNS = (
    "system",
    "seed",
    "data",
    "split",
    "pictures",
    "quality",
    "enhancement_quality",
    "task",
    "kind",
    "figure",
    "unit",
    "higher_is_better",
    "bpp",
    "value",
)
"""Rates are those that the task needs, in bits per pixel; a cell is empty where there is nothing to say."""

Named = tuple[str, int | None, Result]
"""What a system is called, the seed that it was trained with (None where there is none), and its result."""


def tidy(results: Iterable[Named]) -> str:
    """The text of the file; numbers as Python writes them, so that they read back as the same."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for system, seed, result in results:
        for point in result.points:
            for task, figures in point.tasks.items():
                info = result.tasks[task]
                for figure, value in figures.items():
                    about = info.figure(figure)
                    better = figure != DROP and about.higher_is_better
                    rate = None if figure == CLEAN else point.bpp if info.whole else point.base_bpp
                    row = (
                        system, seed, result.data.name, result.data.split, result.data.pictures, point.quality,
                        point.quality if point.enhancement_quality is None else point.enhancement_quality,
                        task, info.kind, figure, about.unit, str(better).lower(), rate, value,
                    )  # fmt: skip
                    writer.writerow(["" if cell is None else cell for cell in row])
    return out.getvalue()


def write_tidy(path: Path, results: Iterable[Named]) -> None:
    """Write the file."""
    write_atomically(path, tidy(results).encode())
