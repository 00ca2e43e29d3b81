"""The page about training says what the recipe's data model says."""

from __future__ import annotations

import json
import re
import shlex
import types
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from icm_core.plugins.registry import Registry, build_registry
from icm_training import recipe
from icm_training.finding import find_recipe

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text()

MODELS: dict[str, type[BaseModel]] = {
    "A recipe": recipe.RecipeSpec,
    "A data set": recipe.DataSpec,
    "A stage": recipe.StageSpec,
    "A start": recipe.StartSpec,
    "A group that trains": recipe.TrainSpec,
    "A feed": recipe.FeedSpec,
    "A source": recipe.SourceSpec,
    "Augmentation": recipe.AugmentSpec,
    "A loss": recipe.LossSpec,
    "A ramp": recipe.Ramp,
    "Qualities": recipe.QualitySpec,
    "The optimizer": recipe.OptimizerSpec,
    "The schedule": recipe.ScheduleSpec,
    "A phase": recipe.PhaseSpec,
    "Validation": recipe.ValidationSpec,
    "A file of weights": recipe.PartSpec,
}


def table(model: type[BaseModel]) -> str:
    """The fields of a model as the page has them."""
    rows = ["| field | default | meaning |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        if field.is_required():
            default = "-"
        elif field.default is PydanticUndefined or isinstance(field.default, BaseModel):
            default = "`{}`"
        else:
            default = f"`{json.dumps(field.default)}`"
        rows.append(f"| `{name}` | {default} | {(field.description or '').replace('``', '`')} |")
    return "\n".join(rows)


@pytest.mark.parametrize("heading", MODELS)
def test_the_page_has_every_field_of_the_model(heading: str) -> None:
    assert f"### {heading}\n" in PAGE
    section = PAGE.split(f"### {heading}\n", 1)[1].split("\n#", 1)[0]
    assert table(MODELS[heading]) in section


def test_every_model_of_a_recipe_is_on_the_page() -> None:
    models = {value for value in vars(recipe).values() if isinstance(value, type) and issubclass(value, BaseModel)}
    own = {model for model in models if model.__module__ == recipe.__name__ and not model.__name__.startswith("_")}
    assert own == {*MODELS.values()}


def test_every_shipped_recipe_and_loss_is_on_the_page(registry: Registry) -> None:
    named = {*re.findall(r"`([a-z0-9][a-z0-9_.-]+)`", PAGE)}
    assert {*registry.recipes.names} <= named
    assert {*registry.losses.names} <= named


def test_the_commands_of_the_page_name_recipes_and_fields_that_are_there(registry: Registry) -> None:
    commands = [
        shlex.split(line) for line in PAGE.replace("\\\n", " ").splitlines() if "train " in line and " -o " in line
    ]
    assert len(commands) >= 8
    for words in commands:
        name = words[words.index("train") + 1]
        changes = [words[number + 1] for number, word in enumerate(words) if word == "--set"]
        assert find_recipe(name, registry, changes)[0].recipe == name


def test_the_recipe_and_the_loss_of_the_page_can_be_used() -> None:
    block = re.search(r"```json\n(.*?)```", PAGE, re.S)
    source = re.search(r"```python\n(.*?)```", PAGE, re.S)
    assert block is not None and source is not None
    found = recipe.parse_recipe(json.loads(block[1]))
    assert found.stages[0].feeds[0].views == 4
    lab = types.ModuleType("lab_of_the_page")
    exec(source[1], lab.__dict__)
    assert build_registry(path=[], extra={"lab": lab}).losses.names == ("lab.brightness",)
