"""The folder of a run: what was trained, from what, with what, and everything that came of it.

::

    RUN/recipe.json           the recipe, with all changes made
    RUN/pipeline.json         the pipeline's spec; beside it are copies of the files that its parameters name
    RUN/run.json              command, seed, device, versions, state of the source; the same of every resumption
    RUN/<stage>/log.csv       a row for every so many steps
    RUN/<stage>/step-*.safetensors    the newest checkpoints
    RUN/<stage>/weights.safetensors   the stage's result
    RUN/<stage>/done.json     what the stage took: steps, seconds, pictures a second, and where the time went
    RUN/tensorboard/          the same figures, and sample pictures
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from icm_core.errors import InputError
from icm_core.files import make_folder, write_atomically
from icm_core.spec.files import copy_files
from icm_core.spec.model import PipelineSpec
from icm_core.validation.strict_json import read_json
from icm_training.recipe import RecipeSpec

PACKAGES = ("icm-framework", "torch", "torchvision", "lightning-fabric", "timm", "compressai", "torchmetrics", "numpy")


class RunFolder:
    """Paths and records of one run.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def stage(self, name: str) -> Path:
        """Folder of a stage."""
        return self.path / name

    def result(self, stage: str) -> Path:
        """Weights that a stage ended with."""
        return self.stage(stage) / "weights.safetensors"

    def is_done(self, stage: str) -> bool:
        """Whether a stage has ended."""
        return self.result(stage).is_file() and (self.stage(stage) / "done.json").is_file()

    def open(self, recipe: RecipeSpec, pipeline: PipelineSpec, *, resume: bool, record: dict[str, Any]) -> None:
        """Make the folder, or find that it holds this very run.

        Raises:
            InputError: it holds a run and ``resume`` is not set, or it holds another one.
        """
        stored = self.path / "recipe.json"
        if stored.exists():
            if not resume:
                raise InputError(f"{self.path} holds a run already; --resume goes on with it, or choose another folder")
            before = read_json(stored)
            now = json.loads(recipe.model_dump_json())
            if before != now:
                changed = ", ".join(_differences(before, now)) or "its layout"
                raise InputError(f"{self.path} holds a run of another recipe; what differs: {changed}")
            self._note_resumption(record)
            return
        make_folder(self.path)
        if any(self.path.iterdir()):
            raise InputError(f"{self.path} is not empty and holds no run; choose another folder")
        copy_files(pipeline, self.path)
        self.write_json("pipeline.json", pipeline.to_json())
        self.write_json("run.json", record)
        self.write_json("recipe.json", json.loads(recipe.model_dump_json()))

    def _note_resumption(self, record: dict[str, Any]) -> None:
        """Add to `run.json` with what the run goes on."""
        first = read_json(self.path / "run.json")
        if isinstance(first, dict):
            self.write_json("run.json", {**first, "resumed": [*first.get("resumed", []), record]})

    def take(self, stage: str, source: Path) -> None:
        """Copy the result of a stage from another run's folder of it, unless it is here already.

        Raises:
            InputError: it is not done there, or cannot be copied.
        """
        if self.is_done(stage):
            return
        if not ((source / "weights.safetensors").is_file() and (source / "done.json").is_file()):
            raise InputError(f"stage {stage!r} cannot be taken over: {source} holds no result")
        make_folder(self.stage(stage))
        # done.json last: with it the stage counts as done.
        for name in ("log.csv", "weights.safetensors", "done.json"):
            if (source / name).is_file():
                write_atomically(self.stage(stage) / name, (source / name).read_bytes())

    def write_json(self, name: str, value: object) -> None:
        """A JSON file in the folder."""
        write_atomically(self.path / name, (json.dumps(value, indent=1) + "\n").encode())


def record_of(recipe: RecipeSpec, device: str) -> dict[str, Any]:
    """What is needed to repeat a run: command, seed, versions, device, and the state of the source."""
    return {
        "command": shlex.join(["icm", *sys.argv[1:]]),
        "recipe": recipe.recipe,
        "seed": recipe.seed,
        "device": device,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "source": _git(),
    }


def device_name(device: torch.device) -> str:
    """A device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} threads of a {platform.machine()} CPU"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _git() -> dict[str, Any] | None:
    """Commit of the source, and whether it was changed since; None where the source is no checkout."""

    def ask(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "changed": bool(ask("status", "--porcelain", "--", "."))}
    except (OSError, subprocess.SubprocessError):
        return None


def _differences(before: object, now: object, where: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [*before, *(key for key in now if key not in before)]
        return [d for key in keys for d in _differences(before.get(key), now.get(key), f"{where}.{key}".lstrip("."))]
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = enumerate(zip(before, now, strict=True))
        return [d for index, (a, b) in pairs for d in _differences(a, b, f"{where}[{index}]")]
    return [] if before == now else [where]
