"""Weights that are brought into a pipeline: from which names, into which file, and what is missing afterwards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from icm_core import InputError, Pipeline, Registry, WeightsError, build, parse_spec
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
