"""`icm check --sources` and `icm graph`, on a spec that extends a shipped one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., str]


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "mine.json"
    changes = {"classification": {"head": {"params": {"classes": 5}}}, "segmentation": None}
    path.write_text(json.dumps({"icm": 1, "name": "mine", "extends": "tiny-model", "tasks": changes}))
    return path


def test_check_shows_the_merged_spec_and_where_each_value_comes_from(run: Run, spec: Path) -> None:
    found = json.loads(run("check", spec, "--sources", "--json", "--size", "16x16"))
    assert list(found["merged"]["tasks"]) == ["classification", "coarse"]
    origins = {one["field"]: (one["value"], one["origin"]) for one in found["sources"]}
    assert origins["tasks.classification.head.params.classes"] == (5, str(spec))
    assert origins["codec.use"] == ("tiny.thumbnail", "tiny-model")
    assert origins["codec.params.steps"] == (8, "default")


def test_check_prints_the_sources_as_a_table(run: Run, spec: Path) -> None:
    lines = run("check", spec, "--sources", "--size", "16x16").splitlines()
    (line,) = [line for line in lines if "tasks.classification.head.params.classes" in line]
    assert line.split()[1] == "5" and line.split()[2].startswith(str(spec)[:20])
    assert "Where each value" not in run("check", spec, "--size", "16x16")


def test_graph_draws_the_merged_spec(run: Run, spec: Path, tmp_path: Path) -> None:
    assert run("graph", spec, "-o", tmp_path / "new/x.svg", "--size", "16x16") == f"{tmp_path / 'new/x.svg'}\n"
    text = (tmp_path / "new/x.svg").read_text()
    assert "tiny.thumbnail" in text and "classification" in text and "segmentation" not in text


def test_graph_is_svg_only(fail: Run, spec: Path) -> None:
    assert "its file ends with .svg" in fail("graph", spec, "-o", "x.png")
    assert "HEIGHTxWIDTH" in fail("graph", spec, "--size", "big")
