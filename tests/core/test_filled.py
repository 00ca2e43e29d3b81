"""Weights that are brought into a pipeline: from which names, into which file, and what is missing afterwards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from icm_core import (
    InputError,
    Pipeline,
    Registry,
    SpecError,
    WeightsError,
    build,
    build_registry,
    hookimpl,
    parse_spec,
)
from icm_core.pipeline import weights as w
from icm_core.pipeline.fill import fill

HEAD = "tasks.classes.head"
PARTS = {
    "codec",
    "enhancement",
    *(f"tasks.{t}.{p}" for t in ("labels", "classes", "coarse") for p in ("adapter", "head")),
}


@pytest.fixture
def trained(registry: Registry, data: dict[str, Any]) -> Pipeline:
    torch.manual_seed(8)
    return build(parse_spec(data), registry)


@pytest.fixture
def source(trained: Pipeline, tmp_path: Path) -> Path:
    """A head's weights under its own names."""
    save_file(trained.task("classes").head.state_dict(), tmp_path / "theirs.safetensors")
    return tmp_path / "theirs.safetensors"


def spec(folder: Path, data: dict[str, Any], *weights: str, **changes: Any) -> Path:
    path = folder / "lab.json"
    path.write_text(json.dumps({**data, "name": "lab", "weights": [*weights], **changes}))
    return path


def saved(pipe: Pipeline, file: Path, parts: Sequence[str]) -> None:
    w.save(pipe, {file: [f"{part}." for part in parts]}, partly=True)


def test_what_the_files_hold_already_is_kept_and_no_longer_missing(
    trained: Pipeline, registry: Registry, data: dict[str, Any], source: Path, tmp_path: Path
) -> None:
    path = spec(tmp_path, data, "one.safetensors", "two.safetensors")
    saved(trained, tmp_path / "one.safetensors", ["codec"])
    saved(trained, tmp_path / "two.safetensors", ["enhancement", "tasks.labels.head"])
    found = fill(path, registry, {HEAD: str(source)}, tmp_path / "two.safetensors")
    assert set(found.parts) == {HEAD, "enhancement", "tasks.labels.head"}
    assert set(found.missing) == PARTS - {HEAD, "enhancement", "tasks.labels.head", "codec"}
    written = load_file(found.file)
    assert torch.equal(written[f"{HEAD}.linear.weight"], trained.get_parameter(f"{HEAD}.linear.weight").half())
    assert torch.equal(
        written["tasks.labels.head.layers.1.weight"], trained.state_dict()["tasks.labels.head.layers.1.weight"].half()
    )
    with pytest.raises(InputError, match="names 2 weights of its own, so say with -o which file to write"):
        fill(path, registry, {HEAD: str(source)})


def test_another_file_holds_what_is_new_alone(
    trained: Pipeline, registry: Registry, data: dict[str, Any], source: Path, tmp_path: Path
) -> None:
    path = spec(tmp_path, data, "one.safetensors")
    saved(trained, tmp_path / "one.safetensors", ["codec"])
    found = fill(path, registry, {HEAD: str(source)}, tmp_path / "new.safetensors")
    assert found.parts == (HEAD,) and set(found.missing) == PARTS - {HEAD, "codec"}
    assert {key.startswith(f"{HEAD}.") for key in load_file(found.file)} == {True}


def test_what_is_inherited_is_not_missing_unless_it_has_another_shape(
    trained: Pipeline, registry: Registry, data: dict[str, Any], source: Path, tmp_path: Path
) -> None:
    saved(trained, tmp_path / "base.safetensors", sorted(PARTS - {HEAD}))
    (tmp_path / "base.json").write_text(json.dumps({**data, "name": "base", "weights": "base.safetensors"}))
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps({"icm": 1, "name": "mine", "extends": "base.json", "weights": "mine.safetensors"}))
    sources = {HEAD: str(source), "tasks.labels.adapter": "copy:tasks.coarse.adapter"}
    with torch.no_grad():
        trained.get_parameter("tasks.coarse.adapter.color.bias").add_(3)
    saved(trained, tmp_path / "base.safetensors", sorted(PARTS - {HEAD}))
    found = fill(mine, registry, sources)
    assert set(found.parts) == {HEAD, "tasks.labels.adapter"} and found.missing == ()
    copied = load_file(found.file)["tasks.labels.adapter.color.bias"]
    assert torch.equal(copied, trained.get_parameter("tasks.coarse.adapter.color.bias").half())
    tensors = load_file(tmp_path / "base.safetensors")
    save_file(
        {**tensors, "codec.mix.weight": torch.zeros(4, 3, 1, 1).half(), "codec.table": torch.zeros(2)},
        tmp_path / "base.safetensors",
    )
    assert fill(mine, registry, sources).missing == ("codec",)


