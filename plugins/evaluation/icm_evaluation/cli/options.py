"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Split = Annotated[str, typer.Option("--split", metavar="SPLIT", help="Part of the data set.")]
Tasks = Annotated[
    str, typer.Option("--tasks", "-t", metavar="TASK,...", help="Measure only these; fine is the refined picture.")
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", help="Use N pictures, spread evenly over the data set; by default all."),
]
DataParams = Annotated[
    str, typer.Option("--data-params", metavar="JSON", help='Parameters of the data set, like {"classes": "imagenet"}.')
]
OptionalData = Annotated[
    str | None, typer.Option("--data", metavar="NAME:FOLDER", help="A data set and where it is, for its pictures.")
]
OptionalModels = Annotated[
    list[str] | None,
    typer.Option("--models", "-m", metavar="MODEL,...", help="Shipped pipelines' names or spec files."),
]
Draws = Annotated[
    int, typer.Option("--draws", metavar="N", min=0, help="Draws of pictures for the 95 % intervals; 0 for none.")
]
