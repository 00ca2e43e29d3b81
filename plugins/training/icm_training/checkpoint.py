"""Checkpoints of a stage: safetensors files with weights and optimizer, written aside and renamed.

What is random follows from the seed and the step (`icm_training.feed`), and so does the learning rate: the step is all
that has to be remembered of them.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from icm_core.errors import WeightsError
from icm_core.files import write_atomically

_NAME = re.compile(r"step-(\d{9})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """The state of a stage between two steps.

    Attributes:
        step: steps that are done.
        seconds: time that they took, over all runs.
        tensors: by key; see `Trainer`.
    """

    step: int
    seconds: float
    tensors: dict[str, Tensor]


def write(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write a checkpoint, then remove all but the newest few.

    Raises:
        InputError: the disk is full or the folder cannot be written; earlier checkpoints are as they were.
    """
    metadata = {"format": "pt", "icm": json.dumps({"step": checkpoint.step, "seconds": checkpoint.seconds})}
    tensors = {key: tensor.contiguous() for key, tensor in checkpoint.tensors.items()}
    path = folder / f"step-{checkpoint.step:09d}.safetensors"
    write_atomically(path, safetensors.torch.save(tensors, metadata))
    for old in found(folder)[:-keep]:
        with contextlib.suppress(OSError):
            old.unlink()
    return path


def found(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    return sorted(path for path in folder.glob("step-*.safetensors") if _NAME.fullmatch(path.name))


def newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that can be read, None if there is none."""
    for path in reversed(found(folder)):
        with contextlib.suppress(WeightsError):
            return read(path)
    return None


def read(path: Path) -> Checkpoint:
    """A checkpoint; `WeightsError` if the file is damaged or something else."""
    try:
        with safe_open(str(path), framework="pt") as file:
            head = json.loads((file.metadata() or {})["icm"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (the handle is no mapping)
        return Checkpoint(int(head["step"]), float(head["seconds"]), tensors)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"{path}: not a checkpoint that can be read: {error}") from error


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Tensors as a safetensors file; `InputError` if it cannot be written."""
    write_atomically(path, safetensors.torch.save({key: tensor.contiguous() for key, tensor in tensors.items()}))
