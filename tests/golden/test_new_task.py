"""Files that were coded before a task existed decode with a pipeline that has it, to the integers of then."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from icm_core import Pipeline, load
from icm_core.coding import to_fixed

HERE = Path(__file__).parent
EXPECTED = json.loads((HERE / "hashes.json").read_text())
HEAD = {
    "use": "tasks.trseg",
    "params": {
        "backbone": "tf_efficientnet_lite0",
        "stage": 2,
        "classes": 5,
        "channels": 8,
        "bins": [1, 2],
        "layers": 1,
        "heads": 2,
        "feedforward": 8,
    },
}


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The golden pipeline with a task that nobody had thought of."""
    folder = tmp_path_factory.mktemp("later")
    for name in ("golden.json", "golden.safetensors"):
        shutil.copy(HERE / name, folder)
    tasks = {"labels": {"adapter": {"use": "sicmh.one_scale"}, "head": HEAD}}
    (folder / "later.json").write_text(
        json.dumps({"icm": 1, "name": "later", "extends": "golden.json", "tasks": tasks})
    )
    torch.manual_seed(0)
    return load(folder / "later.json", device="cpu", weights="available")


def digest(values: Tensor) -> str:
    return hashlib.sha256(to_fixed(values).contiguous().numpy().astype(">i8").tobytes()).hexdigest()


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_an_old_file_decodes_with_a_new_task(later: Pipeline, name: str) -> None:
    expected = EXPECTED[name]
    found = later.decode((HERE / f"{name}.icm").read_bytes())
    assert found["labels"].output.shape == (1, 5, expected["height"], expected["width"])
    assert bool(found["labels"].output.isfinite().all())
    h1, h2 = found.side.levels
    assert (digest(h1), digest(h2)) == (expected["sha256"]["h1"], expected["sha256"]["h2"])
    assert ("fine" in found) == ("y_r" in expected["sha256"])


def test_the_new_task_changes_no_fingerprint(later: Pipeline) -> None:
    golden = load(HERE / "golden.json", device="cpu")
    assert later.base_fingerprint == golden.base_fingerprint
    assert later.enhancement_fingerprint == golden.enhancement_fingerprint
