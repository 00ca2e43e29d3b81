"""The fast part of the matrix, and that the matrix can fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from icm_core import Pipeline, load
from icm_core.bitstream.container import LayerKind, read
from icm_core.bitstream.split import join, split
from icm_sicmh import Hyperprior

FOLDER = Path(__file__).parent
PRESETS = FOLDER / "presets"


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load(PRESETS / "presets.json", device="cpu")


def test_golden_files_decode_alike_under_every_single_condition(matrix: ModuleType) -> None:
    rows = matrix.run(matrix.golden_cases(), matrix.FAST)
    assert [row["different"] for row in rows] == [[]] * len(matrix.FAST)
    assert {row["files"] for row in rows} == {17}


def test_float_entropy_networks_fail_the_matrix(matrix: ModuleType) -> None:
    with matrix.float_networks():
        rows = matrix.run(matrix.float_cases(), matrix.FAST)
    assert rows[0]["different"] == []  # where they wrote their file they can read it
    assert any(row["different"] for row in rows[1:])


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_golden_files_decode_alike_without_vector_instructions() -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / "matrix.py", "--fast"],
        env={**os.environ, "ATEN_CPU_CAPABILITY": "default"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "capability DEFAULT" in done.stdout or "capability NO AVX" in done.stdout


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_golden_files_decode_alike_on_a_gpu(matrix: ModuleType) -> None:
    rows = matrix.run(matrix.golden_cases(), matrix.combinations("cuda"))
    assert not any(row["different"] for row in rows)


@pytest.mark.parametrize(("preset", "golden"), [("sicmh-small", "context"), ("sicmh-paper", "presets")])
def test_a_golden_set_has_the_presets_structure(preset: str, golden: str) -> None:
    specs = (FOLDER.parents[1] / "plugins/sicmh/icm_sicmh/specs" / f"{preset}.json", FOLDER / golden / f"{golden}.json")
    found = []
    for path in specs:
        spec = json.loads(path.read_text())
        codec = Hyperprior.Params.model_validate(spec["codec"].get("params", {}))
        latents = spec["enhancement"].get("params", {}).get("latent_channels")
        ratio = round(codec.h1_channels / codec.h2_channels, 1)
        # How much wider y_r is than N changes widths, as N itself does; that it is wider takes another path.
        wider = latents is not None and latents > codec.width
        found.append((codec.groups, codec.qualities, ratio, wider, spec["enhancement"]["use"]))
    assert found[0] == found[1]


def test_golden_files_with_control_hashes_verify(pipeline: Pipeline) -> None:
    for name, entry in json.loads((PRESETS / "hashes.json").read_text()).items():
        blob = (PRESETS / f"{name}.icm").read_bytes()
        layers = read(blob).layers
        assert [bool(layer.control) for layer in layers] == [entry["control"]] * len(layers)
        if entry["control"]:
            kinds = (LayerKind.BASE, LayerKind.ENHANCEMENT)[: len(layers)]
            assert pipeline.decode(blob, verify=True).verified == kinds


def test_golden_parts_join_to_the_golden_file() -> None:
    blob, part = (PRESETS / "parts.icm").read_bytes(), (PRESETS / "parts.icme").read_bytes()
    base, enhancement = split(blob)
    assert enhancement == part
    assert join(base, part) == blob


def test_all_golden_files_stay_below_a_megabyte_and_a_half() -> None:
    data = [path for path in FOLDER.rglob("*") if path.suffix in (".icm", ".icme", ".json", ".safetensors")]
    assert sum(path.stat().st_size for path in data) < 1_500_000
