"""The JSON Schema of a pipeline spec, with the parameters of everything installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from icm_core.interfaces import Codec, SideInfoAdapter, TaskHead
from icm_core.interfaces.nested import CONTRACT
from icm_core.plugins.registry import Registry
from icm_core.spec.model import FINE, TASK_NAME, PipelineSpec
from icm_registry import Catalogue

Schema = dict[str, Any]

_CONTRACTS = (Codec, SideInfoAdapter, TaskHead)
"""Contracts whose components can stand inside of others; an enhancement cannot, it refines the picture of a task."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(registry: Registry) -> Schema:
    """JSON Schema (2020-12) with which an editor completes and checks a spec.

    Each place of a component allows the installed ones of its kind; ``use`` selects which ``params`` fit. What
    depends on several fields, such as ``enhancement.over``, only `icm_core.parse_spec` checks.
    """
    schema = PipelineSpec.model_json_schema()
    definitions: Schema = schema["$defs"]
    generic = definitions.pop("ComponentSpec")
    over = definitions.pop("EnhancementSpec")["properties"]["over"]
    properties: Schema = schema["properties"]
    properties["$schema"] = {"type": "string", "description": "address of this schema, for editors"}
    properties["codec"] = {
        "description": properties["codec"]["description"],
        "$ref": add_choices(definitions, registry.codecs, generic),
    }
    task: Schema = definitions["TaskSpec"]["properties"]
    for field, catalogue in (("adapter", registry.adapters), ("head", registry.heads)):
        task[field] = {"description": task[field]["description"], "$ref": add_choices(definitions, catalogue, generic)}
    properties["enhancement"] = {
        "description": properties["enhancement"]["description"],
        "anyOf": [{"$ref": add_choices(definitions, registry.enhancements, generic, over=over)}, {"type": "null"}],
        "default": None,
    }
    _choose_inside(definitions, {contract.__name__: registry.of(contract).kind for contract in _CONTRACTS})
    properties["tasks"]["propertyNames"] = {"pattern": TASK_NAME, "not": {"const": FINE}}
    return {"$schema": DIALECT, **_or_extending(schema), "title": "icm pipeline"}


def _choose_inside(node: Any, kinds: Mapping[str, str]) -> None:
    """Let fields that are components take the installed ones of their contract."""
    for inner in list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else ():
        _choose_inside(inner, kinds)
    if isinstance(node, dict) and (contract := str(node.get(CONTRACT))) in kinds:
        told = {key: node[key] for key in ("title", "description", "default") if key in node}
        node.clear()
        node.update(told, **{"$ref": f"#/$defs/{kinds[contract]}"})


def _or_extending(schema: Schema) -> Schema:
    """The schema of a whole spec, or of one that extends another and says what is different."""
    definitions = schema.pop("$defs")
    properties: Schema = schema["properties"]
    task: Schema = definitions["TaskSpec"]["properties"]
    anything: Schema = {"type": ["object", "null"]}
    names = {"name", "description", "weights", "icm", "$schema"}
    extending = {
        "type": "object",
        "properties": {
            "extends": {
                "type": "string",
                "minLength": 1,
                "description": "a shipped pipeline's name, or a spec's path in this folder, that is changed here",
            },
            **{name: field for name, field in properties.items() if name in names},
            "codec": {"type": "object", "description": properties["codec"]["description"]},
            "tasks": {
                "type": "object",
                "propertyNames": properties["tasks"]["propertyNames"],
                "additionalProperties": {
                    "type": ["object", "null"],
                    "properties": {
                        "adapter": anything,
                        "head": anything,
                        "search": task["search"],
                        "trained_on": {**anything, "description": task["trained_on"]["description"]},
                    },
                    "additionalProperties": False,
                    "description": "what is different in the task; null removes it",
                },
            },
            "enhancement": {**anything, "description": properties["enhancement"]["description"]},
        },
        "required": ["icm", "name", "extends"],
        "additionalProperties": False,
    }
    return {"$defs": definitions, "if": {"required": ["extends"]}, "then": extending, "else": schema}


def add_choices(definitions: Schema, catalogue: Catalogue[Any], generic: Schema, **further: Schema) -> str:
    """Define "one of the catalogue's components" and return the reference to it.

    Args:
        definitions: the schema's ``$defs``, which grow.
        catalogue: the components.
        generic: schema of a component whatever it is.
        further: schemas of fields beside ``use`` and ``params``; all are required.
    """
    choices = []
    for name in catalogue.names:
        component = catalogue.get(name)
        key = f"{catalogue.kind}.{name}"
        params = component.Params.model_json_schema(ref_template=f"#/$defs/{key}.{{model}}")
        definitions.update({f"{key}.{inner}": value for inner, value in params.pop("$defs", {}).items()})
        summary = (component.__doc__ or "").strip().split("\n")[0]
        definitions[key] = {
            "type": "object",
            "description": summary or name,
            "properties": {
                "use": {"const": name, "description": summary or generic["properties"]["use"]["description"]},
                "params": params,
                **further,
            },
            "required": ["use", *(["params"] if params.get("required") else []), *further],
            "additionalProperties": False,
        }
        choices.append({"$ref": f"#/$defs/{key}"})
    definitions[catalogue.kind] = {"oneOf": choices} if choices else {"not": {}}
    return f"#/$defs/{catalogue.kind}"
