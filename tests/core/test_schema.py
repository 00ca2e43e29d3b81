"""The published JSON Schema agrees with what the validation accepts."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from icm_core import Registry, SpecError, build_registry, json_schema, parse_spec
from icm_core.spec.extends import read_spec
from icm_core.spec.resolve import resolve


@pytest.fixture(scope="module")
def schema(registry: Registry) -> dict[str, Any]:
    return json_schema(registry)


def valid(schema: dict[str, Any], data: object) -> bool:
    return jsonschema.Draft202012Validator(schema).is_valid(data)


def test_it_is_a_schema_and_json(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema


def test_a_good_spec_is_valid(schema: dict[str, Any], data: dict[str, Any]) -> None:
    assert valid(schema, data)
    assert valid(schema, {**data, "$schema": "x", "weights": ["a.safetensors"], "enhancement": None})
    assert valid(schema, parse_spec(data).to_json())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["icm"], 2),
        (["extra"], 1),
        (["codec", "use"], "tiny.unknown"),
        (["codec", "use"], "tiny.enlarge"),
        (["codec", "params"], {"steps": 0}),
        (["codec", "params"], {"stepz": 1}),
        (["tasks", "classes", "head"], {"use": "tiny.classes"}),
        (["tasks", "classes", "head", "params", "classes"], "3"),
        (["tasks", "fine"], {"adapter": {"use": "tiny.enlarge"}, "head": {"use": "tiny.picture"}}),
        (["tasks", "Upper"], {"adapter": {"use": "tiny.enlarge"}, "head": {"use": "tiny.picture"}}),
        (["tasks"], {}),
        (["enhancement"], {"use": "tiny.residual"}),
        (["weights"], "w.pt"),
    ],
)
def test_schema_refuses_what_validation_refuses(
    schema: dict[str, Any], registry: Registry, data: dict[str, Any], path: list[str], value: object
) -> None:
    place = data
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    assert not valid(schema, data)
    if value != "3":  # pydantic reads a number in a string; an editor should still say so
        with pytest.raises(SpecError):
            resolve(parse_spec(data), registry)


def test_parameters_are_described(schema: dict[str, Any]) -> None:
    steps = schema["$defs"]["codec.tiny.thumbnail"]["properties"]["params"]["properties"]["steps"]
    assert steps["description"] == "grey levels per unit of quality"
    assert (steps["minimum"], steps["maximum"], steps["default"]) == (1, 16, 8)


def test_with_nothing_installed_nothing_validates(data: dict[str, Any]) -> None:
    schema = json_schema(build_registry(path=[]))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert not valid(schema, data)


def test_shipped_specs_validate() -> None:
    import icm_baselines
    import icm_sicmh
    import icm_tasks

    extra: dict[str, object] = {"baselines": icm_baselines, "sicmh": icm_sicmh, "tasks": icm_tasks}
    registry = build_registry(path=[], extra=extra)
    validator = jsonschema.Draft202012Validator(json_schema(registry))
    assert {"sicmh-paper", "sicmh-small", "siic-small", "jpeg-camvid"} <= set(registry.specs.names)
    for name in registry.specs.names:
        data = json.loads(registry.specs.get(name).read_text())
        validator.validate(data)
        assert data["name"] == name
        resolve(read_spec(registry.specs.get(name), registry), registry)
