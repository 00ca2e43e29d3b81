"""``icm export``: a run -> a pipeline that can be loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

NAME = "export"
EXAMPLE = "Example: icm export runs/first -o exported && icm encode photo.jpg -m exported/sicmh-small.json"


def run(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run that icm train made.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the files go.")],
    stage: Annotated[
        str | None, typer.Option("--stage", metavar="NAME", help="The stage to export; by default the last.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the pipeline; by default as in the recipe.")
    ] = None,
    push: Annotated[
        str | None, typer.Option("--push", metavar="HF", help="Also upload to the hub, as hf://owner/name.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="If --push creates a repository, it is private.")] = False,
) -> None:
    """Write the result of a training as a spec, float16 safetensors with integer coding tables, and a model card."""
    from icm_core.pipeline.hub import push as push_to_hub
    from icm_core.plugins.registry import build_registry
    from icm_training.export import export

    found = export(folder, output, build_registry(), stage=stage, name=name)
    for path in found.files:
        typer.echo(f"{path}  {path.stat().st_size:,} bytes")
    if push is not None:
        typer.echo(push_to_hub(output, push, private=private))
