"""``icm import``: weights from elsewhere into a pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icm_core.cli.console import print_json
from icm_core.cli.options import AsJson
from icm_core.errors import InputError

NAME = "import"
EXAMPLE = "Example: icm import my-boxes.json --head boxes=detector.safetensors --adapter boxes=copy:coarse"


def run(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A spec file (.json) or a shipped pipeline's name.")],
    heads: Annotated[
        list[str] | None,
        typer.Option("--head", metavar="TASK=SOURCE", help="Weights of a task's head; may be given again."),
    ] = None,
    adapters: Annotated[
        list[str] | None,
        typer.Option("--adapter", metavar="TASK=SOURCE", help="Weights of a task's adapter; may be given again."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="File of weights; by default the one that SPEC names."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a pipeline's weights from parts that others trained.

    A SOURCE is a safetensors file with the keys of that part or of the network in it, copy:TASK for the same part of
    another task, or start:NAME for weights that the component knows, such as start:imagenet. Nothing is trained. The
    file that SPEC names need not exist yet; what it already holds is kept.
    """
    from icm_core.pipeline.fill import COPY, fill
    from icm_core.pipeline.load import find_spec
    from icm_core.plugins.registry import build_registry
    from icm_core.spec.places import adapter_of, head_of

    sources: dict[str, str] = {}
    for options, place, option in ((heads, head_of, "--head"), (adapters, adapter_of, "--adapter")):
        for text in options or ():
            task, equals, source = text.partition("=")
            if not (task and equals and source):
                raise InputError(f"{option} is given as TASK=SOURCE, such as boxes=copy:coarse, and not as {text!r}")
            if source.startswith(COPY):
                source = COPY + place(source.removeprefix(COPY))
            sources[place(task)] = source
    if not sources:
        raise InputError("nothing to import; give --head TASK=SOURCE or --adapter TASK=SOURCE")
    registry = build_registry()
    filled = fill(find_spec(spec, registry), registry, sources, output)
    if as_json:
        print_json({"file": str(filled.file), "parts": filled.parts, "missing": filled.missing})
        return
    typer.echo(f"{filled.file}: {', '.join(filled.parts)}")
    if filled.missing:
        typer.echo(f"without weights yet: {', '.join(filled.missing)}; import them too, or train them with icm train")
