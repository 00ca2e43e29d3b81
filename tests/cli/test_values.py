"""Values of a regression: named, in JSON, tables and the demo's page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import save_file

from icm_core import load
from icm_core.pipeline.weights import stored_state

Run = Callable[..., str]


@pytest.fixture
def counting(tmp_path: Path) -> Path:
    """The shipped pipeline with a task that counts, trained as far as its weights are there."""
    folder = tmp_path / "counting"
    folder.mkdir()
    head = {"use": "shown.counts", "params": {"classes": 2}}
    data = {
        "icm": 1,
        "name": "counting",
        "extends": "tiny-model",
        "tasks": {"counts": {"adapter": {"use": "tiny.enlarge"}, "head": head}},
    }
    path = folder / "counting.json"
    path.write_text(json.dumps(data))
    state = stored_state(load(path, device="cpu", weights="available"))
    new = {key: value for key, value in state.items() if key.startswith("tasks.counts.")}
    save_file(new, folder / "counting.safetensors")
    path.write_text(json.dumps({**data, "weights": "counting.safetensors"}))
    return path


def test_decode_gives_named_values_of_a_file_from_before(run: Run, counting: Path, coded: Path) -> None:
    (row,) = json.loads(run("decode", coded, "-m", counting, "-t", "counts", "--json"))
    found = row["tasks"]["counts"]
    assert found["kind"] == "regression" and [value["label"] for value in found["values"]] == ["cars", "<trees>"]
    assert all(isinstance(value["value"], float) for value in found["values"])
    first = f"cars {found['values'][0]['value']:.3g}"
    assert first in run("decode", coded, "-m", counting, "-t", "counts")


def test_the_demo_shows_them(run: Run, counting: Path, photo: Path, tmp_path: Path) -> None:
    shown = json.loads(run("demo", photo, "-m", counting, "-o", tmp_path / "demo", "--json"))
    values = shown["rows"][0]["tasks"]["counts"]["values"]
    assert [value["label"] for value in values] == ["cars", "<trees>"]
    page = (tmp_path / "demo/index.html").read_text()
    assert f"cars {values[0]['value']:.3g}, &lt;trees&gt; {values[1]['value']:.3g}" in page
