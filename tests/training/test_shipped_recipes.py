"""The recipes that ship: everything that they name is there, and the paper's are the paper's."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from safetensors.torch import load_file

from icm_core import Pipeline, Registry, build, build_registry, parse_spec
from icm_core.interfaces import Sample
from icm_core.spec.model import PipelineSpec
from icm_core.types import Legend
from icm_registry import RegistryError
from icm_training import plugin as icm_training
from icm_training.checking import feed_data
from icm_training.data import used_by
from icm_training.engine import pipeline_of
from icm_training.finding import find_recipe
from icm_training.mixture import Held
from icm_training.parts import groups_of, prepare
from icm_training.recipe import DataSpec, RecipeSpec, ScheduleSpec
from icm_training.recipe_schema import recipe_schema
from icm_training.schedule import Schedule
from icm_training.stage import StageModule
from icm_training.start import check, starts_of

NAMES = [path.stem for path in icm_training.icm_recipes()]
RATES = {"low": 0.08, "middle": 0.18, "high": 0.30}


class Blank(Held):
    """One black picture of the first class, in place of data that are not here: of their kind, with their labels."""

    def __init__(self, name: str, recipe: RecipeSpec) -> None:
        spec = recipe.data[name]
        cls = installed().datasets.get(spec.use)
        bare = cls.__new__(cls)  # without looking at a folder
        bare.params = cls.Params.model_validate(spec.params)
        try:
            legend = bare.legend
        except AttributeError:  # the folder says what they are
            legend = Legend()
        super().__init__(cls.kind, legend)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, number: int) -> Sample:
        target = torch.zeros(() if self.kind == "classification" else (64, 64), dtype=torch.uint8)
        return Sample("0", torch.zeros(3, 64, 64, dtype=torch.uint8), None if self.kind == "pictures" else target)


@cache
def installed() -> Registry:
    return build_registry()


def shipped(name: str) -> tuple[RecipeSpec, Pipeline]:
    """A recipe, and its pipeline without any memory behind it."""
    recipe, home = find_recipe(name, installed())
    try:
        spec = pipeline_of(recipe, home, installed())
    except Exception as error:
        if isinstance(error.__cause__, RegistryError):
            pytest.skip(f"pipeline {recipe.pipeline!r} is not installed")
        raise
    return recipe, built(spec.model_dump_json())


@cache
def built(spec: str) -> Pipeline:
    with torch.device("meta"):
        return build(parse_spec(json.loads(spec)), installed())


@pytest.mark.parametrize("name", NAMES)
def test_everything_that_a_shipped_recipe_names_is_there(name: str) -> None:
    recipe, pipe = shipped(name)
    assert recipe.recipe == name
    paths = dict(pipe.named_modules())
    qualities = pipe.codec.quality_range
    for data in recipe.data.values():
        installed().datasets.get(data.use).Params.model_validate(data.params)
    for stage in recipe.stages:
        for start in stage.start or ():
            assert not start.module or start.module in paths
            assert start.copy_of is None or start.copy_of in paths
            if start.weights is not None and not start.weights.endswith(".safetensors"):
                installed().specs.get(start.weights)
        groups = groups_of(pipe, stage.train)
        prepare(pipe, groups)
        assert sum(p.requires_grad for p in pipe.parameters()) == sum(len(group.parameters) for group in groups)
        data = {name: Blank(name, recipe) for name in used_by(stage)}
        feeds = [feed_data(feed, data, installed(), "") for feed in stage.feeds]
        module = StageModule(pipe, stage, feeds, installed(), "")
        assert len(module.losses) == sum(len(feed.losses) for feed in stage.feeds)
        if stage.validate_on is not None:
            assert all(qualities[0] <= quality <= qualities[1] for quality in stage.validate_on.qualities)
    for number in range(len(recipe.stages)):
        # Files come of other runs, and other networks' ImageNet weights from the net.
        starts = [one for one in starts_of(recipe, number) if not (one.spec.weights or "").endswith(".safetensors")]
        own = [one for one in starts if one.spec.pretrained != "imagenet" or not name.startswith("paper")]
        check(pipe, own, Path(), installed())
    parts = [prefix for part in recipe.files.values() for prefix in part.prefixes]
    if parts:
        assert all(sum(key.startswith(prefix) for prefix in parts) == 1 for key in pipe.state_dict())


def test_the_papers_recipe_trains_a_plain_trseg_as_well(run: Any, registry: Registry, tmp_path: Path) -> None:
    """Its first stage of the head counts the last output: the first of two maps, or of TrSeg the only one."""
    recipe, home = find_recipe("paper-cityscapes", registry)
    spec = pipeline_of(recipe, home, installed()).to_json()
    head = spec["tasks"]["segmentation"]["head"]
    head["use"] = "tasks.trseg"
    head["params"] = {key: value for key, value in head.get("params", {}).items() if key != "auxiliary_weight"}
    pipe = built(json.dumps(spec))
    for number, stage in enumerate(recipe.stages):
        groups_of(pipe, stage.train)
        data = {name: Blank(name, recipe) for name in used_by(stage)}
        feeds = [feed_data(feed, data, installed(), "") for feed in stage.feeds]
        StageModule(pipe, stage, feeds, installed(), f"stages[{number}]")

    # The very stage, on a smaller pipeline, for one step.
    smoke = find_recipe("smoke", registry)[0].pipeline
    assert isinstance(smoke, PipelineSpec)
    small = smoke.to_json()
    small["tasks"]["segmentation"]["head"]["use"] = "tasks.trseg"
    changes = ["stages.trseg.feeds.0.augment.crop=[64, 64]", "stages.trseg.start=[]", "precision=32-true"]
    recipe, _ = find_recipe("paper-cityscapes", registry, [f"pipeline={json.dumps(small)}", *changes])
    stage = recipe.stages[1].model_copy(update={"schedule": ScheduleSpec(steps=1)})
    shapes = {"large": DataSpec(use="training.shapes", params={"count": 4})}
    folder = run(recipe.model_copy(update={"stages": (stage,), "data": shapes}), tmp_path / "run")
    torch.manual_seed(recipe.seed)
    before = build(parse_spec(small), registry).state_dict()
    after = load_file(folder.result("trseg"))
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    assert changed and all(key.startswith("tasks.segmentation.head.") for key in changed)
    assert "cross_entropy/segmentation/clean" in (folder.stage("trseg") / "log.csv").read_text()


def paces(recipe: RecipeSpec) -> dict[str, list[tuple[float, float]]]:
    """Epochs and learning rate of each phase of each stage that has some."""
    return {
        stage.name: [(phase.epochs or 0, stage.train[0].lr * phase.factor) for phase in stage.schedule.phases]
        for stage in recipe.stages
        if stage.schedule.phases
    }


def test_the_papers_schedule_on_cityscapes(registry: Registry) -> None:
    recipe, _ = find_recipe("paper-cityscapes", registry)
    assert paces(recipe) == {
        "joint": [(60, 1e-5), (30, pytest.approx(1e-6))],
        "segmentation": [(30, 1e-6)],
        "coarse": [(600, 1e-4), (600, pytest.approx(5e-5)), (600, pytest.approx(1e-6))],
        "fine": [(200, 1e-4), (200, pytest.approx(1e-5))],
    }
    trseg, head = recipe.stages[1:3]
    assert [(stage.schedule.epochs, stage.train[0].lr) for stage in (trseg, head)] == [(110, 5e-5), (90, 5e-5)]
    assert all(stage.feeds[0].batch == 4 and stage.optimizer.weight_decay == 1e-4 for stage in (trseg, head))
    steps = Schedule(recipe.stages[3].schedule, 2975 / 4).steps
    assert steps == round(60 * 2975 / 4) + round(30 * 2975 / 4)


def test_the_papers_schedule_on_imagenet_and_smaller_pictures(registry: Registry) -> None:
    recipe, _ = find_recipe("paper-imagenet", registry)
    assert paces(recipe) == {"classification": [(3, 1e-4), (3, pytest.approx(1e-5)), (3, pytest.approx(1e-6))]}
    assert recipe.stages[0].feeds[0].batch == 64
    assert recipe.stages[0].feeds[0].augment.resize is None  # trained and measured at one size, the data set's
    assert [data.params["size"] for data in recipe.data.values()] == [[384, 384], [384, 384]]
    for size in ("512x1024", "256x512"):
        recipe, _ = find_recipe(f"paper-cityscapes-{size}", registry)
        assert paces(recipe) == {"segmentation": [(40, 1e-6)]}
        assert {data.params["size"] for data in recipe.data.values()} == {size}
        assert recipe.start == "runs/paper-cityscapes/segmentation/weights.safetensors"


def test_table_1s_other_row_is_trained_as_its_first_but_for_200_epochs(registry: Registry) -> None:
    (plain,) = find_recipe("paper-trseg", registry)[0].stages
    trseg = find_recipe("paper-cityscapes", registry)[0].stages[1]
    assert (plain.schedule.epochs, plain.train[0].lr, plain.train[0].modules) == (
        200,
        5e-5,
        ("tasks.segmentation.head",),
    )
    assert (plain.feeds[0].batch, plain.feeds[0].augment) == (4, trseg.feeds[0].augment)
    assert plain.optimizer == trseg.optimizer


def test_the_losses_of_equations_12_and_13_count_the_final_map_alone(registry: Registry) -> None:
    for name in [name for name in NAMES if name.startswith("paper-cityscapes") or name == "paper-fusion-cityscapes"]:
        for stage in find_recipe(name, registry)[0].stages:
            for loss in [loss for feed in stage.feeds for loss in feed.losses if loss.task == "segmentation"]:
                clean = loss.input == "clean"  # Sec. 5.1, as TrSeg trains
                assert clean or loss.params == {"output": 0}, (name, stage.name)


@pytest.mark.parametrize(
    ("name", "like", "last"),
    [("paper-fusion-cityscapes", "paper-cityscapes-rate-low", 3), ("paper-fusion-imagenet", "paper-imagenet", 1)],
)
def test_figures_20_and_21_train_as_the_papers_own_stages_do(
    name: str, like: str, last: int, registry: Registry
) -> None:
    """But for where the fusion block begins, which no structure shares, and for the rate's weight."""
    own = find_recipe(name, registry)[0].stages
    paper = find_recipe(like, registry)[0].stages[:last]
    assert [stage.name for stage in own] == [stage.name for stage in paper]
    for stage, model in zip(own, paper, strict=True):
        assert (stage.train, stage.schedule, stage.optimizer) == (model.train, model.schedule, model.optimizer)
        assert not any(start.copy_of or start.module.endswith("adapter") for start in stage.start or ())


