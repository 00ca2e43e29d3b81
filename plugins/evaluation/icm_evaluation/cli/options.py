"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Split = Annotated[str, typer.Option("--split", metavar="SPLIT", help="Part of the data set.")]
Limit = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", help="So many pictures, spread over the data set evenly; all if not given."),
]
