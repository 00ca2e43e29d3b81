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
EncoderName = Annotated[
    str | None,
    typer.Option("--encoder", metavar="NAME", help="One of the codec's encoders, such as deep; the usual one else."),
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
Files = Annotated[
    str | None, typer.Option("--files", metavar="LIST", help="A file with one path a line; - for what comes in.")
]
Recursive = Annotated[
    bool, typer.Option("--recursive", "-r", help="Search folders to the bottom; the output has the same folders.")
]
Shard = Annotated[
    str, typer.Option("--shard", metavar="I/N", help="Only every N-th file from the I-th on, for N machines.")
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        help="Processes; one a core, or two a GPU, where there are enough files.",
    ),
]
Threads = Annotated[
    int,
    typer.Option(
        "--threads", metavar="N", help="Threads for each picture. With more than 1 the last bits of results may differ."
    ),
]
Batch = Annotated[
    int,
    typer.Option(
        "--batch",
        metavar="N",
        help="Files of one size computed together, for GPUs. With more than 1 the last bits of results may differ.",
    ),
]
Engine = Annotated[str, typer.Option("--engine", metavar="ENGINE", help="local, or ray for actors on a Ray cluster.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of a table.")]
OutputFolder = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder; made where missing.")]


def parse_names(text: str) -> tuple[str, ...] | None:
    """Names with commas between them; None for an empty text."""
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else None
