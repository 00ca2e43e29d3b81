"""``icm train``: what a user gets wrong is one sentence and exit code 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from icm_core import Registry, build_registry
from icm_core.cli import app
from icm_training.engine import Options
from icm_training.folder import RunFolder
from icm_training.recipe import RecipeSpec

CPU = ("--device", "cpu", "--workers", "0")
SHORT = (
    "--set",
    "stages.coarse.start=[]",
    "--set",
    'stages.coarse.schedule={"steps": 1}',
    "--stages",
    "coarse",
)


def train(*arguments: object) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["train", *map(str, arguments)], catch_exceptions=False)
    return found.exit_code, " ".join(found.output.split())


def refused(*arguments: object) -> str:
    code, output = train(*arguments)
    assert code == 2 and "Traceback" not in output
    return output


def test_an_unknown_recipe_is_named_with_the_nearest(tmp_path: Path) -> None:
    assert "unknown recipe 'smok'; did you mean 'smoke'" in refused("smok", "-o", tmp_path / "run")
    assert "absent.json" in refused("absent.json", "-o", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("stages.coarze.clip=1", "unknown item 'coarze'; did you mean 'coarse'"),
        ("stages.coarse.clip", "is not of the form path=value"),
        ("stages.coarse.clip=-1", "clip is -1; it should be greater than 0"),
        ("stages.coarse.clips=1", "unknown field 'clips' in stages[2]; did you mean 'clip'"),
    ],
)
def test_a_wrong_change_is_refused_before_anything_is_written(tmp_path: Path, change: str, says: str) -> None:
    assert says in refused("smoke", "-o", tmp_path / "run", "--set", change)
    assert not (tmp_path / "run").exists()


def test_an_unknown_stage_and_a_device_that_is_not_there_are_refused(tmp_path: Path) -> None:
    output = refused("smoke", "-o", tmp_path / "run", "--stages", "joint,fin", *CPU)
    assert "recipe 'smoke' has no stage 'fin'; its stages are joint, segmentation, coarse, fine" in output
    assert "device 'gpu' is unknown" in refused("smoke", "-o", tmp_path / "run", "--device", "gpu")


def test_a_batch_that_processes_cannot_share_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")  # as torchrun says it to each of three
    output = refused("smoke", "-o", tmp_path / "run", *CPU)
    assert "stages[0].feeds[0].batch is 4; it should be a multiple of the number of processes, 3" in output
    feed = {"data": ["shapes"], "losses": [{"use": "training.rate"}]}
    feeds = json.dumps([{**feed, "batch": 6}, {**feed, "batch": 8}])
    output = refused("smoke", "-o", tmp_path / "run", *CPU, "--set", f"stages.joint.feeds={feeds}")
    assert "stages[0].feeds[1].batch is 8; it should be a multiple of the number of processes, 3" in output
    assert not (tmp_path / "run").exists()


def test_a_folder_is_one_runs_alone(tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, output = train("smoke", "-o", out, *CPU, *SHORT)
    assert (code, "trained: coarse" in output) == (0, True)
    assert "--resume goes on with it" in refused("smoke", "-o", out, *CPU, *SHORT)
    other = refused("smoke", "-o", out, *CPU, *SHORT, "--resume", "--set", "stages.coarse.clip=2", "--set", "seed=4")
    assert "holds a run of another recipe; what differs: seed, stages[2].clip" in other
    assert train("smoke", "-o", out, *CPU, *SHORT, "--resume")[0] == 0
    stored = json.loads((out / "recipe.json").read_text())
    assert stored["stages"][2]["schedule"]["steps"] == 1


def test_what_the_command_line_says_is_how_the_run_is_carried_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[RecipeSpec, Options]] = []

    def noted(recipe: RecipeSpec, options: Options, registry: Registry) -> RunFolder:
        seen.append((recipe, options))
        for name in ("weights.safetensors", "done.json"):
            (tmp_path / "run/fine").mkdir(parents=True, exist_ok=True)
            (tmp_path / "run/fine" / name).touch()
        return RunFolder(options.out)

    monkeypatch.setattr("icm_training.engine.train", noted)
    monkeypatch.setattr("icm_training.loggers.check_loggers", lambda names: None)
    (tmp_path / "home").mkdir()
    recipe = tmp_path / "home/own.json"
    recipe.write_bytes(build_registry().recipes.get("smoke").read_bytes())
    more = ("--data", tmp_path / "data", "--resume", "--set", "seed=5", "--set", "stages.fine.clip=3")
    asked = ("--stages", "joint,,fine", "--device", "cpu", "--workers", "7", "--logger", "wandb", "--logger", "mlflow")
    code, output = train(recipe, "-o", tmp_path / "run", *more, *asked)
    ((found, options),) = seen
    assert (found.seed, found.stages[3].clip, found.stages[2].clip) == (5, 3.0, 50.0)
    assert (options.out, options.data, options.home) == (tmp_path / "run", tmp_path / "data", tmp_path / "home")
    assert (options.resume, options.device, options.workers) == (True, "cpu", 7)
    assert ([*options.stages], [*options.loggers]) == (["joint", "fine"], ["wandb", "mlflow"])
    assert code == 0 and output.startswith("trained: fine in ")
    train(recipe, "-o", tmp_path / "run")
    _, options = seen[-1]
    assert (options.resume, options.device, options.workers, [*options.stages]) == (False, "auto", 1, [])
    assert ([*options.loggers], options.data) == ([], Path())


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    assert "is not empty and holds no run" in refused("smoke", "-o", tmp_path, *CPU)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_data_that_are_not_there_are_named_before_anything_is_written(tmp_path: Path) -> None:
    output = refused("camvid-small", "-o", tmp_path / "run", "--data", tmp_path / "nowhere", *CPU)
    assert "data.bsds: " in output and "nowhere" in output
    assert not (tmp_path / "run").exists()
