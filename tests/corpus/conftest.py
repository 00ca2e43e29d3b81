from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import icm_core
from icm_core.cli import app
from icm_core.pipeline.weights import save

sys.path.append(str(Path(__file__).parent))  # icm_jobs, which processes that are started here import as well

SPEC = {
    "icm": 1,
    "name": "toy",
    "codec": {
        "use": "sicmh.hyperprior",
        "params": {"width": 8, "h1_channels": 8, "h2_channels": 4, "groups": 2, "context_channels": 8},
    },
    "tasks": {"coarse": {"adapter": {"use": "sicmh.multi_scale"}, "head": {"use": "sicmh.coarse"}}},
    "enhancement": {"use": "sicmh.residual", "over": "coarse"},
    "weights": "toy.safetensors",
}
SIZES = [(64, 48), (100, 70), (33, 90), (128, 64)]
FOLDERS = ("", "deep", "deep/er")
PICTURES = 12

Run = Callable[..., tuple[int, list[dict[str, Any]], list[str]]]


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SICMH at toy widths with random weights."""
    if "sicmh" not in {point.name for point in entry_points(group="icm.plugins")}:
        pytest.skip("the project is not installed in this environment")
    path = tmp_path_factory.mktemp("toy") / "toy.json"
    path.write_text(json.dumps(SPEC))
    torch.manual_seed(0)
    pipe = icm_core.load(path, device="cpu", weights=False)
    pipe.codec.freeze_tables()
    assert pipe.enhancement is not None
    pipe.enhancement.freeze_tables()
    save(pipe, {path.with_suffix(".safetensors"): [""]})
    return path


@pytest.fixture(scope="session")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of four sizes in three folders."""
    album = tmp_path_factory.mktemp("album")
    random = np.random.default_rng(3)
    for number in range(PICTURES):
        folder = album / FOLDERS[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        few = random.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        Image.fromarray(few).resize(SIZES[number % 4]).save(folder / f"p{number:02}.png")
    return album


def call(*arguments: object) -> tuple[int, list[dict[str, Any]], list[str]]:
    """Run the program with ``--json``: its exit code, rows, and the lines of stderr."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--device", "cpu", "--json"])
    assert result.exit_code in (0, 2), result.output
    rows = json.loads(result.stdout) if result.stdout else []
    return result.exit_code, rows, result.stderr.splitlines()


@pytest.fixture
def run() -> Run:
    return call


@pytest.fixture(scope="session")
def coded(tmp_path_factory: pytest.TempPathFactory, toy: Path, album: Path) -> Path:
    """The album, coded by one lane."""
    out = tmp_path_factory.mktemp("coded")
    assert call("encode", album, "-r", "-m", toy, "-o", out, "--workers", 1)[0] == 0
    return out


@pytest.fixture(scope="session")
def decoded(tmp_path_factory: pytest.TempPathFactory, toy: Path, coded: Path) -> Path:
    """The same, decoded by one lane."""
    out = tmp_path_factory.mktemp("decoded")
    assert call("decode", coded, "-r", "-m", toy, "-o", out, "--workers", 1)[0] == 0
    return out


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a tree, but for those of journals."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".jsonl")
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(files)}


@pytest.fixture(scope="session")
def tree() -> Callable[[Path], dict[str, bytes]]:
    return contents


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures and others, some of them in hidden folders."""
    for name in ("b.png", "a.PNG", "x/c.jpg", "x/y/d.png", "x/.hidden/e.png", ".cache/f.png", "x/notes.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    return tmp_path / "in"
