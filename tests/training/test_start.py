"""Where the weights of a stage come from, and in which order."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from icm_core import Pipeline, Registry
from icm_core.errors import SpecError, WeightsError
from icm_training.checking import check
from icm_training.data import open_data
from icm_training.engine import pipeline_of
from icm_training.options import Options
from icm_training.recipe import DataSpec, RecipeSpec, StartSpec
from icm_training.start import Start, fill, starts_of
from icm_training.start import check as check_starts

Smoke = Callable[..., RecipeSpec]
BIAS = "tasks.coarse.adapter.decoder_side2.6.bias"


def start(**given: str) -> Start:
    return Start(StartSpec.model_validate(given), "stages[1].start[0]")


def bias(folder: Path, name: str, value: float) -> str:
    save_file({BIAS: torch.full((3,), value)}, folder / name)
    return name


def filled(pipe: Pipeline, registry: Registry, home: Path, *starts: Start) -> list[float]:
    """Values of the bias afterwards."""
    fill(pipe, starts, lambda stage: home / f"{stage}.safetensors", home, registry)
    found: list[float] = pipe.get_parameter(BIAS).tolist()
    return found


def test_a_later_start_overwrites_an_earlier_one(pipe: Pipeline, registry: Registry, tmp_path: Path) -> None:
    one, two = bias(tmp_path, "one.safetensors", 1.5), bias(tmp_path, "two.safetensors", -2.5)
    assert filled(pipe, registry, tmp_path, start(weights=one), start(stage="two")) == [-2.5] * 3
    assert filled(pipe, registry, tmp_path, start(weights=two), start(stage="one")) == [1.5] * 3


def test_weights_beside_the_recipe_count_before_those_of_here(
    pipe: Pipeline, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    name = bias(tmp_path / "home", "own.safetensors", 7.0)
    bias(tmp_path / "here", "own.safetensors", 8.0)
    monkeypatch.chdir(tmp_path / "here")
    assert filled(pipe, registry, tmp_path / "home", start(weights=name)) == [7.0] * 3
    (tmp_path / "home/own.safetensors").unlink()
    assert filled(pipe, registry, tmp_path / "home", start(weights=name)) == [8.0] * 3


def test_only_the_module_that_is_named_is_filled(pipe: Pipeline, registry: Registry, tmp_path: Path) -> None:
    before = {key: value.clone() for key, value in pipe.state_dict().items()}
    save_file({key: value + 1 for key, value in before.items()}, tmp_path / "w.safetensors")
    fill(pipe, [start(weights="w.safetensors", module="enhancement.gain")], lambda _: tmp_path, tmp_path, registry)
    changed = {key for key, value in pipe.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {key for key in before if key.startswith("enhancement.gain.")} and changed


def test_weights_of_something_else_are_refused(pipe: Pipeline, registry: Registry, tmp_path: Path) -> None:
    save_file({"conv.weight": torch.ones(2)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"^stages\[1\]\.start\[0\]: other\.safetensors holds no weight of pipeline"):
        filled(pipe, registry, tmp_path, start(weights="other.safetensors"))
    save_file({BIAS: torch.ones(1, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"has the shape \(1, 3\), and the pipeline needs \(3,\)"):
        filled(pipe, registry, tmp_path, start(weights="other.safetensors"))


@pytest.mark.parametrize("missing", ["codec.encoder.0.weight", "codec.encoder.0.bias", "codec.gain_h1.table"])
def test_a_module_starts_from_a_file_that_has_all_of_it(
    pipe: Pipeline, registry: Registry, tmp_path: Path, missing: str
) -> None:
    state = pipe.state_dict()
    save_file({key: value for key, value in state.items() if key != missing}, tmp_path / "w.safetensors")
    says = rf"^stages\[1\]\.start\[0\]: w\.safetensors lacks '{re.escape(missing)}', which the stage starts from$"
    begin = start(weights="w.safetensors", module="codec")
    with pytest.raises(WeightsError, match=says):
        check_starts(pipe, [begin], tmp_path, registry)
    with pytest.raises(WeightsError, match=says):
        filled(pipe, registry, tmp_path, begin)


def test_a_pipeline_without_weights_is_no_start(pipe: Pipeline, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "bare.json").write_text(json.dumps({**pipe.spec.to_json(), "name": "bare"}))
    with pytest.raises(WeightsError, match=r"^stages\[1\]\.start\[0\]: pipeline 'bare' has no weights yet$"):
        check_starts(pipe, [start(weights=str(tmp_path / "bare.json"))], tmp_path, registry)


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\xff" * 100])
def test_a_file_that_holds_no_weights_is_named_before_the_first_step(
    pipe: Pipeline, registry: Registry, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "text.safetensors").write_bytes(content)
    says = r"^stages\[1\]\.start\[0\]: .*text\.safetensors: not a readable safetensors file: "
    with pytest.raises(WeightsError, match=says):
        check_starts(pipe, [start(weights="text.safetensors")], tmp_path, registry)


@pytest.mark.parametrize("own", ["codec", "tasks.coarse"])
def test_a_module_that_is_not_there_is_named(pipe: Pipeline, registry: Registry, tmp_path: Path, own: str) -> None:
    name = bias(tmp_path, "w.safetensors", 1.0)
    for given in ({"weights": name, "module": f"{own}s"}, {"copy_of": own, "module": f"{own}s"}):
        with pytest.raises(
            SpecError, match=rf"^stages\[1\]\.start\[0\]: unknown module '{own}s'; did you mean '{own}'"
        ):
            filled(pipe, registry, tmp_path, start(**given))
    with pytest.raises(SpecError, match=r"unknown module 'codecs'"):
        filled(pipe, registry, tmp_path, start(copy_of="codecs", module=own))


def test_a_copy_is_of_the_values_of_now_and_leaves_its_source(
    pipe: Pipeline, registry: Registry, tmp_path: Path
) -> None:
    target = BIAS.replace("coarse", "segmentation")
    with torch.no_grad():
        pipe.get_parameter(BIAS).copy_(torch.tensor([1.0, 2.0, 3.0]))
    copied = start(copy_of="tasks.coarse.adapter", module="tasks.segmentation.adapter")
    assert filled(pipe, registry, tmp_path, copied) == [1.0, 2.0, 3.0]
    assert pipe.get_parameter(target).tolist() == [1.0, 2.0, 3.0]
    pipe.get_parameter(target).data.zero_()
    assert pipe.get_parameter(BIAS).tolist() == [1.0, 2.0, 3.0]


def test_a_stage_starts_where_the_one_before_it_ended_or_where_it_says(smoke: Smoke, recipe: RecipeSpec) -> None:
    assert [starts_of(recipe, index) for index in range(2)] == [
        [],
        [Start(StartSpec.model_validate({"stage": "joint"}), "stages[1].start")],
    ]
    assert starts_of(recipe, 3)[0].spec.stage == "coarse"
    own = [{"weights": "a.safetensors"}, {"stage": "joint", "module": "codec"}]
    for given, expected in (([], []), (own, ["stages[2].start[0]", "stages[2].start[1]"])):
        changed = smoke(**{"stages.coarse.start": given})
        assert [found.where for found in starts_of(changed, 2)] == expected
        assert [found.spec for found in starts_of(changed, 2)] == [StartSpec.model_validate(one) for one in given]
    begun = recipe.model_copy(update={"start": "w.safetensors"})
    assert starts_of(begun, 0) == [Start(StartSpec.model_validate({"weights": "w.safetensors"}), "start")]


@pytest.fixture
def recipe(smoke: Smoke) -> RecipeSpec:
    return smoke()


def test_weights_that_a_pipeline_takes_from_another_are_looked_for(
    pipe: Pipeline, registry: Registry, tmp_path: Path
) -> None:
    """The one that extends has its own; those of the base are not there."""
    base = {**pipe.spec.to_json(), "name": "base", "weights": ["base.safetensors"]}
    (tmp_path / "base.json").write_text(json.dumps(base))
    own = {"icm": 1, "name": "own", "extends": "base.json", "weights": ["own.safetensors"]}
    own["tasks"] = {"coarse": {"head": {"use": "sicmh.coarse", "params": {"channels": 12}}}}
    (tmp_path / "own.json").write_text(json.dumps(own))
    save_file({BIAS: torch.zeros(3)}, tmp_path / "own.safetensors")
    with pytest.raises(WeightsError, match=r"base\.safetensors: the weights are missing"):
        check_starts(pipe, [start(weights=str(tmp_path / "own.json"))], tmp_path, registry)


def test_what_goes_wrong_with_weights_before_the_first_step_is_not_kept_back(
    pipe: Pipeline, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for a component that only real parameters can be filled of: it is filled in its turn."""

    def fails(*_: object) -> None:
        raise ZeroDivisionError("a mistake of somebody's component")

    bias(tmp_path, "w.safetensors", 1.0)
    for name in ("adopt", "start_from"):
        monkeypatch.setattr(type(pipe.codec), name, fails)
    with pytest.raises(ZeroDivisionError):
        check_starts(pipe, [start(weights="w.safetensors", module="codec")], tmp_path, registry)
    check_starts(pipe, [start(pretrained="klt", module="codec")], tmp_path, registry)
    with pytest.raises(ZeroDivisionError):
        filled(pipe, registry, tmp_path, start(pretrained="klt", module="codec"))


def test_a_stage_may_start_from_one_that_is_done(recipe: RecipeSpec, registry: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "run/segmentation"
    folder.mkdir(parents=True)
    for name in ("weights.safetensors", "done.json"):
        (folder / name).touch()
    options = Options(tmp_path / "run", tmp_path, tmp_path)
    check(recipe, pipeline_of(recipe, tmp_path, registry), ["coarse"], options, registry)


def test_a_spec_is_found_beside_the_recipe(
    recipe: RecipeSpec, registry: Registry, pipe: Pipeline, tmp_path: Path
) -> None:
    (tmp_path / "mine.json").write_text(json.dumps({**pipe.spec.to_json(), "name": "own"}))
    named = recipe.model_copy(update={"pipeline": "mine.json"})
    assert pipeline_of(named, tmp_path, registry).name == "own"


def test_data_are_of_the_split_that_the_recipe_names(registry: Registry, tmp_path: Path) -> None:
    spec = DataSpec.model_validate({"use": "training.shapes", "split": "val"})
    assert open_data("x", spec, tmp_path, registry).split == "val"
