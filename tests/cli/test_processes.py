"""The installed program with SICMH: one process writes, another one reads."""

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch
from PIL import Image

import icm_core
from icm_core.pipeline.weights import save

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

installed = "sicmh" in {point.name for point in entry_points(group="icm.plugins")}
pytestmark = pytest.mark.skipif(not installed, reason="the project is not installed in this environment")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SICMH at toy widths with random weights."""
    path = tmp_path_factory.mktemp("toy") / "toy.json"
    path.write_text(json.dumps(SPEC))
    torch.manual_seed(0)
    pipe = icm_core.load(path, device="cpu", weights=False)
    pipe.codec.freeze_tables()
    assert pipe.enhancement is not None
    pipe.enhancement.freeze_tables()
    save(pipe, {path.with_suffix(".safetensors"): [""]})
    return path


def icm(*arguments: object, threads: int) -> str:
    command = [sys.executable, "-c", "from icm_core.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": str(threads)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_another_process_reads_what_one_wrote(tmp_path: Path, toy: Path) -> None:
    Image.radial_gradient("L").resize((100, 70)).save(tmp_path / "photo.png")
    icm("encode", tmp_path / "photo.png", "-m", toy, "-o", tmp_path, "--precision", "bf16", threads=1)
    decode = ("decode", tmp_path / "photo.icm", "-m", toy, "-o", tmp_path, "--json")
    (row,) = json.loads(icm(*decode, threads=2))
    assert list(row["tasks"]) == ["coarse", "fine"]
    assert Image.open(tmp_path / "photo.fine.png").size == (100, 70)
