"""Recipes of the systems that send features: each fits its pipeline as it ships, and its stages train."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

from icm_core import Registry, build, build_registry
from icm_core.spec.model import PipelineSpec
from icm_evaluation.options import Options as Measurement
from icm_evaluation.run import evaluate
from icm_training.checking import check
from icm_training.engine import Options, pipeline_of, train
from icm_training.export import export
from icm_training.finding import find_recipe
from icm_training.parts import groups_of
from icm_training.recipe import RecipeSpec, ScheduleSpec, StageSpec

NAMES = (
    "compressed-representation",
    "hific",
    "hmi-ic",
    "post-sa",
    "pre-sa",
    "rnn-c",
    "spic-q",
    "transformed-images",
)
SYNSETS = (
    "n01440764", "n02102040", "n02979186", "n03000684", "n03028079",
    "n03394916", "n03417042", "n03425413", "n03445777", "n03888257",
)  # fmt: skip
STEPS = 3
TOY: dict[str, dict[str, Any]] = {
    "baselines.bmshj2018_hyperprior": {"n": 8, "m": 8},
    "related.latent_classifier": {"width": 8, "blocks": 1},
    "related.preview": {"width": 8},
    "related.filtered": {"channels": 4, "layers": 2},
    "related.recurrent": {"width": 8, "code_channels": 8, "passes": 2},
    "related.hific": {"n": 8, "m": 8, "width": 32, "blocks": 1},
    "related.discriminator": {"width": 4, "layers": 2},
    "tasks.vit": {"model": "test_vit"},
    "tasks.modified_trseg": {"stage": 2, "channels": 16, "layers": 1, "heads": 2, "feedforward": 16, "bins": [1, 2]},
}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return build_registry()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a picture of each class of Imagenette."""
    folder = tmp_path_factory.mktemp("data")
    for number, synset in enumerate(SYNSETS):
        for split in ("train", "val"):
            place = folder / "imagenette224" / split / synset
            place.mkdir(parents=True)
            Image.effect_noise((72, 66), 20 + 10 * number).convert("RGB").save(place / "picture.png")
    yield folder


def narrow(node: Any) -> Any:
    """A spec with every component at toy width, those inside of others too."""
    if isinstance(node, list):
        return [narrow(one) for one in node]
    if not isinstance(node, dict):
        return node
    found = {key: narrow(value) for key, value in node.items()}
    if found.get("use") in TOY:
        found["params"] = {**found.get("params", {}), **TOY[found["use"]]}
    return found


def short(stage: StageSpec) -> StageSpec:
    feeds = [
        feed.model_copy(update={"batch": 2, "augment": feed.augment.model_copy(update={"crop": (64, 64)})})
        for feed in stage.feeds
    ]
    looked = stage.validate_on and stage.validate_on.model_copy(update={"limit": 1})
    changes = {"feeds": tuple(feeds), "start": None, "validate_on": looked, "schedule": ScheduleSpec(steps=STEPS)}
    return stage.model_copy(update=changes)


def toy_of(recipe: RecipeSpec, home: Path, registry: Registry) -> RecipeSpec:
    spec = PipelineSpec.model_validate(narrow(pipeline_of(recipe, home, registry).to_json()))
    stages = tuple(map(short, recipe.stages))
    return recipe.model_copy(update={"pipeline": spec, "precision": "32-true", "log_every": 1, "stages": stages})


@pytest.mark.parametrize("name", NAMES)
def test_the_recipe_fits_the_pipeline_that_ships(name, registry, data, tmp_path) -> None:
    recipe, home = find_recipe(name, registry)
    options = Options(tmp_path, data, home, device="cpu", workers=0)
    check(recipe, pipeline_of(recipe, home, registry), [stage.name for stage in recipe.stages], options, registry)


@pytest.mark.parametrize("name", NAMES)
def test_three_steps_of_every_stage_train_what_it_names_and_nothing_else(name, registry, data, tmp_path) -> None:
    recipe, home = find_recipe(name, registry)
    toy = toy_of(recipe, home, registry)
    out = tmp_path / "run"
    folder = train(toy, Options(out, data, home, device="cpu", workers=0), registry, Console(file=io.StringIO()))
    pipe = build(toy.pipeline, registry)  # type: ignore[arg-type]
    names = {id(parameter): key for key, parameter in pipe.named_parameters()}
    before: dict[str, torch.Tensor] | None = None
    for stage in toy.stages:
        with (folder.stage(stage.name) / "log.csv").open() as file:
            logged = [row for row in csv.DictReader(file) if row.get("loss")]
        assert len(logged) == STEPS and all(math.isfinite(float(row["loss"])) for row in logged), stage.name
        assert all(float(row["gradient"]) > 0 for row in logged), stage.name
        after = load_file(folder.result(stage.name))
        if before is not None:
            trains = {names[id(one)] for group in groups_of(pipe, stage.train) for one in group.parameters}
            changed = {key for key in names.values() if not torch.equal(after[key], before[key])}
            assert changed and changed <= trains, stage.name
        before = after


def test_hmi_ic_on_another_base_is_trained_and_measured_from_json_alone(registry, data, tmp_path) -> None:
    """SICMH's side information in place of a hyperprior's latent; what the preview lacks goes through JPEG."""
    base = {
        "use": "sicmh.hyperprior",
        "params": {"width": 8, "h1_channels": 16, "h2_channels": 8, "groups": 2, "context_channels": 8, "qualities": 2},
    }
    residue = {"params": {"codec": {"use": "baselines.jpeg", "params": {"settings": [30, 60]}}}}
    mine = tmp_path / "mine.json"
    swapped = {"icm": 1, "name": "mine", "extends": "hmi-ic-small", "codec": base, "enhancement": residue}
    mine.write_text(json.dumps(swapped))
    recipe, home = find_recipe("hmi-ic", registry)
    kept = tuple(stage for stage in recipe.stages if stage.name != "enhancement")  # JPEG has nothing to train
    toy = toy_of(recipe.model_copy(update={"pipeline": str(mine), "stages": kept}), home, registry)
    run = tmp_path / "run"
    train(toy, Options(run, data, home, device="cpu", workers=0), registry, Console(file=io.StringIO()))
    spec = export(run, tmp_path / "exported", registry).spec
    how = Measurement(str(spec), f"folders:{data / 'imagenette224'}", limit=2, workers=1, device="cpu")
    result = evaluate(how, tmp_path / "result.json")
    assert set(result.tasks) == {"classification", "preview", "fine"} and len(result.points) == 2
    for point in result.points:
        assert point.base_bpp < point.bpp
        assert point.tasks["preview"]["psnr"] < point.tasks["fine"]["psnr"]
