"""``icm report``: results as one page to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icm_core.cli.console import bar
from icm_core.cli.options import Device
from icm_core.errors import InputError
from icm_core.files import write_atomically
from icm_evaluation.cli.options import DataParams, Draws, OptionalData, OptionalModels, Split

NAME = "report"
EXAMPLE = "Example: icm report jpeg.json sicmh-small.json -o report.html --data camvid:data/camvid -m sicmh-small"


def run(
    results: Annotated[list[Path], typer.Argument(metavar="RESULT.json...", help="What `icm evaluate` wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The page, .html or .md.")] = Path(
        "report.html"
    ),
    anchor: Annotated[
        str | None, typer.Option("--anchor", metavar="SYSTEM", help="Compare with this one; by default the first.")
    ] = None,
    data: OptionalData = None,
    split: Split = "val",
    data_params: DataParams = "",
    models: OptionalModels = None,
    pictures: Annotated[int, typer.Option("--pictures", metavar="N", min=1, help="Number of pictures shown.")] = 3,
    draws: Draws = 1000,
    device: Device = "auto",
) -> None:
    """Write curves, tables and pictures into one HTML page that needs no other file, or only tables into a .md file.

    Pictures are shown if --data says where they are: of each system, by default those of the results, at the highest
    quality that needs no more bytes than the first of them.
    """
    from icm_evaluation.agreement import read_agreeing
    from icm_evaluation.compare import compare_by_data
    from icm_evaluation.kinds import Kinds
    from icm_evaluation.report import report
    from icm_evaluation.tables import page_of_tables

    if output.suffix.lower() not in (".html", ".md"):
        raise InputError(f"-o is {output}; it should end with .html or .md")
    kinds = Kinds()
    read = [read_agreeing(path, kinds) for path in results]
    comparisons = compare_by_data(read, anchor=anchor, count=draws, kinds=kinds)
    if output.suffix.lower() == ".md":
        write_atomically(output, page_of_tables(read, comparisons).encode())
        typer.echo(f"page: {output}")
        return
    shots = []
    if data is not None:
        from icm_core import load
        from icm_core.plugins.datasets import open_dataset
        from icm_evaluation.gallery import shoot
        from icm_evaluation.options import Options, parse_models, spread

        names = parse_models(models or [result.model for result in read])
        opened = open_dataset(data, split, kinds.registry, Options(names[0], data, data_params).data_params())
        pipes = [load(name, device=device, registry=kinds.registry) for name in names]
        numbers = spread(len(opened), pictures)
        with bar("pictures") as advance:
            for done, number in enumerate(numbers):
                advance(done, len(numbers), "")
                shots.append(shoot(pipes, opened, number, kinds=kinds))
    write_atomically(output, report(read, comparisons, shots, kinds=kinds).encode())
    typer.echo(f"page: {output}")
