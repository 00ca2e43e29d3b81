"""``icm schema``: the JSON Schema of a pipeline spec or of a recipe."""

from __future__ import annotations

from typing import Annotated

import typer

from icm_core.cli.console import print_json

NAME = "schema"
EXAMPLE = "Example: icm schema > icm.schema.json"


def run(
    recipe: Annotated[bool, typer.Option("--recipe", help="The schema of a training recipe instead.")] = False,
) -> None:
    """Print the JSON Schema of a pipeline spec, with the parameters of everything installed."""
    from icm_core.plugins import build_registry
    from icm_core.recipe_schema import recipe_schema
    from icm_core.schema import json_schema

    registry = build_registry()
    print_json(recipe_schema(registry) if recipe else json_schema(registry))
