"""Recipes by name or path, with changes from the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from icm_core.errors import SpecError
from icm_core.plugins.registry import Registry
from icm_core.spec.overrides import with_changes
from icm_core.validation.strict_json import read_json
from icm_registry import RegistryError
from icm_training.recipe import RecipeSpec, parse_recipe


def find_recipe(name: str, registry: Registry, changes: Sequence[str] = ()) -> tuple[RecipeSpec, Path]:
    """A recipe from a shipped name or a path, and the folder that its paths are relative to.

    Args:
        name: a shipped recipe's name, or the path of a JSON file.
        registry: where shipped recipes are looked up.
        changes: see `icm_core.spec.overrides.with_changes`.

    Raises:
        SpecError: there is no such recipe, or it does not validate.
    """
    path = recipe_path(name, registry)
    data = cast(JsonValue, read_json(path))
    try:
        return parse_recipe(with_changes(data, changes)), path.parent
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error


def recipe_path(name: str, registry: Registry) -> Path:
    """The file of a recipe, from a shipped name or a path; `SpecError` with the nearest name if there is none."""
    if name.endswith(".json") or re.search(r"[/\\]", name):
        return Path(name)
    try:
        return registry.recipes.get(name)
    except RegistryError as error:
        raise SpecError(f"{error}; a path of a recipe ends with .json") from error
