"""``icm export``: a run -> a pipeline that can be loaded; a pipeline -> ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icm_core.errors import InputError

NAME = "export"
EXAMPLE = "Example: icm export runs/first -o exported && icm encode photo.jpg -m exported/sicmh-small.json"


def run(
    source: Annotated[
        str, typer.Argument(metavar="RUN", help="Folder of a run that icm train made; with --onnx a pipeline.")
    ],
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
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Write a pipeline's networks as ONNX files, and tables for cameras.")
    ] = False,
    size: Annotated[
        tuple[int, int],
        typer.Option("--size", metavar="H W", help="With --onnx: picture size of networks that take one size alone."),
    ] = (512, 1024),
    private: Annotated[bool, typer.Option("--private", help="If --push creates a repository, it is private.")] = False,
) -> None:
    """Write the result of a training as a spec, float16 safetensors with integer coding tables, and a model card.

    With --onnx, write the networks of a pipeline as ONNX files instead: the encoder up to its latents, and each task's
    adapter with its head. Each is compared with PyTorch before it is kept.
    """
    if onnx:
        if stage is not None or name is not None or push is not None:
            raise InputError("--onnx writes the networks of a pipeline; --stage, --name and --push are for runs")
        _write_onnx(source, output, size)
        return
    from icm_core.pipeline.hub import push as push_to_hub
    from icm_core.plugins.registry import build_registry
    from icm_training.export import export

    found = export(Path(source), output, build_registry(), stage=stage, name=name)
    for path in found.files:
        typer.echo(f"{path}  {path.stat().st_size:,} bytes")
    if push is not None:
        typer.echo(push_to_hub(output, push, private=private))


def _write_onnx(model: str, output: Path, size: tuple[int, int]) -> None:
    from icm_core.pipeline.load import load
    from icm_training.onnx_export import export_onnx

    if min(size) < 1:
        raise InputError(f"--size is {size[0]} {size[1]}; both should be at least 1")
    networks, others, left = export_onnx(load(model, device="cpu"), output, size)
    for network in networks:
        shape = "any size" if network.sizes == "any" else network.sizes
        ways = f"{', '.join(network.inputs)} -> {', '.join(network.outputs)}"
        typer.echo(f"{network.path}  {network.path.stat().st_size:,} bytes  {ways}  {shape}")
    for path in others:
        typer.echo(f"{path}  {path.stat().st_size:,} bytes")
    for part, why in left.items():
        typer.echo(f"{part} was not written: {why}")
    if not networks and not others:
        raise InputError("none of the pipeline's networks has an ONNX form")
