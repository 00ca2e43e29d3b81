"""``icm evaluate``: a pipeline over a data set, measured on files that were written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icm_core.cli.console import bar, print_table
from icm_core.cli.options import Device, Effort, EncoderName, Engine, Precision, SearchFor, parse_names
from icm_evaluation.cli.options import DataParams, Limit, Split, Tasks

if TYPE_CHECKING:
    from icm_evaluation.results import Result

NAME = "evaluate"
EXAMPLE = "Example: icm evaluate sicmh-small --data camvid:data/camvid --split val -q 1,2,3,4 --json sicmh-small.json"


def run(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A shipped pipeline's name or a spec file (.json).")],
    data: Annotated[str, typer.Option("--data", metavar="NAME:FOLDER", help="A data set and where it is.")],
    output: Annotated[Path, typer.Option("--json", metavar="OUT", help="File for the result.")],
    split: Split = "val",
    data_params: DataParams = "",
    qualities: Annotated[
        str, typer.Option("--qualities", "-q", metavar="Q,...", help="Qualities; by default all whole numbers.")
    ] = "",
    enhancement: Annotated[
        str,
        typer.Option(
            "--enhancement-quality",
            metavar="Q,...",
            help="Of the enhancement layer alone; then -q or this has only one.",
        ),
    ] = "",
    tasks: Tasks = "",
    limit: Limit = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", metavar="N", help="Processes; by default one a core, at most 8 and one for 4 pictures."
        ),
    ] = None,
    engine: Engine = "local",
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Keep the coded files in this folder.")
    ] = None,
    encoder: EncoderName = None,
    effort: Effort = 0,
    search_for: SearchFor = "",
    device: Device = "auto",
    precision: Precision = "fp32",
) -> None:
    """Measure rate and quality over a data set.

    Every picture is encoded to the bytes of a file at every quality, and everything is decoded from those bytes. Heads
    also run on the clean pictures. If a run was stopped, the same command resumes it. The figures do not depend on the
    number of workers.

    With --enhancement-quality one layer keeps its quality while the other's changes. For example,
    -q 1 --enhancement-quality 1,2,3,4 keeps the base layer as it is and measures the fine picture at rising rates. The
    result's system is then called MODEL+base1.
    """
    from icm_evaluation.options import Options, parse_numbers
    from icm_evaluation.run import evaluate

    options = Options(
        model=model,
        data=data,
        params=data_params,
        split=split,
        qualities=parse_numbers(qualities, "-q") if qualities else None,
        enhancement=parse_numbers(enhancement, "--enhancement-quality") if enhancement else None,
        tasks=parse_names(tasks),
        limit=limit,
        workers=workers,
        engine=engine,
        device=device,
        precision=precision,
        keep=keep,
        encoder=encoder,
        effort=effort,
        search_for=parse_names(search_for),
    )
    with bar(f"measuring {Path(model).stem}") as advance:
        result = evaluate(options, output, advance=advance)
    _print(result)
    typer.echo(f"result: {output}")


def _print(result: Result) -> None:
    from icm_evaluation.results import describe_data

    columns = [(task, name, result.tasks[task].figure(name)) for task, name in result.columns]
    print_table(
        (">q", ">bpp", ">base bpp", *(f">{task} {name}" for task, name, _ in columns), ">encode s", ">decode s"),
        [
            (
                point.shown,
                f"{point.bpp:.4f}",
                f"{point.base_bpp:.4f}",
                *(about.text(point.tasks[task].get(name)) for task, name, about in columns),
                f"{point.encode_seconds:.2f}",
                f"{point.decode_seconds:.2f}",
            )
            for point in result.points
        ],
        f"{result.system} on {describe_data(result)}",
    )
    for task, why in result.skipped.items():
        typer.echo(f"not measured: {task}: {why}")
