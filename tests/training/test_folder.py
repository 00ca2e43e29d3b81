"""The folder of a run: what it keeps of where the run comes from, and stages that another run has trained."""

from __future__ import annotations

import json
import platform
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from icm_core import InputError, Registry, parse_spec
from icm_core.spec.model import PipelineSpec
from icm_training import folder as folders
from icm_training.engine import train
from icm_training.folder import RunFolder, device_name, record_of
from icm_training.options import Options
from icm_training.recipe import RecipeSpec

Smoke = Callable[..., RecipeSpec]


def pipeline(recipe: RecipeSpec) -> PipelineSpec:
    assert isinstance(recipe.pipeline, PipelineSpec)
    return recipe.pipeline


def result(stage: Path, **texts: str) -> Path:
    """Files of a stage that is done."""
    stage.mkdir(parents=True)
    for name, text in {"weights.safetensors": "w", "done.json": "{}", **texts}.items():
        (stage / name).write_text(text)
    return stage


@pytest.mark.parametrize("missing", ["weights.safetensors", "done.json"])
def test_a_stage_is_done_with_its_weights_and_its_record(tmp_path: Path, missing: str) -> None:
    result(tmp_path / "joint")
    assert RunFolder(tmp_path).is_done("joint")
    (tmp_path / "joint" / missing).unlink()
    assert not RunFolder(tmp_path).is_done("joint")


def test_every_resumption_is_on_record(smoke: Smoke, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    for number in range(3):
        run.open(smoke(), pipeline(smoke()), resume=number > 0, record={"number": number})
    record = json.loads((run.path / "run.json").read_text())
    assert record == {"number": 0, "resumed": [{"number": 1}, {"number": 2}]}


def test_files_that_parameters_name_lie_beside_the_pipelines_spec(smoke: Smoke, tmp_path: Path) -> None:
    (tmp_path / "mine.bin").write_bytes(b"network")
    spec = pipeline(smoke()).to_json()
    spec["codec"]["params"] = {"file": "nets/own.bin"}
    named = parse_spec(spec).with_files({"codec.params.file": tmp_path / "mine.bin"})
    RunFolder(tmp_path / "run").open(smoke(), named, resume=False, record={})
    assert (tmp_path / "run/nets/own.bin").read_bytes() == b"network"


def test_what_differs_from_the_run_in_the_folder_is_named(smoke: Smoke, tmp_path: Path) -> None:
    run, small = RunFolder(tmp_path / "run"), {"data.shapes.params": {"count": 24}}
    run.open(smoke(**small), pipeline(smoke()), resume=False, record={})
    other = smoke(**{"data.shapes.params": {"count": 24, "size": 32}, "stages.fine.clip": None})
    with pytest.raises(InputError) as caught:
        run.open(other, pipeline(smoke()), resume=True, record={})
    assert str(caught.value).endswith("another recipe; what differs: data.shapes.params.size, stages[3].clip")


def test_a_list_of_another_length_differs_as_a_whole(smoke: Smoke, tmp_path: Path) -> None:
    run, other = RunFolder(tmp_path / "run"), smoke(**{"stages.joint.train.0.modules": ["A"]})
    run.open(smoke(), pipeline(smoke()), resume=False, record={})
    with pytest.raises(InputError, match=r"another recipe; what differs: stages\[0\]\.train\[0\]\.modules$"):
        run.open(other, pipeline(smoke()), resume=True, record={})


def test_a_record_says_command_seed_and_state_of_the_source(
    smoke: Smoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/bin/icm", "train", "my recipe.json", "-o", "run"])
    monkeypatch.chdir(tmp_path)  # no checkout, or another one
    record = record_of(smoke(seed=11), "2 threads")
    assert record["command"] == "icm train 'my recipe.json' -o run"
    assert (record["recipe"], record["seed"], record["device"]) == ("smoke", 11, "2 threads")
    assert record["packages"].keys() == {*folders.PACKAGES}
    source = Path(folders.__file__).parent

    def git(*words: str) -> str:
        found = subprocess.run(["git", "-C", str(source), *words], capture_output=True, text=True, check=False)
        if found.returncode:
            pytest.skip("the source is no checkout of git")
        return found.stdout.strip()

    commit, changed = git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--", "."))
    assert record["source"] == {"commit": commit, "changed": changed}


def test_a_record_says_the_version_of_each_package_or_that_it_is_missing(
    smoke: Smoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "PACKAGES", ("numpy", "no-such-package"))
    found = record_of(smoke(), "cpu")
    assert found["packages"] == {"numpy": numpy.__version__, "no-such-package": "not installed"}
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))


