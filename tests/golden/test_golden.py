"""Files of earlier versions decode to the very integers that they were made of, however they are decoded."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from icm_core import Pipeline, Registry, SideInfo, build_registry, load
from icm_core.bitstream.container import read
from icm_core.coding import to_fixed

FOLDER = Path(__file__).parent
HASHES: dict[str, dict[str, Any]] = json.loads((FOLDER / "hashes.json").read_text())
ENHANCED = [name for name, entry in HASHES.items() if "y_r" in entry["sha256"]]


def digest(values: Tensor) -> str:
    """SHA-256 of fixed-point numbers as big-endian int64, in row-major order."""
    return hashlib.sha256(to_fixed(values).contiguous().numpy().astype(">i8").tobytes()).hexdigest()


@contextmanager
def latents_of(pipeline: Pipeline) -> Iterator[list[Tensor]]:
    """What Decoder_r is given."""
    assert pipeline.enhancement is not None
    seen: list[Tensor] = []
    decoder_r = pipeline.enhancement.get_submodule("decoder_r")
    hook = decoder_r.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    try:
        yield seen
    finally:
        hook.remove()


def digests(pipeline: Pipeline, name: str) -> dict[str, str]:
    task = "fine" if name in ENHANCED else "coarse"
    with latents_of(pipeline) as latents:
        side = pipeline.decode((FOLDER / f"{name}.icm").read_bytes(), [task]).side
    found = {"h1": digest(side.levels[0]), "h2": digest(side.levels[1])}
    return found | ({"y_r": digest(latents[0])} if latents else {})


@pytest.fixture(scope="module")
def registry() -> Registry:
    return build_registry()


@pytest.fixture(scope="module")
def pipeline(registry: Registry) -> Pipeline:
    return load(FOLDER / "golden.json", device="cpu", registry=registry)


@pytest.fixture(params=["fp32", "bf16"])
def in_precision(registry: Registry, request: pytest.FixtureRequest) -> Pipeline:
    return load(FOLDER / "golden.json", device="cpu", precision=request.param, registry=registry)


@pytest.fixture(params=[1, 2], ids=lambda n: f"{n} threads")
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_each_file_has_its_hashes() -> None:
    assert {path.stem for path in FOLDER.glob("*.icm")} == set(HASHES)


@pytest.mark.parametrize("name", HASHES)
def test_headers_are_read_as_they_were_written(name: str) -> None:
    file = read((FOLDER / f"{name}.icm").read_bytes())
    entry = HASHES[name]
    assert (file.height, file.width, file.quality.value) == (entry["height"], entry["width"], entry["quality"])
    assert (file.enhancement is not None) == (name in ENHANCED)


@pytest.mark.parametrize("name", HASHES)
def test_integers_are_the_same_in_any_precision_with_any_threads(
    in_precision: Pipeline, threads: int, name: str
) -> None:
    assert digests(in_precision, name) == HASHES[name]["sha256"]


@pytest.mark.parametrize("name", HASHES)
def test_integers_are_the_same_without_mkldnn(pipeline: Pipeline, name: str) -> None:
    with torch.backends.mkldnn.flags(enabled=False):
        assert digests(pipeline, name) == HASHES[name]["sha256"]


@pytest.mark.parametrize("name", HASHES)
def test_integers_are_the_same_in_a_batch_of_8(pipeline: Pipeline, name: str) -> None:
    file = read((FOLDER / f"{name}.icm").read_bytes())
    size = (file.height, file.width)
    with torch.inference_mode():
        side = pipeline.codec.decode([file.base.payload] * 8, size, file.quality)
    for i in range(8):
        assert digest(side.levels[0][i : i + 1]) == HASHES[name]["sha256"]["h1"]
        assert digest(side.levels[1][i : i + 1]) == HASHES[name]["sha256"]["h2"]
    if file.enhancement is None:
        return
    assert pipeline.enhancement is not None
    with latents_of(pipeline) as latents, torch.inference_mode():
        coarse = torch.full((8, 3, *size), 0.5)
        pipeline.enhancement.decode([file.enhancement.payload] * 8, coarse, side, file.quality)
    assert {digest(one[None]) for one in latents[0]} == {HASHES[name]["sha256"]["y_r"]}


def test_integers_are_the_same_in_channels_last(registry: Registry) -> None:
    pipeline = load(FOLDER / "golden.json", device="cpu", registry=registry)
    pipeline.to(memory_format=torch.channels_last)
    for name in HASHES:
        assert digests(pipeline, name) == HASHES[name]["sha256"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_integers_are_the_same_on_a_gpu(registry: Registry, precision: str) -> None:
    pipeline = load(FOLDER / "golden.json", device="cuda", precision=precision, registry=registry)
    for name, entry in HASHES.items():
        with latents_of(pipeline) as latents:
            blob = (FOLDER / f"{name}.icm").read_bytes()
            side: SideInfo = pipeline.decode(blob, ["fine" if name in ENHANCED else "coarse"]).side
        found = [digest(tensor.cpu()) for tensor in (*side.levels, *latents)]
        assert found == list(entry["sha256"].values())


def test_integers_are_the_same_after_an_enhancement_was_cut_off(pipeline: Pipeline) -> None:
    blob = (FOLDER / "odd.icm").read_bytes()
    decoded = pipeline.decode(blob[:-5])
    assert not decoded.complete
    assert digest(decoded.side.levels[0]) == HASHES["odd"]["sha256"]["h1"]


def test_golden_files_stay_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 350_000


def test_making_them_again_is_refused() -> None:
    before = {path: path.read_bytes() for path in FOLDER.glob("*.*")}
    run = subprocess.run([sys.executable, FOLDER / "make.py"], capture_output=True, text=True, timeout=120)
    assert run.returncode != 0 and "kept for ever" in run.stderr
    assert {path: path.read_bytes() for path in FOLDER.glob("*.*")} == before
