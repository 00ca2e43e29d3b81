"""Results as a Markdown page: nothing on it is typed by hand."""

from __future__ import annotations

from collections.abc import Sequence

from icm_evaluation.compare import Comparison, by_data, sentence
from icm_evaluation.figure_info import CLEAN, DROP
from icm_evaluation.results import Result


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page_of_tables(results: Sequence[Result], comparisons: Sequence[Comparison] = ()) -> str:
    """Every point of every result, where it comes from, and what the comparisons say.

    Args:
        results: systems, on any data.
        comparisons: what ``compare`` says about them.
    """
    parts = ["<!-- Made by `icm report` from stored results; do not edit. -->", "# Results"]
    for name, some in by_data(results).items():
        parts.append(f"## {name}")
        for result in some:
            parts += [f"### {result.system}", _points(result), _source(result)]
    if comparisons:
        rows = [
            [
                one.metric,
                one.anchor,
                one.test,
                "-" if one.bd_rate is None else f"{one.bd_rate:+.1f} %",
                "-" if one.bd_value is None else f"{one.bd_value:+.3g} {one.unit}".rstrip(),
                f"{one.overlap:.0%}",
                one.note,
            ]
            for one in comparisons
        ]
        head = ["figure", "anchor", "test", "BD-rate", "BD of the figure", "overlap", "note"]
        said = [f"- {sentence(one, level)}" for one in comparisons for level in one.at]
        parts += ["## Comparison", table(head, rows), "\n".join(said)]
    return "\n\n".join(parts) + "\n"


def _points(result: Result) -> str:
    columns = [(task, name, result.tasks[task].figure(name)) for task, name in result.columns]
    rows = [
        [
            point.shown,
            f"{point.base_bpp:.4f}",
            f"{point.bpp:.4f}",
            *(about.text(point.tasks[task].get(name)) for task, name, about in columns),
            f"{point.encode_seconds:.2f}",
            f"{point.decode_seconds:.2f}",
        ]
        for point in result.points
    ]
    head = [
        f"{task} {name}{f', {about.unit}' if about.unit and name not in (CLEAN, DROP) else ''}"
        for task, name, about in columns
    ]
    return table(["quality", "base bpp", "whole bpp", *head, "encode s", "decode s"], rows)


def _source(result: Result) -> str:
    counted = "the .icm file" if result.counted == "file" else "the codec's own file"
    skipped = "".join(f" Not measured: {task}: {why}." for task, why in result.skipped.items())
    return (
        f"Rates count {counted}. {result.device}, {result.precision}, {result.workers} at work, "
        f"torch {result.versions['torch']}, weights {result.weights}: `{result.command}`.{skipped}"
    )
