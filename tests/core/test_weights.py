"""Weights on disk: what is stored, and every way in which a file can be wrong."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import safetensors.torch
import torch

from icm_core import InputError, Pipeline, Registry, WeightsError, build, build_registry, hookimpl, parse_spec
from icm_core.pipeline import weights as w
from icm_core.pipeline.identify import Fingerprints


@pytest.fixture
def path(tmp_path: Path, pipeline: Pipeline) -> Path:
    """All weights of the tiny pipeline in one file."""
    file = tmp_path / "all.safetensors"
    w.save(pipeline, {file: [""]})
    return file


@pytest.fixture
def fresh(registry: Registry, data: dict[str, Any]) -> Pipeline:
    """The same pipeline with other weights."""
    torch.manual_seed(9)
    return build(parse_spec(data), registry)


def rewrite(path: Path, **changes: torch.Tensor | None) -> None:
    tensors = safetensors.torch.load_file(path)
    for key, value in changes.items():
        name = key.replace("__", ".")
        tensors.pop(name, None)
        if value is not None:
            tensors[name] = value
    safetensors.torch.save_file(tensors, path)


def load_error(module: torch.nn.Module, *files: Path) -> str:
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        w.load_weights(module, files)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_stored(path: Path, pipeline: Pipeline) -> None:
    stored = safetensors.torch.load_file(path)
    assert set(stored) == set(pipeline.state_dict())
    assert stored["codec.mix.weight"].dtype == torch.float16
    assert stored["codec.table"].dtype == torch.int32
    assert stored["tasks.classes.head.norm.running_var"].dtype == torch.float32
    assert stored["tasks.classes.head.norm.num_batches_tracked"].dtype == torch.int64


def test_loading_gives_the_fingerprints_of_the_metadata(path: Path, pipeline: Pipeline, fresh: Pipeline) -> None:
    w.load_weights(fresh, [path])
    assert fresh.codec.mix.weight.dtype == torch.float32
    assert torch.equal(fresh.codec.mix.weight, pipeline.codec.mix.weight.half().float())
    fine = fresh.enhancement_fingerprint
    assert fine is not None
    assert w.metadata(path) == {
        "format": "pt",
        "icm.name": "tiny",
        "icm.fingerprint.base": fresh.base_fingerprint.hex(),
        "icm.fingerprint.enhancement": fine.hex(),
    }


def test_tensors_begin_at_multiples_of_eight_bytes(path: Path) -> None:
    assert int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0


def test_saving_again_changes_nothing(path: Path, fresh: Pipeline, tmp_path: Path) -> None:
    w.load_weights(fresh, [path])
    again = tmp_path / "again.safetensors"
    w.save(fresh, {again: [""]})
    assert again.read_bytes() == path.read_bytes()


def test_saving_does_not_touch_the_pipeline(pipeline: Pipeline, tmp_path: Path) -> None:
    with torch.no_grad():
        pipeline.enhancement.scale.fill_(1 / 3)
    before = pipeline.enhancement_fingerprint
    w.save(pipeline, {tmp_path / "x.safetensors": [""]})
    assert pipeline.enhancement_fingerprint == before
    assert w.metadata(tmp_path / "x.safetensors")["icm.fingerprint.enhancement"] != (before or b"").hex()


def test_several_files(pipeline: Pipeline, fresh: Pipeline, tmp_path: Path) -> None:
    one, two = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    w.save(pipeline, {one: ["codec.", "enhancement."], two: ["tasks."]})
    w.load_weights(fresh, [two, one])
    assert torch.equal(fresh.task("labels").head.layers[1].bias, pipeline.task("labels").head.layers[1].bias.half())
    assert w.metadata(one) == w.metadata(two)
    assert f"{one}: lacks 'tasks.labels" in load_error(fresh, one)
    assert "is also in" in load_error(fresh, one, two, one)


@pytest.mark.parametrize("key", ["codec.table", "tasks.classes.head.norm.num_batches_tracked"])
def test_no_key_may_be_missing_whatever_it_is(pipeline: Pipeline, fresh: Pipeline, tmp_path: Path, key: str) -> None:
    path = tmp_path / "less.safetensors"
    safetensors.torch.save_file({name: value for name, value in pipeline.state_dict().items() if name != key}, path)
    assert f"{path}: lacks '{key}' of shape" in load_error(fresh, path)


def test_some_parts_can_be_saved_alone(pipeline: Pipeline, tmp_path: Path) -> None:
    one, two = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    w.save(pipeline, {one: ["codec."], two: ["tasks.labels.", "enhancement."]}, partly=True)
    parts = {file: {w.component_of(key) for key in w.read_tensors(file)} for file in (one, two)}
    assert parts == {one: {"codec"}, two: {"tasks.labels.adapter", "tasks.labels.head", "enhancement"}}
    with pytest.raises(WeightsError, match=r"would be written to .* and "):
        w.save(pipeline, {one: ["tasks."], two: ["tasks.labels."]}, partly=True)


@pytest.mark.parametrize(
    ("prefixes", "says"),
    [(["codec."], "would be written to no file"), (["", "codec."], "too large")],
)
def test_prefixes_cover_each_key_once(pipeline: Pipeline, tmp_path: Path, prefixes: list[str], says: str) -> None:
    if says == "too large":
        with pytest.raises(WeightsError, match="above the limit of 100; split it by prefixes"):
            w.save(pipeline, {tmp_path / "x.safetensors": prefixes}, max_bytes=100)
    else:
        with pytest.raises(WeightsError, match=says):
            w.save(pipeline, {tmp_path / "x.safetensors": prefixes})
    with pytest.raises(WeightsError, match=r"would be written to .* and "):
        w.save(pipeline, {tmp_path / "x.safetensors": [""], tmp_path / "y.safetensors": ["codec."]})
    assert not list(tmp_path.iterdir())


def test_a_file_may_be_as_large_as_the_limit(pipeline: Pipeline, path: Path, tmp_path: Path) -> None:
    size = path.stat().st_size
    w.save(pipeline, {tmp_path / "again.safetensors": [""]}, max_bytes=size)
    with pytest.raises(WeightsError, match=f"{size} bytes, above the limit of {size - 1}; split it by prefixes"):
        w.save(pipeline, {tmp_path / "more.safetensors": [""]}, max_bytes=size - 1)


@pytest.mark.parametrize("value", [1e6, float("nan"), float("inf")])
def test_values_that_do_not_fit(pipeline: Pipeline, tmp_path: Path, value: float) -> None:
    with torch.no_grad():
        pipeline.codec.mix.weight.fill_(value)
    with pytest.raises(WeightsError, match=r"codec\.mix\.weight has values that are not finite in float16"):
        w.save(pipeline, {tmp_path / "x.safetensors": [""]})


def test_a_folder_that_is_not_there(pipeline: Pipeline, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        w.save(pipeline, {tmp_path / "missing" / "x.safetensors": [""]})


def test_missing_and_unreadable_files(fresh: Pipeline, tmp_path: Path, path: Path) -> None:
    assert "the weights are missing, there is no such file" in load_error(fresh, tmp_path / "no.safetensors")
    content = path.read_bytes()
    for damaged in (b"", b"version https://git-lfs", content[:50], content[:-1], b"\x80\x04" * 100):
        path.write_bytes(damaged)
        assert f"{path}: not a readable safetensors file" in load_error(fresh, path)


def test_a_pickle_is_refused_unread(fresh: Pipeline, path: Path, tmp_path: Path) -> None:
    mark = tmp_path / "executed"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(mark),)

    torch.save({"x": Bomb()}, path)
    assert "not a readable safetensors file" in load_error(fresh, path)
    assert not mark.exists()


def test_wrong_shape_names_both(fresh: Pipeline, path: Path) -> None:
    rewrite(path, codec__mix__weight=torch.zeros(3, 4, 1, 1))
    message = load_error(fresh, path)
    assert message == f"{path}: 'codec.mix.weight' has the shape (3, 4, 1, 1), and the pipeline needs (3, 3, 1, 1)"


def test_missing_key(fresh: Pipeline, path: Path) -> None:
    rewrite(path, codec__mix__weight=None)
    assert load_error(fresh, path) == (
        f"{path}: lacks 'codec.mix.weight' of shape (3, 3, 1, 1), which this pipeline needs"
    )
    rewrite(path, enhancement__scale=None)
    assert "'codec.mix.weight' of shape (3, 3, 1, 1) and 1 more" in load_error(fresh, path)


def test_extra_key(fresh: Pipeline, path: Path) -> None:
    rewrite(path, codec__mix__weights=torch.zeros(1))
    message = load_error(fresh, path)
    assert "'codec.mix.weights' belongs to nothing" in message and "did you mean 'codec.mix.weight'?" in message


def test_wrong_type(fresh: Pipeline, path: Path) -> None:
    rewrite(path, codec__table=torch.zeros(8))
    assert load_error(fresh, path) == (f"{path}: 'codec.table' is of torch.float32, and the pipeline needs torch.int32")


def test_loading_takes_the_type_of_the_module(fresh: Pipeline, path: Path) -> None:
    fresh.double()
    w.load_weights(fresh, [path])
    assert fresh.codec.mix.weight.dtype == torch.float64


def test_a_files_pipeline_is_found(
    tmp_path: Path, tiny: ModuleType, data: dict[str, Any], registry: Registry, pipeline: Pipeline
) -> None:
    import json

    def ship(name: str, **changes: Any) -> Path:
        spec = {**data, "name": name, "weights": f"{name}.safetensors", **changes}
        (tmp_path / f"{name}.json").write_text(json.dumps(spec))
        made = build(parse_spec(spec), registry)
        w.save(made, {tmp_path / f"{name}.safetensors": [""]})
        return tmp_path / f"{name}.json"

    torch.manual_seed(1)
    paths = [
        ship("b-plain", enhancement=None),
        ship("c-full"),
        ship("d-other", codec={"use": "tiny.thumbnail", "params": {"steps": 3}}),
    ]
    (tmp_path / "a-broken.json").write_text("{")
    (tmp_path / "a-bare.json").write_text(json.dumps({**data, "weights": "gone.safetensors"}))
    paths += [tmp_path / "a-broken.json", tmp_path / "a-bare.json"]
    shipping = ModuleType("shipping")
    setattr(shipping, "icm_specs", hookimpl(lambda: paths, specname="icm_specs"))  # noqa: B010
    found = build_registry(path=[], extra={"tiny": tiny, "shipping": shipping})
    base, fine = pipeline.base_fingerprint, pipeline.enhancement_fingerprint
    assert Fingerprints(found).find(base) == "b-plain"
    assert Fingerprints(found).find(base, fine) == "c-full"
    assert Fingerprints(found).find(base, b"\0\0\0\0") == "b-plain"
    assert Fingerprints(found).find(b"\0\0\0\0") is None
