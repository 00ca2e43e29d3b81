"""``icm schema``: the JSON Schema of a pipeline spec or of a recipe."""

from __future__ import annotations

from typing import Annotated

import typer

from icm_core.cli.console import print_json
from icm_core.cli.remembered import Found, remembered
from icm_core.errors import InputError
from icm_registry import unknown

NAME = "schema"
EXAMPLE = "Example: icm schema > icm.schema.json"
PIPELINE = "pipeline"


def run(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="pipeline, recipe, or a schema that a plugin adds.")
    ] = PIPELINE,
    recipe: Annotated[bool, typer.Option("--recipe", help="The same as the name recipe.")] = False,
) -> None:
    """Print the JSON Schema of a pipeline spec or of a recipe, with the parameters of everything installed."""
    wanted = "recipe" if recipe else name
    print_json(remembered(f"schema {wanted}", lambda: _made(wanted)))


def _made(name: str) -> Found:
    from icm_core.plugins.registry import build_registry
    from icm_core.spec.schema import json_schema

    registry = build_registry()
    if name == PIPELINE:
        return Found(json_schema(registry), registry.sound)
    if name in registry.schemas.names:
        return Found(registry.schemas.get(name)(registry), registry.sound)
    raise InputError(unknown("schema", name, [PIPELINE, *registry.schemas.names]))
