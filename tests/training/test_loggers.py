"""W&B and MLflow beside TensorBoard, without a network."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

from icm_core import InputError
from icm_training.log import Log
from icm_training.loggers import check_loggers, close, logger_of


def log_of(folder: Path, stage: str, name: str, first: int = 0) -> Log:
    return Log(folder, stage, 10, first, active=True, console=Console(file=io.StringIO()), loggers=[name])


def test_a_logger_that_is_unknown_is_named_with_its_nearest_match() -> None:
    with pytest.raises(InputError, match="unknown logger 'wand'; did you mean 'wandb'"):
        check_loggers(["wand"])


def test_what_a_logger_needs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(InputError, match=r"--logger mlflow needs mlflow; install it with: pip install 'icm-framework"):
        check_loggers(["mlflow"])


@pytest.mark.parametrize(("name", "missing"), [("mlflow", "pytorch_lightning"), ("wandb", "pytorch_lightning")])
def test_lightnings_part_of_a_logger_is_asked_for_too(monkeypatch: pytest.MonkeyPatch, name: str, missing: str) -> None:
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InputError, match=rf"^--logger {name} needs {missing}; .*'icm-framework\[{name}\]'$"):
        check_loggers([name])


def test_every_logger_that_is_asked_for_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mlflow", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    check_loggers([])
    check_loggers(["mlflow"])
    with pytest.raises(InputError, match="unknown logger 'tensorboard'"):
        check_loggers(["mlflow", "tensorboard"])


def test_a_run_of_wandb_is_told_from_those_of_other_folders_and_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made and not begun: each has one key for good, so that a stage that is resumed goes on in it."""
    pytest.importorskip("wandb", reason="wandb is not installed: 'icm-framework[wandb]'")
    pytest.importorskip("pytorch_lightning", reason="pytorch-lightning is not installed: 'icm-framework[wandb]'")

    def given(folder: Path, stage: str) -> dict[str, Any]:
        found: Any = logger_of("wandb", folder, stage)
        return dict(found._wandb_init)

    one = given(tmp_path / "a" / "run", "joint")
    assert (one["name"], one["group"], one["project"]) == ("run/joint", "run", "icm")
    assert Path(one["dir"]) == tmp_path / "a" / "run" and Path(one["dir"]).is_dir()
    others = [given(tmp_path / "b" / "run", "joint"), given(tmp_path / "a" / "run", "fine")]
    assert len({one["id"], *(other["id"] for other in others)}) == 3
    monkeypatch.chdir(tmp_path / "a")
    again = given(Path("run"), "joint")
    assert (again["id"], again["name"], again["group"]) == (one["id"], "run/joint", "run")


class Told:
    """A logger's run, with what it is told at the end."""

    def __init__(self) -> None:
        self.said: list[object] = []
        self.experiment = self

    def finalize(self, status: str) -> None:
        self.said.append(status)


class Single(Told):
    """One of which a process has one at a time, as of W&B."""

    def finish(self, code: int = 0) -> None:
        self.said.append(code)


@pytest.mark.parametrize(("good", "said"), [(True, ["success", 0]), (False, ["failed", 1])])
def test_the_run_of_a_stage_ends_as_the_stage_did(good: bool, said: list[object]) -> None:
    for logger, expected in ((Single(), said), (Told(), said[:1])):
        close(logger, good)
        assert logger.said == expected


def test_mlflow_has_a_run_for_each_stage_and_resumes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="mlflow is not installed: 'icm-framework[mlflow]'")
    pytest.importorskip("pytorch_lightning", reason="pytorch-lightning is not installed: 'icm-framework[mlflow]'")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "run"
    for stage, first, steps in (("one", 0, (2, 4)), ("two", 0, (2,)), ("one", 4, (6,))):
        log = log_of(folder, stage, "mlflow", first)
        for step in steps:
            log.row(step, {"mse/coarse": step / 2, "road: rate": 1.0})
        log.close(good=stage == "one")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "false")
    with pytest.raises(InputError, match="--logger mlflow cannot be used: "):
        log_of(tmp_path / "refused", "one", "mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = tracking.MlflowClient(str(folder / "mlruns"))
    (experiment,) = [one for one in client.search_experiments() if one.name == "icm"]
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert {name: run.info.status for name, run in runs.items()} == {"run/one": "FINISHED", "run/two": "FAILED"}
    history = client.get_metric_history(runs["run/one"].info.run_id, "mse/coarse")
    assert [(one.step, one.value) for one in history] == [(2, 1.0), (4, 2.0), (6, 3.0)]
    assert runs["run/two"].data.metrics == {"mse/coarse": 1.0, "road/rate": 1.0}


def test_wandb_has_a_run_for_each_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed: 'icm-framework[wandb]'")
    pytest.importorskip("pytorch_lightning", reason="pytorch-lightning is not installed: 'icm-framework[wandb]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for stage in ("one", "two"):
        log = log_of(tmp_path / "run", stage, "wandb")
        log.row(2, {"road: rate": 0.123})
        log.close()
    written = sorted((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))
    assert len(written) == 2
    for path in written:
        content = path.read_bytes()
        assert b"road/rate" in content and b"0.123" in content
