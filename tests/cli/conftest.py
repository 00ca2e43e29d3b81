from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from icm_core import load
from icm_core.cli import app
from icm_core.pipeline.weights import save, stored_state

HERE = Path(__file__).parent
MODEL = "tiny-model"
SPEC: dict[str, Any] = {
    "icm": 1,
    "name": MODEL,
    "codec": {"use": "tiny.thumbnail"},
    "tasks": {
        "segmentation": {"adapter": {"use": "tiny.enlarge"}, "head": {"use": "shown.labels"}},
        "classification": {
            "adapter": {"use": "tiny.enlarge"},
            "head": {"use": "tiny.classes", "params": {"classes": 7}},
        },
        "coarse": {"adapter": {"use": "tiny.enlarge"}, "head": {"use": "tiny.picture"}},
    },
    "enhancement": {"use": "tiny.residual", "over": "coarse"},
    "weights": "tiny-model.safetensors",
}

Run = Callable[..., str]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like site-packages, with a distribution of two plugins and a shipped pipeline in it."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(HERE.parent / "core" / "icm_tiny.py", folder)
    shutil.copy(HERE / "icm_shown.py", folder)
    about = folder / "icm_tiny-1.2.3.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: icm-tiny\nVersion: 1.2.3\n")
    (about / "entry_points.txt").write_text("[icm.plugins]\ntiny = icm_tiny\nshown = icm_shown\n")
    (folder / "tiny-model.json").write_text(json.dumps(SPEC))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        torch.manual_seed(0)
        save(load(MODEL, device="cpu", weights=False), {folder / "tiny-model.safetensors": [""]})
    return folder


@pytest.fixture(autouse=True)
def _installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(site)


@pytest.fixture
def run() -> Run:
    """Run the program, which has to succeed, and return its stdout."""

    def call(*arguments: object) -> str:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert (result.exit_code, result.stderr) == (0, ""), result.stderr
        return result.stdout

    return call


@pytest.fixture
def fail() -> Run:
    """Run the program, which has to print nothing but one sentence and exit with code 2; return the sentence."""

    def call(*arguments: object) -> str:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert (result.exit_code, result.stdout) == (2, ""), result.output
        assert result.stderr.startswith("icm: ")
        assert result.stderr.count("\n") == 1
        return result.stderr

    return call


@pytest.fixture
def make_photo(tmp_path: Path) -> Callable[..., Path]:
    """Write a picture of smooth colours with some noise, and return its path."""

    def make(name: str, width: int = 40, height: int = 24) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(1).integers(0, 30, (height, width, 3))
        ramp = np.linspace(0, 200, width)[None, :, None]
        Image.fromarray((ramp + noise).astype(np.uint8)).save(path)
        return path

    return make


@pytest.fixture
def photo(make_photo: Callable[..., Path]) -> Path:
    return make_photo("photo.png")


@pytest.fixture
def coded(tmp_path: Path, photo: Path, run: Run) -> Path:
    """A file with both layers, coded with the shipped pipeline."""
    run("encode", photo, "-m", MODEL, "-o", tmp_path)
    return tmp_path / "photo.icm"


@pytest.fixture
def boxed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The spec of the shipped pipeline with a task of the third party's kind, which is installed."""
    folder = tmp_path / "boxed"
    folder.mkdir()
    shutil.copy(HERE / "icm_boxed.py", folder)
    about = folder / "icm_boxed-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: icm-boxed\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[icm.plugins]\nboxed = icm_boxed\n")
    monkeypatch.syspath_prepend(folder)
    path = folder / "boxed.json"
    task = {"adapter": {"use": "tiny.enlarge"}, "head": {"use": "boxed.boxes"}}
    path.write_text(json.dumps({"icm": 1, "name": "boxed", "extends": "tiny-model", "tasks": {"boxes": task}}))
    state = stored_state(load(path, device="cpu", weights="available"))
    save_file({k: v for k, v in state.items() if k.startswith("tasks.boxes.")}, folder / "boxed.safetensors")
    path.write_text(json.dumps({**json.loads(path.read_text()), "weights": "boxed.safetensors"}))
    return path


@pytest.fixture
def partly() -> Callable[..., tuple[str, list[str]]]:
    """Run the program on several files of which some fail; return its stdout and the lines of stderr."""

    def call(*arguments: object) -> tuple[str, list[str]]:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 2, result.output
        return result.stdout, result.stderr.splitlines()

    return call
