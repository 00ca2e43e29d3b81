"""The variants of an ablation: every combination of the values that are varied, as spec and recipe."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from pydantic import JsonValue

from icm_core.errors import SpecError
from icm_core.spec.model import parse_spec
from icm_core.spec.overrides import with_changes
from icm_registry import unknown
from icm_training.recipe import RecipeSpec, parse_recipe

RECIPE = "recipe."
"""Paths that begin so lead into the recipe, all others into the pipeline's spec."""

Json = dict[str, JsonValue]


@dataclass(frozen=True)
class Variant:
    """One combination.

    Attributes:
        name: short, for folders and legends.
        values: what was varied, by path.
        recipe: the recipe, with the variant's pipeline in it.
    """

    name: str
    values: Mapping[str, JsonValue]
    recipe: RecipeSpec


def parse_vary(text: str) -> tuple[str, list[JsonValue]]:
    """``path=a,b,c`` as path and values; a value is JSON or text, and a list in brackets may hold any JSON.

    Raises:
        SpecError: there is no path, or fewer than two values.
    """
    path, equals, right = text.partition("=")
    values: list[JsonValue] = []
    if equals and path:
        values = _list(right) if right.startswith("[") else [_json(part) for part in right.split(",") if part]
    if len(values) < 2:
        raise SpecError(f"--vary is {text!r}; it should be PATH=VALUE,VALUE with at least two values")
    return path, values


def grid(
    spec: Json, recipe: Json, vary: Sequence[tuple[str, list[JsonValue]]], changes: Sequence[str], start: str | None
) -> list[Variant]:
    """Every combination of the values, in the order in which they are given.

    Args:
        spec: the pipeline that is varied, as JSON data.
        recipe: the recipe that trains each variant, as JSON data; its own ``pipeline`` is replaced.
        vary: paths with their values.
        changes: single changes for all variants, ``path=value``.
        start: weights that all variants start from, except for the components that are varied: those would start
            trained in one variant and untrained in another. None: the recipe's own start.

    Raises:
        SpecError: a path leads nowhere, or a variant does not validate.
    """
    for path, _ in vary:
        if not path.startswith(RECIPE):
            _check_path(spec, path)
    variants: list[Variant] = []
    for values in itertools.product(*(values for _, values in vary)):
        chosen = dict(zip((path for path, _ in vary), values, strict=True))
        own_spec, own_recipe = spec, recipe
        for path, value in chosen.items():
            if path.startswith(RECIPE):
                own_recipe = _changed(own_recipe, path, value)
            else:
                own_spec = _changed(own_spec, path, _component(own_spec, path, value))
        for change in changes:
            path, _, text = change.partition("=")
            if path.startswith(RECIPE):
                own_recipe = cast(Json, with_changes(own_recipe, [change.removeprefix(RECIPE)]))  # an object stays one
            else:
                own_spec = _changed(own_spec, path, _component(own_spec, path, _json(text)))
        name = slug(chosen)
        own_spec = {key: value for key, value in {**own_spec, "name": name}.items() if key != "weights"}
        touched = [*chosen, *(change.partition("=")[0] for change in changes)]
        try:
            merged = {**own_recipe, "pipeline": parse_spec(own_spec).to_json(), "start": None}
            if start is not None:
                merged = _started(merged, own_spec, start, touched)
            variants.append(Variant(name, chosen, parse_recipe(merged)))
        except SpecError as error:
            raise SpecError(f"variant {name!r}: {error}") from error
    names = [variant.name for variant in variants]
    if len(set(names)) < len(names):
        raise SpecError("two variants are the same; give each value once")
    return variants


def slug(values: Mapping[str, JsonValue]) -> str:
    """A name made of the values, and of the last part of each path where that alone says little."""
    parts = []
    for path, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value)
        short = text.rpartition(".")[2] if isinstance(value, str) else f"{path.rpartition('.')[2]}-{text}"
        parts.append(re.sub(r"[^a-z0-9._-]+", "-", short.lower()).strip("-."))
    return "_".join(parts)[:64]


def _started(recipe: Json, spec: Json, start: str, touched: Sequence[str]) -> Json:
    """The recipe with its first stage starting from weights of every part that is in no path."""
    tasks = cast(Json, spec["tasks"])  # the spec has been parsed
    parts = ["codec", *(["enhancement"] if spec.get("enhancement") else [])]
    parts += [f"tasks.{task}.{half}" for task in tasks for half in ("adapter", "head")]
    kept = [part for part in parts if not any(_meets(part, path) for path in touched)]
    stages = recipe["stages"]
    if not isinstance(stages, list) or not stages or not isinstance(stages[0], dict):
        raise SpecError("the recipe has no stages")
    own = stages[0].get("start") or []
    before: list[JsonValue] = [{"weights": start, "module": part} for part in kept]
    first: Json = {**stages[0], "start": [*before, *(own if isinstance(own, list) else [])]}
    return {**recipe, "stages": [first, *stages[1:]]}


def _meets(part: str, path: str) -> bool:
    """Whether one path leads into what the other names."""
    return f"{part}.".startswith(f"{path}.") or f"{path}.".startswith(f"{part}.")


def _check_path(spec: Json, path: str) -> None:
    here: JsonValue = spec
    parts = path.split(".")
    for depth, part in enumerate(parts):
        if isinstance(here, dict) and part in here:
            here = here[part]
        elif isinstance(here, dict) and depth and parts[depth - 1] == "params":
            return  # a parameter that stands at its default
        elif isinstance(here, dict) and part == "params":
            here = {}
        else:
            if not isinstance(here, dict):
                raise SpecError(f"--vary {path}: {'.'.join(parts[:depth])} is {here!r}, which has no fields")
            raise SpecError(f"--vary {path}: {unknown('field', part, here)}")


def _component(spec: Json, path: str, value: JsonValue) -> JsonValue:
    """A name in the place of a component as that component with its default parameters."""
    here: JsonValue = spec
    for part in path.split("."):
        here = here.get(part) if isinstance(here, dict) else None
    return {"use": value} if isinstance(value, str) and isinstance(here, dict) and "use" in here else value


def _changed(data: Json, path: str, value: JsonValue) -> Json:
    """A spec, or the recipe that a path beginning with `RECIPE` leads into, with a value changed."""
    try:
        return cast(Json, with_changes(data, [f"{path.removeprefix(RECIPE)}={json.dumps(value)}"]))
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error


def _json(text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except json.JSONDecodeError:
        return text
    return value


def _list(text: str) -> list[JsonValue]:
    value = _json(text)
    return value if isinstance(value, list) else []
