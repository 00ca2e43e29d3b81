"""``icm schema``: the JSON Schema of a pipeline spec."""

from __future__ import annotations

from icm_core.cli.console import print_json

NAME = "schema"
EXAMPLE = "Example: icm schema > icm.schema.json"


def run() -> None:
    """Print the JSON Schema of a pipeline spec, with the parameters of everything installed."""
    from icm_core.plugins import build_registry
    from icm_core.schema import json_schema

    print_json(json_schema(build_registry()))
