"""``icm schema``: the JSON Schema of a pipeline spec or of a recipe."""

from __future__ import annotations

from typing import Annotated

import typer

from icm_core.cli.console import print_json
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
    from icm_core.plugins.registry import build_registry
    from icm_core.spec.schema import json_schema

    registry = build_registry()
    wanted = "recipe" if recipe else name
    if wanted == PIPELINE:
        print_json(json_schema(registry))
    elif wanted in registry.schemas.names:
        print_json(registry.schemas.get(wanted)(registry))
    else:
        raise InputError(unknown("schema", wanted, [PIPELINE, *registry.schemas.names]))
