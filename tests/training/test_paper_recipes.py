"""The paper's recipes at toy width: ten steps of every stage, each run going on from the runs that its recipe names."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

import icm_baselines
import icm_datasets
import icm_sicmh
import icm_tasks
from icm_core import Registry, build, build_registry
from icm_core.plugins import own
from icm_core.spec.model import PipelineSpec
from icm_training import plugin as icm_training
from icm_training.engine import Options, pipeline_of, train
from icm_training.finding import find_recipe
from icm_training.folder import RunFolder
from icm_training.parts import groups_of
from icm_training.recipe import AugmentSpec, DataSpec, RecipeSpec, ScheduleSpec, StageSpec, StartSpec
from icm_training.start import Start, fill

Train = Callable[[str], RunFolder]
NAMES = [path.stem for path in icm_training.icm_recipes() if path.stem.startswith("paper-")]
ROOT = "paper-cityscapes"  # what the others go on from
SIDE, STEPS = 64, 10
_TRSEG: dict[str, Any] = {
    "backbone": "tf_efficientnet_lite0", "stage": 2, "classes": 3, "channels": 16, "layers": 1, "heads": 2,
    "feedforward": 16, "bins": [1, 2],
}  # fmt: skip
_CODEC: dict[str, Any] = {
    "width": 8, "h1_channels": 16, "h2_channels": 8, "groups": 2, "context_channels": 8, "qualities": 4
}  # fmt: skip
TOY: dict[str, dict[str, Any]] = {
    "sicmh.hyperprior": _CODEC,
    "sicmh.coarse_to_fine": _CODEC,
    "tasks.trseg": _TRSEG,
    "tasks.modified_trseg": _TRSEG,
    "tasks.vit": {"model": "test_vit", "input_size": SIDE},
}


@pytest.fixture(scope="module")
def everything() -> Registry:
    """What ships, with the codecs and adapters that a coarse-to-fine codec stands among."""
    shipped = {"core": own, "datasets": icm_datasets, "sicmh": icm_sicmh, "tasks": icm_tasks, "training": icm_training}
    return build_registry(path=[], extra={**shipped, "baselines": icm_baselines})


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with a folder of pictures in it: three of ImageNet's classes, one of each."""
    folder = tmp_path_factory.mktemp("work")
    for number, synset in enumerate(("n01440764", "n01443537", "n01484850")):
        for split in ("train", "val"):
            place = folder / "imagenet" / split / synset
            place.mkdir(parents=True)
            Image.effect_noise((80, 70), 40 + 20 * number).convert("RGB").save(place / "picture.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def trained(work: Path, everything: Registry) -> Train:
    """A recipe's run at toy width in runs/ of the working directory, trained once."""

    def run(name: str) -> RunFolder:
        out = work / "runs" / name
        if not out.exists():
            if name != ROOT:
                run(ROOT)
            recipe, home = find_recipe(name, everything)
            toy = toy_of(recipe, pipeline_of(recipe, home, everything).to_json())
            train(toy, Options(out, work, work, device="cpu", workers=0), everything, Console(file=io.StringIO()))
        return RunFolder(out)

    return run


def toy_of(recipe: RecipeSpec, spec: dict[str, Any]) -> RecipeSpec:
    """The same stages, losses, rates and starts; narrow networks, drawn pictures, few steps, no downloads."""
    parts = [spec["codec"], *(task["head"] for task in spec["tasks"].values())]
    for part in parts:
        if part["use"] in TOY:
            part["params"] = TOY[part["use"]]
    changes = {
        "pipeline": PipelineSpec.model_validate(spec),
        "precision": "32-true",
        "log_every": 1,
        "data": {name: toy_data(data) for name, data in recipe.data.items()},
        "stages": tuple(toy_stage(stage) for stage in recipe.stages),
    }
    return recipe.model_copy(update=changes)


def toy_data(data: DataSpec) -> DataSpec:
    if data.use == "datasets.imagenet":
        params = {"classes": "imagenet", "size": [SIDE, SIDE]}
        return DataSpec(use="datasets.folders", params=params, root="imagenet", split=data.split)
    return DataSpec(use="training.shapes", params={"count": 8, "size": SIDE + 8})


def toy_stage(stage: StageSpec) -> StageSpec:
    feeds = [
        feed.model_copy(
            update={
                "batch": 2,
                "augment": AugmentSpec.model_validate(
                    {**feed.augment.model_dump(), "crop": [SIDE, SIDE] if feed.augment.crop else None}
                ),
            }
        )
        for feed in stage.feeds
    ]
    start = stage.start and tuple(one for one in stage.start if one.pretrained is None)
    looked = stage.validate_on and stage.validate_on.model_copy(update={"limit": 1, "qualities": (1.0,)})
    schedule = ScheduleSpec(steps=STEPS, warmup=stage.schedule.warmup, shape=stage.schedule.shape)
    return stage.model_copy(update={"feeds": tuple(feeds), "start": start, "validate_on": looked, "schedule": schedule})


@pytest.mark.parametrize("name", NAMES)
def test_ten_steps_of_every_stage_train_what_the_stage_names_and_nothing_else(
    name: str, trained: Train, everything: Registry
) -> None:
    folder = trained(name)
    recipe, home = find_recipe(name, everything)
    toy = toy_of(recipe, pipeline_of(recipe, home, everything).to_json())
    pipe = build(toy.pipeline, everything)  # type: ignore[arg-type]
    names = {id(parameter): key for key, parameter in pipe.named_parameters()}
    before: dict[str, torch.Tensor] | None = None
    for stage in toy.stages:
        with (folder.stage(stage.name) / "log.csv").open() as file:
            rows = list(csv.DictReader(file))
        losses = [float(row["loss"]) for row in rows if row.get("loss")]
        assert len(losses) == STEPS and all(map(math.isfinite, losses)), stage.name
        after = load_file(folder.result(stage.name))
        if before is not None and (stage.start is None or (len(stage.start) == 1 and stage.start[0].stage)):
            trains = {names[id(one)] for group in groups_of(pipe, stage.train) for one in group.parameters}
            changed = {key for key in after if key in names.values() and not torch.equal(after[key], before[key])}
            assert changed and changed <= trains, stage.name
        before = after


def test_a_recipe_that_goes_on_from_a_run_takes_its_weights(trained: Train) -> None:
    """Ten steps at 1e-6 move a weight by no more than 1e-5."""
    first = load_file(trained(ROOT).result("segmentation"))
    later = load_file(trained("paper-cityscapes-256x512").result("segmentation"))
    key = "tasks.segmentation.head.projection.0.weight"
    assert not torch.equal(first[key], later[key])
    assert float((first[key] - later[key]).abs().max()) < 2e-5
    assert all(torch.equal(first[key], later[key]) for key in first if key.startswith("codec."))


def test_module_a_begins_with_the_coarse_to_fine_codec(trained: Train, work: Path, everything: Registry) -> None:
    """As docs/training.md has it: the four networks that the paper names."""
    weights = trained("paper-coarse-to-fine").result("codec")
    recipe, home = find_recipe(ROOT, everything)
    pipe = build(toy_of(recipe, pipeline_of(recipe, home, everything).to_json()).pipeline, everything)  # type: ignore[arg-type]
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    line = next(line for line in text.splitlines() if "stages.codec.start=" in line)
    starts = json.loads(line.partition("stages.codec.start=")[2].rstrip("'\\ "))
    named = [Start(StartSpec.model_validate(one), "") for one in starts]
    fill(pipe, named, Path, work, everything)
    stored = load_file(weights)
    own = pipe.state_dict()
    for part in ("encoder", "encoder_h1", "encoder_h2", "decoder_h2"):
        keys = [key for key in own if key.startswith(f"codec.{part}.")]
        assert keys and all(torch.equal(own[key], stored[key]) for key in keys), part


@pytest.mark.parametrize("adapter", ["sicmh.one_scale", "sicmh.two_scale"])
@pytest.mark.parametrize(("name", "task"), [("cityscapes", "segmentation"), ("imagenet", "classification")])
def test_the_figures_of_fusion_train_every_structure(
    name: str, task: str, adapter: str, trained: Train, work: Path, everything: Registry
) -> None:
    trained(ROOT)
    recipe, home = find_recipe(f"paper-fusion-{name}", everything)
    spec = pipeline_of(recipe, home, everything).to_json()
    spec["tasks"][task]["adapter"]["use"] = adapter
    toy = toy_of(recipe, spec)
    first = toy.stages[0].model_copy(update={"schedule": ScheduleSpec(steps=1)})
    out = work / f"{name}-{adapter}"
    options = Options(out, work, work, device="cpu", workers=0)
    train(toy.model_copy(update={"stages": (first,)}), options, everything, Console(file=io.StringIO()))
    assert RunFolder(out).result(first.name).is_file()