def test_where_the_source_is_no_checkout_nothing_is_said_of_it(smoke: Smoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")  # no git either
    assert record_of(smoke(), "cpu")["source"] is None


def test_a_cpu_is_named_by_its_threads_and_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 13)
    assert device_name(torch.device("cpu")) == f"13 threads of a {platform.machine()} CPU"


def test_a_folder_whose_making_was_broken_off_holds_no_run(smoke: Smoke, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with pytest.raises(TypeError):
        run.open(smoke(), pipeline(smoke()), resume=False, record={"no JSON": object()})
    assert not (run.path / "recipe.json").exists()
    with pytest.raises(InputError, match="is not empty and holds no run; choose another folder"):
        run.open(smoke(), pipeline(smoke()), resume=True, record={})


def test_a_run_is_begun_once_unless_it_is_resumed(smoke: Smoke, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.open(smoke(), pipeline(smoke()), resume=False, record={"number": 1})
    with pytest.raises(InputError, match="holds a run already; --resume goes on with it, or choose another folder"):
        run.open(smoke(), pipeline(smoke()), resume=False, record={"number": 2})
    assert json.loads((run.path / "run.json").read_text()) == {"number": 1}


def test_a_full_disk_costs_no_record(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_json("run.json", {"seed": 5})
    assert (tmp_path / "run.json").read_text() == '{\n "seed": 5\n}\n'
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(InputError, match=r"cannot write .*run\.json"):
            run.write_json("run.json", ["long"] * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert json.loads((tmp_path / "run.json").read_text()) == {"seed": 5}


def test_a_stages_files_lie_in_a_folder_of_its_name(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert (run.stage("joint"), run.result("joint")) == (tmp_path / "joint", tmp_path / "joint/weights.safetensors")


def test_a_stage_is_taken_over_once_with_its_log(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.take("joint", result(tmp_path / "other", **{"log.csv": "step\n1\n", "step-000000001.safetensors": "x"}))
    taken = {path.name: path.read_text() for path in (tmp_path / "run/joint").iterdir()}
    assert taken == {"weights.safetensors": "w", "done.json": "{}", "log.csv": "step\n1\n"}
    run.take("joint", result(tmp_path / "third", **{"weights.safetensors": "another"}))
    assert run.result("joint").read_text() == "w"
    with pytest.raises(InputError, match=r"stage 'fine' cannot be taken over: .*nowhere holds no result"):
        run.take("fine", tmp_path / "nowhere")


def test_a_stage_counts_as_done_only_when_all_of_it_was_taken_over(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    (tmp_path / "run/joint/log.csv").mkdir(parents=True)  # no file can take its place
    with pytest.raises((InputError, OSError)):
        run.take("joint", result(tmp_path / "other", **{"log.csv": "step\n1\n"}))
    assert not run.is_done("joint")


def test_a_folder_with_anything_in_it_is_no_place_for_a_run(smoke: Smoke, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    (run.path / "holiday.jpg").touch()
    with pytest.raises(InputError, match="is not empty and holds no run; choose another folder"):
        run.open(smoke(), pipeline(smoke()), resume=False, record={})
    assert [path.name for path in run.path.iterdir()] == ["holiday.jpg"]


def test_a_given_stage_is_neither_looked_at_nor_trained(
    smoke: Smoke, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["icm", "train"])
    recipe = smoke(**{"stages.joint.feeds.0.losses.0.use": "training.nothing"})
    given = {"joint": result(tmp_path / "other")}
    options = Options(tmp_path / "run", tmp_path, tmp_path, stages=("joint",), device="cpu", given=given)
    run = train(recipe, options, registry)
    assert run.is_done("joint") and run.result("joint").read_text() == "w"
    record: dict[str, Any] = json.loads((run.path / "run.json").read_text())
    assert "threads of a" in record["device"]
