"""Exports of run folders as they may be: several files, files that parameters name, stages that are not done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from pydantic import Field
from safetensors.torch import load_file
from typer.testing import CliRunner

import icm_core
from icm_core import Pipeline, Registry, build, build_registry, hookimpl
from icm_core.cli import app
from icm_core.interfaces import SpecPath, TaskHead
from icm_core.spec.model import PipelineSpec
from icm_sicmh.coarse import Coarse
from icm_training.card import model_card
from icm_training.checkpoint import write_tensors
from icm_training.engine import pipeline_of
from icm_training.export import export, training_record
from icm_training.folder import RunFolder, record_of
from icm_training.recipe import RecipeSpec

Smoke = Callable[..., RecipeSpec]
WithPlugin = Callable[[str, object], Registry]
DONE = {"steps": 3, "seconds": 90.0, "device": "4 threads", "pictures_a_second": 2.5}


def run_of(recipe: RecipeSpec, folder: Path, registry: Registry, *done: str, tables: bool = False) -> Path:
    """A run whose stages ended with random weights, each with its own; without training."""
    assert isinstance(recipe.pipeline, PipelineSpec)
    run = RunFolder(folder)
    run.open(recipe, recipe.pipeline, resume=False, record=record_of(recipe, "4 threads"))
    for number, stage in enumerate(done):
        torch.manual_seed(number)
        pipe = build(recipe.pipeline, registry)
        if tables:
            pipe.codec.freeze_tables()
        run.stage(stage).mkdir()
        write_tensors(run.result(stage), dict(pipe.state_dict()))
        run.write_json(f"{stage}/done.json", DONE)
    return folder


def weights_of(spec: Path) -> dict[str, torch.Tensor]:
    return {key: value for path in spec.parent.glob("*.safetensors") for key, value in load_file(path).items()}


def test_each_file_holds_what_the_recipe_says(smoke: Smoke, registry: Registry, tmp_path: Path) -> None:
    files = {"base": {"prefixes": ["codec", "tasks"]}, "more": {"prefixes": ["enhancement"]}}
    found = export(run_of(smoke(files=files), tmp_path / "run", registry, "fine"), tmp_path / "out", registry)
    assert [path.name for path in found.files] == [
        "smoke.json",
        "smoke.base.safetensors",
        "smoke.more.safetensors",
        "smoke.training.json",
        "README.md",
    ]
    base, more = (load_file(path) for path in found.files[1:3])
    assert {key.partition(".")[0] for key in base} == {"codec", "tasks"}
    assert {key.partition(".")[0] for key in more} == {"enhancement"}
    assert json.loads(found.spec.read_text())["weights"] == ["smoke.base.safetensors", "smoke.more.safetensors"]
    assert icm_core.load(found.spec, device="cpu").name == "smoke"


def test_a_stage_that_was_broken_off_is_not_on_record(smoke: Smoke, registry: Registry, tmp_path: Path) -> None:
    run = run_of(smoke(), tmp_path / "run", registry, "joint")
    (run / "segmentation").mkdir()
    (run / "segmentation/log.csv").write_text("step,loss\n1,2\n")
    found = export(run, tmp_path / "out", registry)
    assert json.loads(found.spec.with_suffix(".training.json").read_text())["stages"].keys() == {"joint"}


def test_a_record_has_the_last_figure_of_each_column(smoke: Smoke, registry: Registry, tmp_path: Path) -> None:
    run = run_of(smoke(), tmp_path / "run", registry, "joint")
    (run / "joint/log.csv").write_text("step,loss,val bpp q1\n10,9.5,\n10,,0.5\n20,4.5,\n20,,0.25\n30,1.5,\n")
    record = training_record(RunFolder(run), smoke())
    assert record["stages"]["joint"]["last"] == {"step": 30, "loss": 1.5, "val bpp q1": 0.25}


@pytest.mark.parametrize(
    ("modules", "anew"),
    [(["A"], True), (["tasks.coarse.head", "codec.gain_h1"], True), (["tasks.coarse.head"], False)],
)
def test_tables_are_made_anew_if_any_stage_trained_the_codec(
    smoke: Smoke, registry: Registry, tmp_path: Path, modules: list[str], anew: bool
) -> None:
    """The last stage trains the enhancement alone; the tables here are of the codec as it was."""
    recipe = smoke(**{"stages.joint.train": [{"modules": modules, "lr": 1}]})
    recipe = recipe.model_copy(update={"stages": (recipe.stages[0], recipe.stages[3])})
    run = RunFolder(run_of(recipe, tmp_path / "run", registry, "joint", "fine", tables=True))
    state = load_file(run.result("fine"))
    name = "codec.h2_cdf"
    assert int(state[name][0, 0, 32:34].diff()) > 1
    state[name][0, 0, 32] += 1
    write_tensors(run.result("fine"), state)
    exported = weights_of(export(run.path, tmp_path / "out", registry).spec)
    assert torch.equal(exported[name], state[name]) == (not anew)


def test_a_codec_without_tables_gets_some(smoke: Smoke, registry: Registry, tmp_path: Path) -> None:
    """Also where nothing of it was trained."""
    recipe = smoke(**{"stages.joint.train": [{"modules": ["tasks.coarse.head"], "lr": 1}]})
    recipe = recipe.model_copy(update={"stages": recipe.stages[:1]})
    found = export(run_of(recipe, tmp_path / "run", registry, "joint"), tmp_path / "out", registry)
    pipe = icm_core.load(found.spec, device="cpu")
    assert bool(pipe.codec.get_buffer("h2_cdf").any())
    assert pipe.encode(torch.zeros(3, 64, 64, dtype=torch.uint8), quality=1)


class FromFile(Coarse):
    """A head that is made from a file beside the spec."""

    name: ClassVar[str] = "lab.from_file"

    class Params(Coarse.Params):
        """And the file."""

        file: SpecPath = Field(description="a file")

    def __init__(self, params: Params, features: Any) -> None:
        super().__init__(params, features)
        self.text = params.file.path.read_text()


class Lab:
    @staticmethod
    @hookimpl
    def icm_heads() -> list[type[TaskHead]]:
        return [FromFile]


@pytest.mark.parametrize("name", [None, "other"])
def test_files_that_parameters_name_are_exported_too(
    smoke: Smoke, with_plugin: WithPlugin, tmp_path: Path, name: str | None
) -> None:
    installed = with_plugin("lab", Lab)
    recipe = smoke()
    assert isinstance(recipe.pipeline, PipelineSpec)
    data = recipe.pipeline.to_json()
    head = {"use": "lab.from_file", "params": {**data["tasks"]["coarse"]["head"].get("params", {}), "file": "own.txt"}}
    data["tasks"]["coarse"]["head"] = head
    (tmp_path / "own.txt").write_text("mine")
    spec = icm_core.parse_spec(data).with_files({"tasks.coarse.head.params.file": tmp_path / "own.txt"})
    run = run_of(recipe.model_copy(update={"pipeline": spec}), tmp_path / "run", installed, "fine")
    found = export(run, tmp_path / "out", installed, name=name)
    assert found.spec.name == f"{name or 'smoke'}.json"
    assert (tmp_path / "out/own.txt").read_text() == "mine" and tmp_path / "out/own.txt" in found.files


def test_files_beside_a_recipe_are_those_of_the_pipeline_in_it(
    smoke: Smoke, with_plugin: WithPlugin, tmp_path: Path
) -> None:
    installed = with_plugin("lab", Lab)
    recipe = smoke()
    assert isinstance(recipe.pipeline, PipelineSpec)
    data = recipe.pipeline.to_json()
    data["tasks"]["coarse"]["head"] = {"use": "lab.from_file", "params": {"file": "own.txt"}}
    inside = recipe.model_copy(update={"pipeline": icm_core.parse_spec(data)})
    found = pipeline_of(inside, tmp_path / "home", installed)
    assert dict(found.files) == {"tasks.coarse.head.params.file": tmp_path / "home/own.txt"}


def test_weights_of_another_pipeline_are_not_exported(smoke: Smoke, registry: Registry, tmp_path: Path) -> None:
    run = RunFolder(run_of(smoke(), tmp_path / "run", registry, "fine"))
    state = load_file(run.result("fine"))
    del state["codec.encoder.0.weight"]
    write_tensors(run.result("fine"), state)
    with pytest.raises(RuntimeError, match=r"Missing key\(s\) in state_dict: \"codec\.encoder\.0\.weight\""):
        export(run.path, tmp_path / "out", registry)
    assert not (tmp_path / "out").exists()


def test_the_command_exports_the_stage_and_the_name_that_are_asked_for(
    smoke: Smoke, registry: Registry, tmp_path: Path
) -> None:
    run = run_of(smoke(), tmp_path / "run", registry, "joint", "segmentation", "coarse", "fine")
    words = ["export", str(run), "-o", str(tmp_path / "out"), "--stage", "segmentation", "--name", "early"]
    found = CliRunner().invoke(app, words, catch_exceptions=False)
    assert found.exit_code == 0 and f"{tmp_path / 'out/early.json'}  " in found.output
    own, trained = weights_of(tmp_path / "out/early.json"), load_file(RunFolder(run).result("segmentation"))
    key = "enhancement.decoder_r.0.weight"
    assert torch.equal(own[key], trained[key].half())


def test_the_command_says_why_a_task_has_no_onnx_file(smoke: Smoke, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="pip install icm-framework[onnx]")
    pytest.importorskip("onnxruntime", reason="pip install icm-framework[onnx]")
    behind = {"use": "core.decoded_picture", "params": {"of": "fine"}}
    recipe = smoke(**{"pipeline.tasks.segmentation.adapter": behind})
    everything = build_registry()
    made = export(run_of(recipe, tmp_path / "run", everything, "fine"), tmp_path / "out", everything)
    words = ["export", str(made.spec), "--onnx", "-o", str(tmp_path / "onnx"), "--size", "64", "64"]
    found = CliRunner().invoke(app, words, catch_exceptions=False)
    why = "its adapter reads the fine picture, which the base layer alone does not give"
    assert found.exit_code == 0 and f"segmentation was not written: {why}" in " ".join(found.output.split())
    assert {path.name for path in (tmp_path / "onnx").iterdir()} == {
        "smoke.encoder.onnx",
        "smoke.coarse.onnx",
        "smoke.camera.npz",
    }


@pytest.fixture
def card(smoke: Smoke, pipe: Pipeline) -> Callable[..., str]:
    """The card of a recipe with changes; what a record says besides."""

    def text(changes: dict[str, object], **record: object) -> str:
        recipe = smoke(**changes)
        whole = {"stages": {}, "packages": {"torch": "2"}, "command": "icm train x", **record}
        return model_card(pipe, recipe, whole, ["smoke.safetensors"])

    return text


def test_a_card_names_seed_and_state_of_the_source(card: Callable[..., str]) -> None:
    commit = "0123456789abcdef"
    assert "Recipe `smoke`, seed 31, source 0123456789ab with changes: `icm train x`.\ntorch 2.\n" in card(
        {"seed": 31}, source={"commit": commit, "changed": True}
    )
    assert "seed 31, source 0123456789ab: `" in card({"seed": 31}, source={"commit": commit, "changed": False})
    assert "seed 31: `icm" in card({"seed": 31}, source=None)


def test_what_was_trained_on_is_not_looked_at_besides(card: Callable[..., str]) -> None:
    looks = {"data": "shapes", "every": 10, "limit": 2, "qualities": [1.0]}
    assert "Looked at" not in card({"stages.joint.validate_on": looks})
    feeds = {"stages.fine.feeds.0.data": [{"name": "others", "times": 3}], "data.others.split": "val"}
    text = card(feeds)
    assert "Trained on `training.shapes`, train (shapes); `training.shapes`, val (others)." in text
    assert "Looked at" not in text


def test_a_stage_is_shown_with_its_last_figures_and_without_times_and_rates(card: Callable[..., str]) -> None:
    shares = {"data share": 0.1, "forward share": 0.6, "backward share": 0.3, "pictures/s": 7.0}
    last = {"step": 3, "loss": 8.25, "lr": 0.5, "gradient": 2.0, "mse/coarse": 12.3456, **shares}
    text = card({}, stages={"joint": {**DONE, "last": last}})
    assert "\n| joint | 3 | 1.5 | 4 threads | 2.5 | mse/coarse 12.3 |\n" in text