def test_a_components_own_names_and_the_pipelines_are_understood(
    trained: Pipeline, registry: Registry, data: dict[str, Any], tmp_path: Path
) -> None:
    path = spec(tmp_path, data, "own.safetensors")
    other = {f"tasks.labels.head.{key}": value + 1 for key, value in trained.task("classes").head.state_dict().items()}
    inside = {f"{HEAD}.{key}": value for key, value in trained.task("classes").head.state_dict().items()}
    save_file({**other, **inside}, tmp_path / "all.safetensors")
    found = fill(path, registry, {HEAD: str(tmp_path / "all.safetensors")})
    written = load_file(found.file)
    assert torch.equal(written[f"{HEAD}.linear.weight"], trained.get_parameter(f"{HEAD}.linear.weight").half())


def test_as_many_numbers_in_another_shape_do_not_fit(
    trained: Pipeline, registry: Registry, data: dict[str, Any], tmp_path: Path
) -> None:
    path = spec(tmp_path, data, "own.safetensors")
    state = trained.task("classes").head.state_dict()
    save_file({**state, "linear.weight": state["linear.weight"].reshape(9, 1)}, tmp_path / "flat.safetensors")
    with pytest.raises(WeightsError, match=r"'linear\.weight' of .* has the shape \(9, 1\), and the component needs"):
        fill(path, registry, {HEAD: str(tmp_path / "flat.safetensors")})
    assert not (tmp_path / "own.safetensors").exists()


def test_a_part_without_weights_is_never_missing(
    registry: Registry, data: dict[str, Any], source: Path, tmp_path: Path
) -> None:
    data["tasks"]["classes"]["adapter"] = {"use": "core.decoded_picture", "params": {"of": "coarse"}}
    found = fill(spec(tmp_path, data, "own.safetensors"), registry, {HEAD: str(source)})
    assert set(found.missing) == PARTS - {HEAD, "tasks.classes.adapter"}


