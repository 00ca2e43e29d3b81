"""The JSON Schema of a training recipe, with the parameters of every data set and loss installed."""

from __future__ import annotations

from typing import Any

from icm_core.plugins.registry import Registry
from icm_core.spec.schema import DIALECT, Schema, add_choices, json_schema
from icm_registry import Catalogue
from icm_training.recipe import RecipeSpec


def recipe_schema(registry: Registry) -> Schema:
    """JSON Schema (2020-12) with which an editor completes and checks a recipe, and the pipeline in it."""
    schema = RecipeSpec.model_json_schema()
    pipeline = json_schema(registry)
    definitions: Schema = {**schema["$defs"], **pipeline.pop("$defs")}
    definitions["PipelineSpec"] = {key: value for key, value in pipeline.items() if key != "$schema"}
    generic = definitions.pop("ComponentSpec", {"properties": {"use": {"description": "registered name"}}})
    _narrow(definitions, "DataSpec", registry.datasets, generic)
    _narrow(definitions, "LossSpec", registry.losses, generic)
    schema["properties"]["$schema"] = {"type": "string", "description": "address of this schema, for editors"}
    return {"$schema": DIALECT, **schema, "$defs": definitions, "title": "icm recipe"}


def _narrow(definitions: Schema, name: str, catalogue: Catalogue[Any], generic: Schema) -> None:
    """Let a definition allow the catalogue's components only; its further fields stay as they are."""
    own: Schema = definitions[name]
    further = {key: value for key, value in own["properties"].items() if key not in ("use", "params")}
    required = [key for key in own.get("required", []) if key not in ("use", "params")]
    reference = add_choices(definitions, catalogue, generic, **further).removeprefix("#/$defs/")
    for choice in definitions[reference].get("oneOf", ()):
        component = definitions[choice["$ref"].removeprefix("#/$defs/")]
        component["required"] = [key for key in component["required"] if key not in further or key in required]
    definitions[name] = {"description": own.get("description", ""), "$ref": f"#/$defs/{reference}"}
