"""What is found out about shipped pipelines without loading them, and from which files."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from icm_core import Registry, build_registry, hookimpl, load
from icm_core.pipeline import weights as w
from icm_core.pipeline.identify import Fingerprints


@pytest.fixture
def specs(tmp_path: Path, data: dict[str, Any]) -> list[Path]:
    """A pipeline, and one that extends it and has nothing of its own."""
    base, mine = tmp_path / "base.json", tmp_path / "mine.json"
    base.write_text(json.dumps({**data, "name": "base", "weights": "base.safetensors"}))
    mine.write_text(json.dumps({"icm": 1, "name": "mine", "extends": "base.json", "tasks": {"labels": None}}))
    return [base, mine]


@pytest.fixture
def shipping(specs: list[Path], tiny: ModuleType) -> Registry:
    module = ModuleType("lab")
    setattr(module, "icm_specs", hookimpl(lambda: specs, specname="icm_specs"))  # noqa: B010
    registry = build_registry(path=[], extra={"tiny": tiny, "lab": module})
    pipe = load(specs[0], weights=False, device="cpu", registry=registry)
    w.save(pipe, {specs[0].with_suffix(".safetensors"): [""]})
    return registry


def test_it_depends_on_specs_and_weights_inherited_ones_too(specs: list[Path], shipping: Registry) -> None:
    found = Fingerprints(shipping).looked
    assert found.whole and {one.name: one.extends for one in found.shipped} == {"base": False, "mine": True}
    assert found.files == {*specs, specs[0].with_suffix(".safetensors")}


def test_of_one_that_extends_another_its_file_and_that_ones_weights_count(
    specs: list[Path], shipping: Registry, tiny: ModuleType
) -> None:
    assert shipping.specs.names == ("base", "mine")
    module = ModuleType("lab")
    setattr(module, "icm_specs", hookimpl(lambda: specs[1:], specname="icm_specs"))  # noqa: B010
    found = Fingerprints(build_registry(path=[], extra={"tiny": tiny, "lab": module})).looked
    assert [one.name for one in found.shipped] == ["mine"]
    assert found.files == {*specs, specs[0].with_suffix(".safetensors")}


def test_a_damaged_pipeline_is_left_out_and_said(specs: list[Path], shipping: Registry) -> None:
    own = json.loads(specs[1].read_text())
    specs[1].write_text(json.dumps({**own, "weights": "nowhere.safetensors"}))
    found = Fingerprints(shipping).looked
    assert [one.name for one in found.shipped] == ["base"] and not found.whole
