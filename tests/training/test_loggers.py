"""W&B and MLflow beside TensorBoard, without a network."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from icm_core import InputError
from icm_training.log import Log
from icm_training.loggers import check_loggers


def log_of(folder: Path, stage: str, name: str, first: int = 0) -> Log:
    return Log(folder, stage, 10, first, active=True, console=Console(file=io.StringIO()), loggers=[name])


def test_a_logger_that_is_unknown_is_named_with_its_nearest_match() -> None:
    with pytest.raises(InputError, match="unknown logger 'wand'; did you mean 'wandb'"):
        check_loggers(["wand"])


def test_what_a_logger_needs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with pytest.raises(InputError, match=r"--logger mlflow needs mlflow; install it with: pip install 'icm-framework"):
        check_loggers(["mlflow"])


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