def test_a_users_file_may_be_larger_than_one_of_a_repository(
    registry: Registry, data: dict[str, Any], source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = spec(tmp_path, data, "own.safetensors")
    size = fill(path, registry, {HEAD: str(source)}).file.stat().st_size
    defaults = w.save.__kwdefaults__
    assert defaults is not None and defaults["max_bytes"] == 25_000_000
    monkeypatch.setitem(defaults, "max_bytes", size - 1)
    assert fill(path, registry, {HEAD: str(source)}).file.stat().st_size == size


def test_a_source_of_weights_may_have_a_colon_in_its_name(
    registry: Registry, data: dict[str, Any], tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(tiny.Classes, "start_from", lambda _, source: asked.append(source), raising=False)
    found = fill(spec(tmp_path, data, "own.safetensors"), registry, {HEAD: "start:lab:large:2"})
    assert asked == ["lab:large:2"] and found.parts == (HEAD,)


def test_a_source_that_a_component_does_not_know_is_told_with_its_place(
    registry: Registry, data: dict[str, Any], tmp_path: Path
) -> None:
    path = spec(tmp_path, data, "own.safetensors")
    with pytest.raises(
        SpecError, match=r"^tasks\.classes\.head: 'tiny\.classes' knows no pretrained weights 'imagenet'$"
    ):
        fill(path, registry, {HEAD: "start:imagenet"})
    with pytest.raises(InputError, match=r"^tasks\.classes\.head: unknown component 'tasks\.clases\.head'"):
        fill(path, registry, {HEAD: "copy:tasks.clases.head"})
    with pytest.raises(
        WeightsError, match=r"^tasks\.classes\.head: .*nothing\.safetensors: .* the weights are missing"
    ):
        fill(path, registry, {HEAD: str(tmp_path / "nothing.safetensors")})
    assert not (tmp_path / "own.safetensors").exists()


def test_a_copy_is_of_tables_and_statistics_too(
    trained: Pipeline, registry: Registry, data: dict[str, Any], tmp_path: Path
) -> None:
    data["tasks"]["more"] = data["tasks"]["classes"]
    with torch.no_grad():
        trained.get_buffer(f"{HEAD}.norm.running_mean").copy_(torch.tensor([1.0, 2.0, 3.0]))
    saved(trained, tmp_path / "own.safetensors", [HEAD])
    found = fill(spec(tmp_path, data, "own.safetensors"), registry, {"tasks.more.head": f"copy:{HEAD}"})
    written = load_file(found.file)
    own, copied = (
        {key.removeprefix(f"{head}."): value for key, value in written.items() if key.startswith(f"{head}.")}
        for head in (HEAD, "tasks.more.head")
    )
    assert {"linear.weight", "norm.running_mean", "norm.num_batches_tracked"} <= own.keys() == copied.keys()
    assert all(torch.equal(value, copied[key]) for key, value in own.items())
    assert copied["norm.running_mean"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("key", ["linear.bias", "norm.running_mean", "norm.num_batches_tracked"])
def test_a_source_has_everything_that_its_component_needs(
    trained: Pipeline, registry: Registry, data: dict[str, Any], tmp_path: Path, key: str
) -> None:
    state = dict(trained.task("classes").head.state_dict())
    del state[key]
    save_file(state, tmp_path / "less.safetensors")
    with pytest.raises(
        WeightsError, match=rf"less\.safetensors lacks '{key}'; did you mean its '|less.*lacks '{key}'; it"
    ):
        fill(spec(tmp_path, data, "own.safetensors"), registry, {HEAD: str(tmp_path / "less.safetensors")})
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(WeightsError, match=r"empty\.safetensors lacks '.*', it is empty$"):
        fill(spec(tmp_path, data, "own.safetensors"), registry, {HEAD: str(tmp_path / "empty.safetensors")})


def test_what_stands_in_any_of_the_specs_own_files_is_there(
    trained: Pipeline, registry: Registry, data: dict[str, Any], source: Path, tmp_path: Path
) -> None:
    names = ["one.safetensors", "two.safetensors", "three.safetensors"]
    for name, parts in zip(names, (["codec"], ["enhancement"], ["tasks.labels.head"]), strict=True):
        saved(trained, tmp_path / name, parts)
    path = spec(tmp_path, data, *names)
    found = fill(path, registry, {HEAD: str(source)}, tmp_path / "new.safetensors")
    assert set(found.missing) == PARTS - {HEAD, "codec", "enhancement", "tasks.labels.head"}
    with pytest.raises(InputError, match=r"names 3 weights of its own, so say with -o which file to write"):
        fill(path, registry, {HEAD: str(source)})
    with pytest.raises(InputError, match=r"names no weights of its own, so say with -o which file to write"):
        fill(spec(tmp_path, data), registry, {HEAD: str(source)})


def test_weights_of_a_class_that_was_exchanged_are_missing_though_they_would_fit(
    trained: Pipeline, data: dict[str, Any], source: Path, tiny: Any, tmp_path: Path
) -> None:
    class Other(tiny.Labels):  # type: ignore[misc]
        """The same layers in another class."""

        name = "lab.labels"

    module = ModuleType("lab")
    setattr(module, "icm_heads", hookimpl(lambda: [Other], specname="icm_heads"))  # noqa: B010
    registry = build_registry(path=[], extra={"tiny": tiny, "lab": module})
    saved(trained, tmp_path / "base.safetensors", sorted(PARTS - {HEAD}))
    (tmp_path / "base.json").write_text(json.dumps({**data, "name": "base", "weights": "base.safetensors"}))
    mine = tmp_path / "mine.json"
    change = {"tasks": {"labels": {"head": {"use": "lab.labels"}}}, "weights": "mine.safetensors"}
    mine.write_text(json.dumps({"icm": 1, "name": "mine", "extends": "base.json", **change}))
    assert fill(mine, registry, {HEAD: str(source)}).missing == ("tasks.labels.head",)
