"""What one process encodes, another decodes to the same."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from icm_core import Decoded, Pipeline, build_registry, load
from icm_core.coding import to_fixed
from icm_core.pipeline import weights as w

SPEC = {
    "icm": 1,
    "name": "toy",
    "codec": {
        "use": "sicmh.hyperprior",
        "params": {"width": 8, "h1_channels": 16, "h2_channels": 8, "groups": 4, "context_channels": 8},
    },
    "tasks": {"coarse": {"adapter": {"use": "sicmh.multi_scale"}, "head": {"use": "sicmh.coarse"}}},
    "enhancement": {"use": "sicmh.residual", "over": "coarse"},
    "weights": "toy.safetensors",
}
SCRIPT = """
import hashlib, pathlib, sys, torch
from icm_core import load
from icm_core.coding import to_fixed
torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(5)
folder = pathlib.Path(sys.argv[2])
pipe = load(folder / "toy.json", device="cpu", precision=sys.argv[3])
latents = []
pipe.enhancement.decoder_r.register_forward_pre_hook(lambda module, args: latents.append(args[0]))
for file in sorted(folder.glob("*.icm")):
    side = pipe.decode(file.read_bytes(), ["fine"]).side
    digest = hashlib.sha256()
    for level in (*side.levels, latents.pop()):
        digest.update(to_fixed(level).contiguous().numpy().astype(">i8").tobytes())
    print(file.name, digest.hexdigest())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A spec with its weights."""
    path = tmp_path / "toy.json"
    path.write_text(json.dumps(SPEC))
    torch.manual_seed(0)
    pipe = load(path, device="cpu", weights=False, registry=build_registry())
    pipe.codec.freeze_tables()
    assert pipe.enhancement is not None
    pipe.enhancement.freeze_tables()
    w.save(pipe, {tmp_path / "toy.safetensors": [""]})
    return tmp_path


def digest(pipe: Pipeline, blob: bytes) -> str:
    latents: list[torch.Tensor] = []
    assert pipe.enhancement is not None
    hook = pipe.enhancement.decoder_r.register_forward_pre_hook(lambda module, args: latents.append(args[0]))
    decoded: Decoded = pipe.decode(blob, ["fine"])
    hook.remove()
    found = hashlib.sha256()
    for level in (*decoded.side.levels, *latents):
        found.update(to_fixed(level).contiguous().numpy().astype(">i8").tobytes())
    return found.hexdigest()


def test_another_process_with_other_threads_and_precision_decodes_the_same(folder, picture, threads) -> None:
    pipe = load(folder / "toy.json", device="cpu", precision="bf16")
    expected = []
    with threads(1):
        for name, size, quality in (("a", (65, 130), 2.5), ("b", (7, 100), 4), ("c", (1, 1), 1)):
            blob = pipe.encode(picture(*size)[0], quality)
            (folder / f"{name}.icm").write_bytes(blob)
            expected.append(f"{name}.icm {digest(pipe, blob)}")
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, "2", str(folder), "fp32"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        timeout=120,
    )
    assert run.stdout.splitlines() == expected, run.stderr
