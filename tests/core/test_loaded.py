"""Which spec is loaded, which weights, and in which form."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from icm_core import Registry, SpecError, WeightsError, build_registry, hookimpl, load
from icm_core.pipeline import weights as w
from icm_core.pipeline.load import find_spec


@pytest.fixture
def spec(tmp_path: Path, data: dict[str, Any], registry: Registry) -> Path:
    """A spec file with its weights in two files beside it."""
    path = tmp_path / "lab.json"
    path.write_text(json.dumps({**data, "name": "lab", "weights": ["codec.safetensors", "rest.safetensors"]}))
    files = {tmp_path / "codec.safetensors": ["codec."], tmp_path / "rest.safetensors": ["tasks.", "enhancement."]}
    torch.manual_seed(4)
    w.save(load(path, weights=False, device="cpu", registry=registry), files)
    return path


@pytest.fixture
def shipping(spec: Path, tiny: ModuleType) -> Registry:
    """A registry in which that spec is shipped, and is what is loaded where nothing is named."""
    module = ModuleType("lab")
    setattr(module, "icm_specs", hookimpl(lambda: [spec], specname="icm_specs"))  # noqa: B010
    setattr(module, "icm_default_pipelines", hookimpl(lambda: ["lab"], specname="icm_default_pipelines"))  # noqa: B010
    return build_registry(path=[], extra={"tiny": tiny, "lab": module})


def test_where_nothing_is_named_the_pipeline_that_plugins_say_is_loaded(shipping: Registry) -> None:
    assert load(device="cpu", registry=shipping).name == "lab"
    with pytest.raises(SpecError, match="unknown pipeline ''"):
        load("", device="cpu", registry=shipping)


def test_convolutions_have_their_channels_last(spec: Path, registry: Registry) -> None:
    pipe = load(spec, device="cpu", registry=registry)
    kernel = pipe.get_parameter("tasks.labels.head.layers.0.weight")
    assert kernel.shape == (3, 5, 3, 3)
    assert kernel.is_contiguous(memory_format=torch.channels_last) and not kernel.is_contiguous()
    stored = load_file(spec.with_name("rest.safetensors"))["tasks.labels.head.layers.0.weight"]
    assert torch.equal(kernel, stored.float())


def test_a_file_that_is_missing_is_an_error_unless_what_is_there_is_enough(spec: Path, registry: Registry) -> None:
    trained = load(spec, device="cpu", registry=registry).state_dict()
    spec.with_name("rest.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"rest\.safetensors: the weights are missing"):
        load(spec, device="cpu", registry=registry)
    torch.manual_seed(5)
    partly = load(spec, device="cpu", weights="available", registry=registry).state_dict()
    same = {key for key, value in partly.items() if torch.equal(value, trained[key])}
    assert {"codec.mix.weight", "codec.table"} <= same and "tasks.labels.head.layers.0.weight" not in same


def test_a_key_that_is_missing_is_an_error_unless_what_is_there_is_enough(spec: Path, registry: Registry) -> None:
    file = spec.with_name("rest.safetensors")
    tensors = load_file(file)
    shift = tensors.pop("tasks.coarse.head.shift")
    save_file(tensors, file)
    with pytest.raises(WeightsError, match=r"lacks 'tasks\.coarse\.head\.shift' of shape \(1, 3, 1, 1\)"):
        load(spec, device="cpu", registry=registry)
    found = load(spec, device="cpu", weights="available", registry=registry)
    assert found.get_parameter("tasks.coarse.head.shift").shape == shift.shape


def test_a_name_a_path_and_a_file_without_its_ending_are_found(
    spec: Path, shipping: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(spec.parent)
    Path("other").write_text(spec.read_text())
    assert find_spec("lab", shipping) == spec
    assert find_spec("lab.json", shipping) == Path("lab.json")
    assert find_spec("other", shipping) == Path("other")
    assert find_spec(Path("lab"), shipping) == Path("lab")
    assert find_spec("./lab", shipping) == Path("./lab")
    with pytest.raises(SpecError, match=r"unknown pipeline 'othr'.*; a path of a spec ends with \.json"):
        find_spec("othr", shipping)


def test_a_shipped_name_comes_before_a_file_or_folder_of_its_name(
    spec: Path, shipping: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(spec.parent)
    Path("lab").write_text("something else")
    assert find_spec("lab", shipping) == spec
    Path("lab").unlink()
    Path("lab").mkdir()
    assert find_spec("lab", shipping) == spec
    assert find_spec("nothing.json", shipping) == Path("nothing.json")  # reading it says that it is missing
    assert find_spec("some\\where", shipping) == Path("some\\where")


def test_a_pipeline_that_has_nothing_to_learn_needs_no_weights(tmp_path: Path, tiny: ModuleType) -> None:
    """Such as one around a codec of another program."""

    class Bare(tiny.Thumbnail):  # type: ignore[misc, name-defined]
        """Nothing is learned."""

        name = "lab.bare"

        def __init__(self, params: Any) -> None:
            super().__init__(params)
            del self.mix
            self.register_buffer("table", self.table, persistent=False)

    class Same(tiny.Enlarge):  # type: ignore[misc, name-defined]
        """Colours as they are."""

        name = "lab.same"

        def __init__(self, params: Any, layout: Any) -> None:
            super().__init__(params, layout)
            self.color = torch.nn.Identity()

    class Shown(tiny.Picture):  # type: ignore[misc, name-defined]
        """The picture as it is."""

        name = "lab.shown"

        def __init__(self, params: Any, features: Any) -> None:
            super().__init__(params, features)
            del self.shift
            self.register_buffer("shift", torch.zeros(1, 3, 1, 1), persistent=False)

    module = ModuleType("lab")
    for hook, cls in (("icm_codecs", Bare), ("icm_adapters", Same), ("icm_heads", Shown)):
        setattr(module, hook, hookimpl(lambda cls=cls: [cls], specname=hook))
    registry = build_registry(path=[], extra={"tiny": tiny, "lab": module})
    task = {"adapter": {"use": "lab.same"}, "head": {"use": "lab.shown"}}
    path = tmp_path / "bare.json"
    path.write_text(json.dumps({"icm": 1, "name": "bare", "codec": {"use": "lab.bare"}, "tasks": {"coarse": task}}))
    pipe = load(path, device="cpu", registry=registry)
    assert not pipe.state_dict()
    assert list(pipe.decode(pipe.encode(torch.rand(3, 20, 30)))) == ["coarse"]
