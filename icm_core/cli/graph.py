"""``icm graph``: a pipeline as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icm_core.cli.sizes import Size, parse_size
from icm_core.errors import InputError, SpecError
from icm_core.files import make_folder, write_atomically

NAME = "graph"
EXAMPLE = "Example: icm graph sicmh-small -o sicmh-small.svg"


def run(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A spec file (.json) or a shipped pipeline's name.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE.svg", help="The drawing; by default NAME.svg, with the pipeline's name."
        ),
    ] = None,
    size: Size = "512x1024",
) -> None:
    """Draw a pipeline as SVG: codec, streams, adapters, heads and enhancement, with shapes and costs.

    Nothing is trained or allocated, and no weights are needed. A spec that extends another is drawn after merging.
    """
    height, width = parse_size(size)
    if output is not None and output.suffix.lower() != ".svg":
        raise InputError(f"-o is {str(output)!r}; the drawing is SVG, so its file ends with .svg")

    from icm_core.inspection.drawing import draw
    from icm_core.pipeline.load import find_spec
    from icm_core.plugins.registry import build_registry
    from icm_core.spec.extends import read_spec

    registry = build_registry()
    path = find_spec(spec, registry)
    parsed = read_spec(path, registry)
    try:
        drawing = draw(parsed, registry, height=height, width=width)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error
    target = output if output is not None else Path(f"{parsed.name}.svg")
    make_folder(target.parent)
    write_atomically(target, drawing.encode("utf-8"))
    typer.echo(str(target))
