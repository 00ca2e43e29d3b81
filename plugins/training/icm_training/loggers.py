"""Loggers beside TensorBoard: Lightning's of W&B and MLflow, one run of theirs for each stage."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from icm_core.errors import InputError
from icm_core.files import make_folder, read_file, write_atomically
from icm_registry import unknown

if TYPE_CHECKING:
    from lightning_fabric.loggers.logger import Logger

NAMES = ("wandb", "mlflow")


def check_loggers(names: Sequence[str]) -> None:
    """`InputError` if a logger is unknown, or what it needs is not installed."""
    for name in names:
        if name not in NAMES:
            raise InputError(f"--logger: {unknown('logger', name, list(NAMES))}")
        for package in (name, "pytorch_lightning"):
            try:
                importlib.import_module(package)
            except ImportError as error:
                raise InputError(
                    f"--logger {name} needs {package}; install it with: pip install 'icm-framework[{name}]'"
                ) from error


def logger_of(name: str, folder: Path, stage: str) -> Logger:
    """The logger of a stage; a stage that is resumed goes on in the same run.

    Args:
        name: one of `NAMES`.
        folder: the run's folder, where ``wandb/`` and ``mlruns/`` are written. Where they are sent, and with which
            account, is theirs to say: ``WANDB_MODE=offline`` and ``MLFLOW_TRACKING_URI``, for example.
        stage: name of the stage.
    """
    title = f"{folder.resolve().name}/{stage}"
    loggers: Any = importlib.import_module("pytorch_lightning.loggers")
    if name == "wandb":
        key = hashlib.sha256(f"{folder.resolve()}/{stage}".encode()).hexdigest()[:16]
        make_folder(folder)
        found: Logger = loggers.WandbLogger(
            name=title, id=key, group=folder.resolve().name, save_dir=folder, project="icm"
        )
        return found
    noted = folder / stage / "mlflow-run"
    run = read_file(noted).decode() if noted.is_file() else None
    refused = importlib.import_module("mlflow.exceptions").MlflowException
    try:
        made = loggers.MLFlowLogger("icm", run_name=title, run_id=run, save_dir=str(folder / "mlruns"))
        begun = str(made.run_id)  # begins it
    except refused as error:
        raise InputError(f"--logger mlflow cannot be used: {' '.join(str(error).split())[:300]}") from error
    if run is None:
        write_atomically(noted, begun.encode())
    return cast("Logger", made)


def close(logger: Any, good: bool) -> None:
    """End a stage's run, so that the next stage begins one of its own."""
    logger.finalize("success" if good else "failed")
    if hasattr(logger.experiment, "finish"):  # W&B's runs are one at a time in a process
        logger.experiment.finish(0 if good else 1)
