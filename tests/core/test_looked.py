"""What is found out about shipped pipelines without loading them, and from which files."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
import torch
from pydantic import Field
from safetensors.torch import save_file

from icm_core import Quality, Registry, TaskHead, build_registry, hookimpl, load
from icm_core.bitstream.container import Container, Layer, LayerKind
from icm_core.interfaces import ComponentParams, SpecPath
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


def test_it_depends_on_the_files_that_parameters_name(tmp_path: Path, data: dict[str, Any], tiny: ModuleType) -> None:
    spec, notes = tmp_path / "noted.json", tmp_path / "notes.txt"

    class Noted(tiny.Picture):  # type: ignore[misc, name-defined]
        """A head with a file."""

        name: ClassVar[str] = "lab.noted"

        class Params(ComponentParams):
            """The file."""

            notes: SpecPath = Field(description="a file")

    class Plugin:
        """The head, and a pipeline that has it."""

        @staticmethod
        @hookimpl
        def icm_heads() -> list[type[TaskHead]]:
            return [Noted]

        @staticmethod
        @hookimpl
        def icm_specs() -> list[Path]:
            return [spec]

    data["tasks"]["coarse"]["head"] = {"use": "lab.noted", "params": {"notes": "notes.txt"}}
    spec.write_text(json.dumps({**data, "name": "noted"}))
    notes.write_text("bright")
    found = Fingerprints(build_registry(path=[], extra={"tiny": tiny, "lab": Plugin})).looked
    assert found.whole and found.files == {spec, notes}


def test_a_damaged_pipeline_is_left_out_and_said(specs: list[Path], shipping: Registry) -> None:
    own = json.loads(specs[1].read_text())
    specs[1].write_text(json.dumps({**own, "weights": "nowhere.safetensors"}))
    found = Fingerprints(shipping).looked
    assert [one.name for one in found.shipped] == ["base"] and not found.whole


@pytest.fixture
def several(tmp_path: Path, data: dict[str, Any], tiny: ModuleType) -> Registry:
    """Two pipelines of one codec, whose enhancements differ; the second has three files, of other times and hands."""
    names = {"first": ["first"], "second": ["theirs", "old", "second"]}
    paths = []
    for name, files in names.items():
        weights = [f"{file}.safetensors" for file in files]
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps({**data, "name": name, "weights": weights}))
    metadata = {
        "first": {w.BASE: "aa", w.ENHANCEMENT: "11"},
        "theirs": {"format": "pt"},
        "old": {w.BASE: "bb", w.ENHANCEMENT: "22"},
        "second": {w.BASE: "aa", w.ENHANCEMENT: "33"},
    }
    for file, said in metadata.items():
        save_file({"x": torch.zeros(1)}, tmp_path / f"{file}.safetensors", said)
    module = ModuleType("lab")
    setattr(module, "icm_specs", hookimpl(lambda: paths, specname="icm_specs"))  # noqa: B010
    return build_registry(path=[], extra={"tiny": tiny, "lab": module})


def test_a_pipeline_is_known_by_the_fingerprints_of_all_its_files(several: Registry) -> None:
    first, second = Fingerprints(several).shipped
    assert (sorted(first.bases), sorted(first.enhancements)) == (["aa"], ["11"])
    assert (sorted(second.bases), sorted(second.enhancements)) == (["aa", "bb"], ["22", "33"])


@pytest.mark.parametrize(
    ("base", "enhancement", "name"),
    [
        ("aa", None, "first"),
        ("aa", "11", "first"),
        ("aa", "33", "second"),
        ("aa", "22", "second"),
        ("aa", "44", "first"),
        ("bb", None, "second"),
        ("bb", "11", "second"),
        ("cc", "33", None),
        ("11", None, None),
    ],
)
def test_of_pipelines_with_one_base_that_of_the_enhancement_is_found(
    several: Registry, base: str, enhancement: str | None, name: str | None
) -> None:
    found = Fingerprints(several)
    fine = None if enhancement is None else bytes.fromhex(enhancement)
    assert found.find(bytes.fromhex(base), fine) == name
    layers = [Layer(LayerKind.BASE, bytes.fromhex(base), b"x")]
    if fine is not None:
        layers.append(Layer(LayerKind.ENHANCEMENT, fine, b"y"))
    assert found.of(Container(8, 8, Quality.of(2), tuple(layers), truncated=False)) == name
