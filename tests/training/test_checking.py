"""Before the first step of the first stage: everything that is wrong in the last one is said, with its path."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import icm_things
import pytest
import torch
from icm_things import Things
from safetensors.torch import save_file

import icm_datasets
import icm_sicmh
import icm_tasks
from icm_core import Registry, build, build_registry
from icm_core.errors import IcmError
from icm_core.interfaces import Nest, Sample
from icm_core.plugins import own
from icm_core.spec.model import PipelineSpec
from icm_training import plugin as icm_training
from icm_training.checking import check
from icm_training.engine import pipeline_of
from icm_training.finding import find_recipe
from icm_training.folder import RunFolder
from icm_training.options import Options
from icm_training.recipe import RecipeSpec
from icm_training.shapes import Shapes

Smoke = Callable[..., RecipeSpec]
Run = Callable[..., RunFolder]
LOSSES = "stages.fine.feeds.0.losses"


class Odd(Things):
    """A data set that is not what it says it is."""

    name = "things.odd"

    def __getitem__(self, number: int) -> Sample:
        sample = super().__getitem__(number)
        target: Nest = {} if self.params.kind == "things.boxes" else sample.target
        return Sample(sample.key, sample.picture, target)


class Wide(Shapes):
    """Pictures that are wider than high."""

    name = "things.wide"

    def __getitem__(self, number: int) -> Sample:
        whole = super().__getitem__(number)
        assert whole.target is not None
        return Sample(whole.key, whole.picture[:, :40], whole.target[:40])


class Absent(Things):
    """What others' data sets may let through, here and when a picture is read."""

    name = "things.absent"

    def __init__(self, *_: object) -> None:
        raise RuntimeError("the server is gone")


class Unreadable(Things):
    name = "things.unreadable"

    def __getitem__(self, number: int) -> Sample:
        raise RuntimeError("the disk is gone")


@pytest.fixture(scope="module")
def installed() -> Registry:
    extra = {"core": own, "datasets": icm_datasets, "sicmh": icm_sicmh, "tasks": icm_tasks, "training": icm_training}
    odd = type("odd", (), {"icm_datasets": staticmethod(icm_things.hookimpl(lambda: [Odd, Wide, Absent, Unreadable]))})
    return build_registry(path=[], extra={**extra, "things": icm_things, "odd": odd})


