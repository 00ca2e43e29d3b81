"""Recipes: what is wrong in one is said in a sentence, and single values are changed from outside."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from icm_core import Registry, SpecError
from icm_core.spec.overrides import with_changes
from icm_training import plugin as icm_training
from icm_training.data import names_of, used_by
from icm_training.finding import find_recipe
from icm_training.recipe import Ramp, StageSpec, parse_recipe, read_recipe

STAGE: dict[str, Any] = {
    "name": "head",
    "train": [{"modules": ["A"], "lr": 1e-4}],
    "feeds": [{"data": ["shapes"], "batch": 2, "losses": [{"use": "training.rate"}]}],
    "schedule": {"steps": 3},
}
RECIPE: dict[str, Any] = {
    "icm": 1,
    "recipe": "mine",
    "pipeline": "sicmh-small",
    "data": {"shapes": {"use": "training.shapes"}},
    "stages": [STAGE, {**copy.deepcopy(STAGE), "name": "fine"}],
}


def said(changes: list[str], removed: str = "") -> str:
    with pytest.raises(SpecError) as caught:
        data: Any = with_changes(RECIPE, changes)
        if removed:
            del data["stages"][0][removed]
        parse_recipe(data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("stages.head.clipp=1", "unknown field 'clipp' in stages[0]; did you mean 'clip'?"),
        ("seed=-1", "seed is -1; it should be greater than or equal to 0"),
        ("icm=2", "icm is 2; it should be 1"),
        ("stages.head.name=Head", "stages[0].name is 'Head'"),
        ("stages.fine.name=head", "stages[1].name is 'head', as of an earlier stage"),
        (
            'stages.head.start=[{"stage": "fine"}]',
            "stages[0].start: 'fine' is no earlier stage; earlier: there is none",
        ),
        ('stages.fine.start=[{"stage": "fine"}]', "stages[1].start: 'fine' is no earlier stage; earlier: head"),
        ('stages.fine.start=[{"stage": "haed"}]', "stages[1].start: 'haed' is no earlier stage; earlier: head"),
        ('stages.fine.start=[{"stage": "head", "weights": "x"}]', "give one of stage, weights, pretrained and copy_of"),
        ('stages.fine.start=[{"module": "codec"}]', "give one of stage, weights, pretrained and copy_of"),
        ('stages.fine.start=[{"copy_of": "codec"}]', "copy_of needs the module that it fills"),
        ('stages.head.feeds.0.data=["roads"]', "stages[0]: the data set 'roads' is not in data; known: shapes"),
        ("stages.head.validate_on.data=val", "stages[0]: the data set 'val' is not in data; known: shapes"),
        ("stages.head.schedule.epochs=2", "give steps, epochs or phases, one of them"),
        ('stages.head.schedule={"phases": [{"steps": 2, "epochs": 1}]}', "give steps or epochs, one of them"),
        ("stages.head.schedule={}", "give steps, epochs or phases, one of them"),
        ("stages.head.train.0.lr=0", "stages[0].train[0].lr is 0; it should be greater than 0"),
        ("stages.head.feeds.0.losses=[]", "stages[0].feeds[0].losses is []"),
        ("stages.head.precision=bf16", "stages[0].precision is 'bf16'"),
        ("stages.head.ema=NaN", "stages[0].ema is nan"),
        ("pipeline.icm=1", "the change of 'pipeline.icm' leads into pipeline, which is 'sicmh-small'"),
        ("stages.tail.clip=1", "in stages: unknown item 'tail'; known: fine, head"),
        ("stages.2.clip=1", "in stages: unknown item '2'; known: fine, head"),
        ("stages.head.clip", "the change 'stages.head.clip' is not of the form path=value"),
        ("=1", "the change '=1' is not of the form path=value"),
    ],
)
def test_what_is_wrong_in_a_recipe_is_one_sentence(change: str, says: str) -> None:
    assert says in said([change])


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("seed", [0, 2**31 - 1], [-1, 2**31]),
        ("keep", [1, 1000], [0, 1001]),
        ("stages.head.ema", [0.5], [0, 1]),
        ("stages.head.clip", [0.5], [0]),
        ("stages.head.train.0.lr", [1], [0, 1.5]),
        ("stages.head.train.0.weight_decay", [0, 1], [-0.5, 1.5]),
        ("stages.head.feeds.0.batch", [1, 65536], [0, 65537]),
        ("stages.head.feeds.0.views", [1, 1000], [0, 1001]),
        ("stages.head.feeds.0.data.0", ['{"name": "shapes", "times": 1}'], ['{"name": "shapes", "times": 0}']),
        ("stages.head.feeds.0.losses.0.share", [1, 0.25], [0, 1.5]),
        ("stages.head.feeds.0.losses.0.weight", ['{"start": 0, "end": 0}'], ['{"start": -1, "end": 1}']),
        ("stages.head.feeds.0.losses.0.weight.over", [1, 0.25], [0, 1.5]),
        ("stages.head.schedule.warmup", [0], [-1]),
        ("stages.head.schedule.floor", [0, 1], [-0.5, 1.5]),
        ("stages.head.schedule", ['{"epochs": 0.25}', '{"steps": 1}'], ['{"epochs": 0}', '{"steps": 0}']),
        ("stages.head.quality.trained", [0, 1], [-0.5, 1.5]),
    ],
)
def test_bounds_of_a_field_are_inside_or_outside(field: str, good: list[object], bad: list[object]) -> None:
    before = [f"{field.removesuffix('.over')}=" + '{"start": 1, "end": 2}'] if field.endswith(".over") else []
    for value in good:
        parse_recipe(with_changes(RECIPE, [*before, f"{field}={value}"]))
    for value in bad:
        assert said([*before, f"{field}={value}"])


@pytest.mark.parametrize("own", ['[{"weights": "other.safetensors"}]', "[]"])
def test_a_start_that_nothing_would_use_is_refused(own: str) -> None:
    changes = ["start=sicmh-small", f"stages.head.start={own}"]
    assert "start is 'sicmh-small', but nothing would start from it: stages[0].start names" in said(changes)
    fine = with_changes(RECIPE, ["start=sicmh-small", f"stages.fine.start={own}"])
    assert parse_recipe(fine).start == "sicmh-small"


def test_an_editors_schema_key_is_allowed_and_no_other_of_its_sort() -> None:
    data = {"$schema": "https://example.org/recipe.json", **RECIPE}
    assert parse_recipe(data) == parse_recipe(RECIPE) and "$schema" in data
    with pytest.raises(SpecError, match=r"unknown field '\$id'"):
        parse_recipe({"$id": "https://example.org/recipe.json", **RECIPE})


def test_a_stage_uses_the_data_of_all_its_feeds_and_those_it_looks_at() -> None:
    rate = [{"use": "training.rate"}]
    feeds = [
        {"data": ["road", {"name": "air", "times": 3}, "road"], "batch": 2, "losses": rate},
        {"data": [{"name": "sea"}], "batch": 1, "losses": rate},
    ]
    stage = StageSpec.model_validate({**STAGE, "feeds": feeds})
    assert [names_of(feed) for feed in stage.feeds] == [["road", "air", "air", "air", "road"], ["sea"]]
    assert used_by(stage) == ["air", "road", "sea"]
    for name, used in (("ice", ["air", "ice", "road", "sea"]), ("sea", ["air", "road", "sea"])):
        assert used_by(StageSpec.model_validate({**STAGE, "feeds": feeds, "validate_on": {"data": name}})) == used


def test_all_recipes_and_losses_of_the_package_are_registered(registry: Registry) -> None:
    folder = Path(icm_training.__file__).with_name("recipes")
    names = {json.loads(path.read_text())["recipe"] for path in folder.iterdir() if path.suffix == ".json"}
    assert names and {path.stem for path in icm_training.icm_recipes()} == names
    assert icm_training.icm_recipes() == sorted(icm_training.icm_recipes())
    losses = ["cross_entropy", "distillation", "features", "head", "mse", "rate"]
    assert sorted(loss.name for loss in icm_training.icm_losses()) == [f"training.{name}" for name in losses]
    assert "training.shapes" in registry.datasets.names and "smoke" in registry.recipes.names


def test_a_ramp_is_a_straight_line_and_then_its_end() -> None:
    up, down = Ramp(start=1.0, end=3.0, over=0.5), Ramp(start=4.0, end=0.0, over=1.0)
    assert [up.at(done) for done in (0.0, 0.125, 0.5, 0.75, 1.0)] == [1.0, 1.5, 3.0, 3.0, 3.0]
    assert [down.at(done) for done in (0.0, 0.25, 1.0)] == [4.0, 3.0, 0.0]


@pytest.mark.parametrize("field", ["name", "train", "feeds", "schedule"])
def test_a_field_that_is_left_out_is_named(field: str) -> None:
    assert said([], removed=field) == f"the field stages[0].{field} is missing"


def test_a_recipe_file_is_named_in_what_is_wrong_with_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({**RECIPE, "seeds": 1}))
    with pytest.raises(SpecError, match="unknown field 'seeds'; did you mean 'seed'") as caught:
        read_recipe(path)
    assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(SpecError, match="a recipe is a JSON object, not list"):
        parse_recipe([RECIPE])


def test_changes_reach_named_items_numbers_and_what_was_left_out() -> None:
    before = copy.deepcopy(RECIPE)
    changes = [
        "stages.fine.schedule.steps=7",
        "stages.1.train.0.lr=0.01",
        "stages.head.optimizer.use=sgd",
        "stages.head.feeds.0.augment.crop=[64, 32]",
        "pipeline=mine.json",
        "seed=3",
    ]
    recipe = parse_recipe(with_changes(RECIPE, changes))
    head, fine = recipe.stages
    assert (fine.schedule.steps, fine.train[0].lr, head.schedule.steps) == (7, 0.01, 3)
    assert (head.optimizer.use, head.optimizer.betas, head.feeds[0].augment.crop) == ("sgd", (0.9, 0.99), (64, 32))
    assert (recipe.pipeline, recipe.seed) == ("mine.json", 3)
    assert before == RECIPE


def test_a_name_that_two_items_have_changes_neither() -> None:
    twice = {"stages": [{"name": "head", "seed": 1}, {"name": "head", "seed": 2}]}
    with pytest.raises(SpecError, match="in stages: unknown item 'head'"):
        with_changes(twice, ["stages.head.seed=3"])
    changed: Any = with_changes(twice, ["stages.1.seed=3"])
    assert [stage["seed"] for stage in changed["stages"]] == [1, 3]


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 100_000, "plain text", ""])
def test_a_value_that_is_no_json_is_text(value: str) -> None:
    assert with_changes({"description": "old"}, [f"description={value}"]) == {"description": value}


def test_a_recipe_is_found_by_name_and_by_path(tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(RECIPE))
    recipe, home = find_recipe(str(path), registry, ["seed=9"])
    assert (recipe.recipe, recipe.seed, home) == ("mine", 9, tmp_path)
    path.rename(tmp_path / "mine")
    assert find_recipe(str(tmp_path / "mine"), registry)[0].recipe == "mine"  # with a folder in front it is no name
    recipe, home = find_recipe("smoke", registry)
    assert (recipe.recipe, home) == ("smoke", Path(icm_training.__file__).with_name("recipes"))
    with pytest.raises(SpecError, match="unknown recipe 'smoky'; did you mean 'smoke'"):
        find_recipe("smoky", registry)