def test_the_three_side_rates_differ_in_lambda_alone() -> None:
    recipes: dict[str, Any] = {}
    weights = []
    for name, rate in RATES.items():
        path = Path(icm_training.__file__).parent / "recipes" / f"paper-cityscapes-rate-{name}.json"
        data = json.loads(path.read_text())
        assert f"{rate:.2f} bpp" in data.pop("description")
        data.pop("recipe")
        weights.append(data["stages"][0]["feeds"][0]["losses"][0].pop("weight"))
        recipes[name] = data
    assert recipes["low"] == recipes["middle"] == recipes["high"]
    assert weights == sorted(weights, reverse=True) and len({*weights}) == 3


def test_shipped_recipes_validate_against_the_published_schema() -> None:
    registry = build_registry()
    schema = recipe_schema(registry)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for name in registry.recipes.names:
        validator.validate(json.loads(registry.recipes.get(name).read_text()))


def test_the_schema_refuses_what_no_recipe_may_hold() -> None:
    registry = build_registry()
    validator = jsonschema.Draft202012Validator(recipe_schema(registry))
    smoke = registry.recipes.get("smoke").read_text()

    def wrong(change: Callable[[Any], object]) -> list[str]:
        recipe = json.loads(smoke)
        change(recipe)
        return [error.json_path for error in validator.iter_errors(recipe)]

    def loss(**fields: object) -> Callable[[Any], object]:
        return lambda recipe: recipe["stages"][0]["feeds"][0]["losses"].__setitem__(0, fields)

    def data(**fields: object) -> Callable[[Any], object]:
        return lambda recipe: recipe["data"].__setitem__("more", fields)

    # What need not be given may be left out, and what may be given is known.
    for good in (
        loss(use="training.rate"),
        loss(use="training.rate", params={"of": "side"}, label="x", weight=2.0, share=0.5, by_quality=[2, 1]),
        data(use="training.shapes"),
        data(use="training.shapes", root="x", split="val", params={"count": 3}),
        lambda recipe: recipe.update({"$schema": "recipe.schema.json"}),
    ):
        assert wrong(good) == []
    first = "$.stages[0].feeds[0].losses[0]"
    for bad, path in (
        (loss(use="training.rate", params={"of": "nothing"}), first),
        (loss(use="training.rat"), first),
        (loss(use="training.shapes"), first),
        (loss(use="training.rate", share=0), first),
        (loss(use="training.rate", root="x"), first),
        (loss(weight=2.0), first),
        (data(use="training.shape"), "$.data.more"),
        (data(use="training.rate"), "$.data.more"),
        (data(use="training.shapes", params={"count": 0}), "$.data.more"),
        (data(use="training.shapes", weight=1.0), "$.data.more"),
        (data(root="x"), "$.data.more"),
    ):
        assert wrong(bad) == [path]
    assert len(wrong(lambda recipe: recipe["pipeline"]["codec"].update(use="sicmh.hyper"))) == 1
    assert len(wrong(lambda recipe: recipe["pipeline"]["tasks"]["coarse"]["head"].update(use="sicmh.course"))) == 1