def said(recipe: RecipeSpec, registry: Registry, home: Path = Path(), **options: Any) -> str:
    """What is wrong with all stages of a recipe, in one line."""
    assert isinstance(recipe.pipeline, PipelineSpec)
    names = [stage.name for stage in recipe.stages]
    with pytest.raises(IcmError) as caught:
        check(recipe, recipe.pipeline, names, Options(home / "run", home, home, **options), registry)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {f"{LOSSES}.1.use": "training.rte"},
            "stages[3].feeds[0].losses[1].use: unknown loss 'training.rte'; did you mean 'training.rate'",
        ),
        ({f"{LOSSES}.0.params.of": "fin"}, "stages[3].feeds[0].losses[0].params.of is 'fin'; it should be"),
        (
            {f"{LOSSES}.0": {"use": "training.head"}},
            "stages[3].feeds[0].losses[0]: loss 'training.head' needs the task",
        ),
        ({f"{LOSSES}.0.task": "coarze"}, "stages[3].feeds[0].losses[0].task: unknown task 'coarze'; did you mean"),
        (
            {f"{LOSSES}.0": {"use": "training.cross_entropy", "task": "segmentation", "params": {"output": 2}}},
            "stages[3].feeds[0].losses[0]: output is 2; the head of task 'segmentation' has 2, counted from 0",
        ),
        (
            {f"{LOSSES}.0": {"use": "training.features", "task": "coarse", "params": {"stages": [1, 9]}}},
            "stages[3].feeds[0].losses[0]: timm network 'tf_efficientnet_lite0' cannot be built with features_only",
        ),
        (
            {f"{LOSSES}.0": {"use": "training.features", "task": "coarse", "params": {"model": "resnet"}}},
            "stages[3].feeds[0].losses[0]: timm has no network named 'resnet'; the nearest name is",
        ),
        (
            {f"{LOSSES}.0": {"use": "training.features", "task": "coarse", "params": {"stages": [2, 1]}}},
            "stages[3].feeds[0].losses[0].params is {'stages': [2, 1]}; stages are (2, 1); they should rise",
        ),
        (
            {f"{LOSSES}.0": {"use": "training.features", "task": "coarse", "params": {"stages": [1, 1]}}},
            "stages[3].feeds[0].losses[0].params is {'stages': [1, 1]}; stages are (1, 1); they should rise",
        ),
        (
            {f"{LOSSES}.0": {"use": "training.features", "task": "coarse", "params": {"weights": [1.0, 2.0]}}},
            "stages[3].feeds[0].losses[0].params is {'weights': [1.0, 2.0]}; weights has 2 for 3 stages; give one each",
        ),
        (
            {"data.others": {"use": "things.absent"}, "stages.fine.feeds.0.data": ["others"]},
            "data.others: the server is gone",
        ),
        (
            {"data.others": {"use": "things.unreadable"}, "stages.fine.feeds.0.data": ["others"]},
            "data.others: the disk is gone",
        ),
        ({"stages.fine.train.1.modules": ["enhancement.gian"]}, "stages[3].train[1].modules[0]: unknown module 'enh"),
        ({"stages.fine.quality.range": [1, 3]}, "stages[3].quality.range is 1 to 3; the codec has 1 to 2"),
        (
            {"data.others": {"use": "things.odd"}, "stages.fine.feeds.0.data": ["others"]},
            "data.others: the target of things/0 has nothing in it",
        ),
        (
            {"data.others": {"use": "things.things", "params": {"count": 0}}, "stages.fine.feeds.0.data": ["others"]},
            "data.others: there is no picture in it",
        ),
        (
            {"data.others": {"use": "datasets.pictures", "root": "nowhere"}, "stages.fine.feeds.0.data": ["others"]},
            "data.others: datasets.pictures expects the folder ",
        ),
        (
            {"data.others": {"use": "things.things"}, f"{LOSSES}.0": {"use": "training.head", "task": "segmentation"}}
            | {"stages.fine.feeds.0.data": ["others"]},
            "stages[3].feeds[0].losses[0]: task 'segmentation' is of kind segmentation, and the feed's data sets have "
            "targets of kind things.boxes",
        ),
        ({"stages.fine.start": [{"weights": "sicmh-smal"}]}, "stages[3].start[0]: unknown pipeline 'sicmh-smal'; did"),
        ({"stages.fine.start": [{"weights": "absent.json"}]}, "stages[3].start[0]: "),
        ({"stages.fine.start": [{"weights": "text.safetensors"}]}, "stages[3].start[0]: "),
        (
            {"stages.fine.start": [{"weights": "other.safetensors"}]},
            "stages[3].start[0]: other.safetensors: 'enhancement.gain.values' has the shape (7, 7), and the pipeline",
        ),
        (
            {"stages.fine.start": [{"stage": "joint"}, {"weights": "other.safetensors", "module": "codec"}]},
            "stages[3].start[1]: other.safetensors lacks 'codec.",
        ),
        (
            {"stages.fine.start": [{"stage": "joint", "module": "codex"}]},
            "stages[3].start[0]: unknown module 'codex'; ",
        ),
        (
            {"stages.fine.start": [{"copy_of": "tasks.coarse.heads", "module": "tasks.coarse.head"}]},
            "stages[3].start[0]: unknown module 'tasks.coarse.heads'; did you mean 'tasks.coarse.head'?",
        ),
        ({"start": "absent.safetensors"}, "start: absent.safetensors: the weights are missing"),
    ],
)
def test_what_is_wrong_in_the_last_stage_is_said_first(
    smoke: Smoke, installed: Registry, tmp_path: Path, changes: dict[str, object], says: str, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.safetensors").write_text("no tensors")
    recipe = smoke(**changes)
    names = [key for key in _keys(recipe, installed) if key.startswith("enhancement.gain.")]
    save_file({names[0]: torch.zeros(7, 7)}, tmp_path / "other.safetensors")
    found = said(recipe, installed)
    assert found.startswith(says.replace("enhancement.gain.values", names[0]))


def _keys(recipe: RecipeSpec, registry: Registry) -> list[str]:
    assert isinstance(recipe.pipeline, PipelineSpec)
    with torch.device("meta"):
        return [*build(recipe.pipeline, registry).state_dict()]


def test_nothing_is_written_or_trained_before_all_is_looked_at(smoke: Smoke, run: Run, tmp_path: Path) -> None:
    with pytest.raises(IcmError, match=r"stages\[3\]\.feeds\[0\]\.losses\[0\]\.use: unknown loss"):
        run(smoke(**{f"{LOSSES}.0.use": "training.nothing"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_every_stages_weights_are_looked_for(smoke: Smoke, installed: Registry) -> None:
    """Not those of the last alone."""
    for name, number in (("joint", 0), ("coarse", 2)):
        recipe = smoke(**{f"stages.{name}.start": [{"weights": "absent.safetensors"}]})
        assert said(recipe, installed).startswith(f"stages[{number}].start[0]: absent.safetensors: the weights are mis")


def test_stages_that_are_not_trained_are_not_looked_at(smoke: Smoke, installed: Registry, tmp_path: Path) -> None:
    recipe = smoke(**{f"{LOSSES}.0.use": "training.nothing", "data.gone": {"use": "datasets.pictures", "root": "gone"}})
    assert isinstance(recipe.pipeline, PipelineSpec)
    check(recipe, recipe.pipeline, ["joint", "segmentation"], Options(tmp_path / "run", tmp_path, tmp_path), installed)


def test_every_process_has_to_have_as_many_pictures_as_the_others(
    smoke: Smoke, installed: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    for batch in (4, 2, 7):
        found = said(smoke(**{"stages.joint.feeds.0.batch": batch}), installed, tmp_path)
        assert found == (f"stages[0].feeds[0].batch is {batch}; it should be a multiple of the number of processes, 3")
    assert "stages[1]" in said(smoke(**{"stages.joint.feeds.0.batch": 6}), installed, tmp_path)


def test_pictures_need_not_be_square(smoke: Smoke, installed: Registry, tmp_path: Path) -> None:
    recipe = smoke(**{"data.shapes": {"use": "things.wide"}, "stages.joint.validate_on": None})
    assert isinstance(recipe.pipeline, PipelineSpec)
    check(recipe, recipe.pipeline, ["joint"], Options(tmp_path / "run", tmp_path, tmp_path), installed)


def test_a_stage_may_start_from_one_that_is_given(smoke: Smoke, installed: Registry, tmp_path: Path) -> None:
    recipe = smoke()
    assert isinstance(recipe.pipeline, PipelineSpec)
    options = Options(tmp_path / "run", tmp_path, tmp_path, given={"segmentation": tmp_path / "other"})
    check(recipe, recipe.pipeline, ["coarse"], options, installed)


def test_starts_of_every_sort_are_looked_at_and_pass(smoke: Smoke, installed: Registry, tmp_path: Path) -> None:
    """Without reading a weight: copies, block transforms, ImageNet features of the package."""
    starts = [
        {"pretrained": "klt", "module": "codec"},
        {"pretrained": "imagenet", "module": "tasks.segmentation.head"},
        {"copy_of": "tasks.coarse.adapter", "module": "tasks.segmentation.adapter"},
    ]
    recipe = smoke(**{"stages.joint.start": starts})
    assert isinstance(recipe.pipeline, PipelineSpec)
    check(recipe, recipe.pipeline, ["joint"], Options(tmp_path / "run", tmp_path, tmp_path), installed)


def test_a_look_takes_no_long_time(smoke: Smoke, installed: Registry, tmp_path: Path) -> None:
    recipe = smoke()
    assert isinstance(recipe.pipeline, PipelineSpec)
    start = time.perf_counter()
    names = [stage.name for stage in recipe.stages]
    check(recipe, recipe.pipeline, names, Options(tmp_path / "run", tmp_path, tmp_path), installed)
    assert time.perf_counter() - start < 20


def test_shipped_recipes_can_be_trained_but_for_their_data(tmp_path: Path) -> None:
    """`tft-camvid` on drawn pictures in place of CamVid's: shipped weights fit, losses fit, modules are there."""
    registry = build_registry()
    things = {"use": "training.shapes", "params": {"count": 2, "size": 64}}
    recipe, home = find_recipe("tft-camvid", registry)
    spec = pipeline_of(recipe, home, registry)
    names = [stage.name for stage in recipe.stages]
    options = Options(tmp_path / "run", tmp_path, home)
    swapped = RecipeSpec.model_validate(
        {**json.loads(recipe.model_dump_json()), "data": dict.fromkeys(recipe.data, things)}
    )
    with pytest.raises(IcmError, match="the head has 11 classes, and they are not the data set's 3"):
        check(swapped, spec, names, options, registry)
