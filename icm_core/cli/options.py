"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="A shipped pipeline's name or a spec file (.json); by default the installed default.",
    ),
]
Device = Annotated[
    str, typer.Option("--device", metavar="DEVICE", help="auto (CUDA where there is one), cpu, cuda or cuda:N.")
]
Precision = Annotated[
    str, typer.Option("--precision", metavar="PRECISION", help="fp32 or bf16; decoded symbols do not depend on it.")
]
Effort = Annotated[
    int,
    typer.Option("--effort", metavar="N", help="0 to 1000 steps of a search for better side information."),
]
SearchFor = Annotated[
    str,
    typer.Option("--for", metavar="TASK,...", help="Tasks that --effort is for; all that the spec names by default."),
]
MaxPixels = Annotated[
    int, typer.Option("--max-pixels", metavar="N", min=1, help="Refuse files of larger pictures, unread.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of a table.")]
OutputFolder = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder; made where missing.")]


def parse_names(text: str) -> tuple[str, ...] | None:
    """Names with commas between them; None for an empty text."""
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else None
