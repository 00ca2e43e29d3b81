"""From a name or a path to a working pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import icm_core
from icm_core import InputError, Registry, SpecError, WeightsError, build_registry, hookimpl, load
from icm_core.pipeline import weights as w
from icm_core.pipeline.devices import pick_device


@pytest.fixture
def spec(tmp_path: Path, data: dict[str, Any], registry: Registry) -> Path:
    """A spec file with its weights beside it."""
    path = tmp_path / "lab-tiny.json"
    path.write_text(json.dumps({**data, "name": "lab-tiny", "weights": "lab.safetensors"}))
    w.save(load(path, weights=False, registry=registry), {tmp_path / "lab.safetensors": [""]})
    return path


@pytest.fixture
def shipping(spec: Path, tiny: ModuleType) -> Registry:
    """A registry in which that spec is shipped."""
    module = ModuleType("lab")
    setattr(module, "icm_specs", hookimpl(lambda: [spec], specname="icm_specs"))  # noqa: B010
    return build_registry(path=[], extra={"tiny": tiny, "lab": module})


def test_by_path_and_by_name(spec: Path, shipping: Registry, picture: torch.Tensor) -> None:
    blob = load(spec, device="cpu", registry=shipping).encode(picture)
    assert load(str(spec), device="cpu", registry=shipping).encode(picture) == blob
    pipeline = load("lab-tiny", device="cpu", precision="bf16", registry=shipping)
    assert pipeline.precision == "bf16" and not pipeline.training
    assert list(pipeline.decode(blob)) == ["labels", "classes", "coarse", "fine"]


def test_three_lines_with_installed_plugins(spec: Path, tmp_path: Path, install: Any, picture: torch.Tensor) -> None:
    source = Path(__file__).with_name("icm_tiny.py").read_text()
    source += f"\n@hookimpl\ndef icm_specs():\n    import pathlib\n    return [pathlib.Path({str(spec)!r})]\n"
    install(tmp_path / "site", "icm_three", "[icm.plugins]\ntiny = icm_tiny_three\n", icm_tiny_three=source)
    pipe = icm_core.load("lab-tiny", device="cpu")
    blob = pipe.encode(picture, quality=3)
    assert pipe.decode(blob, tasks=["labels"])["labels"].kind == "segmentation"


def test_unknown_names(shipping: Registry, tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match=r"unknown pipeline 'lab-tini'; did you mean 'lab-tiny'\? known: lab-tiny; a path"
    ):
        load("lab-tini", registry=shipping)
    with pytest.raises(SpecError, match=r"nowhere\.json: no such file"):
        load(tmp_path / "nowhere.json", registry=shipping)
    with pytest.raises(SpecError, match="no such file"):
        load("some/where", registry=shipping)


def test_weights_that_are_not_there(spec: Path, registry: Registry, data: dict[str, Any]) -> None:
    (spec.parent / "lab.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"lab\.safetensors: the weights are missing"):
        load(spec, registry=registry)
    assert load(spec, weights=False, registry=registry).name == "lab-tiny"
    spec.write_text(json.dumps(data))
    with pytest.raises(WeightsError, match="has no weights yet; train it"):
        load(spec, registry=registry)


def test_errors_name_the_file(spec: Path, registry: Registry, data: dict[str, Any]) -> None:
    data["codec"]["use"] = "tiny.thumbnails"
    spec.write_text(json.dumps(data))
    with pytest.raises(SpecError) as caught:
        load(spec, weights=False, registry=registry)
    assert str(caught.value).startswith(f"{spec}: codec.use: unknown codec 'tiny.thumbnails'; did you mean")


def test_devices() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("gpu", "cuda:", "cuda:x", "cpu:0", "meta", ""):
        with pytest.raises(InputError, match="is unknown; it is auto, cpu, cuda or cuda:<n>"):
            pick_device(name)
    with pytest.raises(InputError, match="device 'cuda:99' is not available; this machine has"):
        pick_device("cuda:99")


@pytest.mark.parametrize(
    ("count", "name", "says"),
    [(0, "cuda", "no CUDA device"), (1, "cuda:1", "this machine has cuda:0"), (2, "cuda:2", "cuda:0 to cuda:1")],
)
def test_devices_that_are_not_there(monkeypatch: pytest.MonkeyPatch, count: int, name: str, says: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(InputError, match=says):
        pick_device(name)


def test_float32_is_float32_where_a_card_is_picked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    try:
        for name in ("cpu", "cuda:0", "cuda", "auto"):
            convolutions.allow_tf32 = products.allow_tf32 = True
            place = pick_device(name)
            assert convolutions.allow_tf32 == products.allow_tf32 == (place.type == "cpu")
            assert torch.get_float32_matmul_precision() == ("high" if place.type == "cpu" else "highest")
    finally:
        convolutions.allow_tf32, products.allow_tf32 = before


def test_unknown_precision(spec: Path, registry: Registry) -> None:
    with pytest.raises(InputError, match="precision 'int8' is unknown"):
        load(spec, precision="int8", registry=registry)
