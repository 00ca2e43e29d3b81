"""Fingerprints cover all that a layer's decoding depends on, each thing by itself, and nothing else."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from icm_core import Pipeline, Registry, build, parse_spec
from icm_core.bitstream.fingerprint import base_fingerprint, enhancement_fingerprint
from icm_core.pipeline.identify import weights_digest

Change = Callable[[Any], object]


def both(pipe: Pipeline) -> tuple[bytes, bytes]:
    """Computed anew, whatever the pipeline keeps."""
    assert pipe.enhancement is not None
    return base_fingerprint(pipe.codec), enhancement_fingerprint(pipe.codec, pipe.task("coarse"), pipe.enhancement)


def says(state: bytes) -> Change:
    """Another coding state, as a component may have without any other weight."""
    return lambda component: setattr(component, "coding_state", lambda: state)


def plus(name: str) -> Change:
    """1 more in one tensor."""

    def change(module: nn.Module) -> None:
        with torch.no_grad():
            module.state_dict()[name].add_(1)

    return change


# What is changed where, and whether the base layer's fingerprint follows, and that of the enhancement layer.
CHANGES: dict[str, tuple[str, Change, bool, bool]] = {
    "the codec's coding state": ("codec", says(b"other"), True, True),
    "a table of the codec's coding path": ("codec", plus("table"), True, True),
    "a weight of the codec beside its coding path": ("codec", plus("mix.weight"), False, False),
    "the enhancement's coding state": ("enhancement", says(b"other"), False, True),
    "a weight of the enhancement": ("enhancement", plus("scale"), False, True),
    "the adapter that it refines": ("tasks.coarse.adapter", plus("color.bias"), False, True),
    "the head that it refines": ("tasks.coarse.head", plus("shift"), False, True),
    "another task's adapter": ("tasks.labels.adapter", plus("color.bias"), False, False),
    "another task's head": ("tasks.classes.head", plus("linear.bias"), False, False),
    "statistics of another task's head": ("tasks.classes.head", plus("norm.running_mean"), False, False),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_a_layers_decoding_depends_on_is_covered_and_nothing_else(pipeline: Pipeline, what: str) -> None:
    where, change, of_base, of_enhancement = CHANGES[what]
    before = both(pipeline)
    change(pipeline.get_submodule(where))
    after = both(pipeline)
    assert (after[0] != before[0], after[1] != before[1]) == (of_base, of_enhancement)


@pytest.mark.parametrize("of", ["over", "enhancement"])
@pytest.mark.parametrize(
    "kept",
    [
        {"other": torch.zeros(4)},
        {"kept": torch.zeros(2, 2)},
        {"kept": torch.zeros(4, dtype=torch.int32)},
        {"kept": torch.tensor([0.0, 0.0, 0.0, 1e-30])},
        {"kept": torch.zeros(2), "kept_too": torch.zeros(2)},
    ],
    ids=["name", "shape", "type", "value", "parts"],
)
def test_weights_count_with_name_type_shape_and_every_byte(
    pipeline: Pipeline, of: str, kept: dict[str, torch.Tensor]
) -> None:
    def found(state: dict[str, torch.Tensor]) -> bytes:
        pipe = copy.deepcopy(pipeline)
        module = pipe.enhancement if of == "enhancement" else pipe.task("coarse")
        assert module is not None
        for name, tensor in state.items():
            module.register_buffer(name, tensor)
        return both(pipe)[1]

    assert found(kept) != found({"kept": torch.zeros(4)})


def test_the_order_in_which_weights_were_registered_does_not_count(pipeline: Pipeline) -> None:
    found = set()
    for names in (("a", "b"), ("b", "a")):
        pipe = copy.deepcopy(pipeline)
        for name in names:
            pipe.task("coarse").register_buffer(name, torch.full((2,), float(ord(name))))
        found.add(both(pipe))
    assert len(found) == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int64, torch.bool])
def test_weights_may_be_of_any_type(pipeline: Pipeline, dtype: torch.dtype) -> None:
    found = set()
    for value in (0, 1):
        pipeline.task("coarse").register_buffer("extra", torch.full((3,), value, dtype=dtype))
        found.add(both(pipeline)[1])
    assert len(found) == 2


@pytest.mark.parametrize(
    ("dtype", "values"),
    [(torch.int64, (2**24, 2**24 + 1)), (torch.float64, (1.0, 1.0 + 2.0**-40)), (torch.float32, (0.0, -0.0))],
)
def test_every_bit_of_a_weight_counts(pipeline: Pipeline, dtype: torch.dtype, values: tuple[float, float]) -> None:
    found = set()
    for value in values:
        pipeline.task("coarse").register_buffer("extra", torch.tensor([value, 3], dtype=dtype))
        found.add(both(pipeline)[1])
    assert len(found) == 2


def test_layouts_in_memory_do_not_count(pipeline: Pipeline) -> None:
    before = both(pipeline)
    assert both(pipeline.to(memory_format=torch.channels_last)) == before


def test_they_are_the_first_four_bytes_of_sha256(pipeline: Pipeline) -> None:
    state = pipeline.codec.coding_state()
    assert both(pipeline)[0] == hashlib.sha256(state).digest()[:4]
    digest = hashlib.sha256(state)
    for module in (pipeline.task("coarse"), pipeline.enhancement):
        for name in sorted(module.state_dict()):
            tensor = module.state_dict()[name]
            digest.update(f"{name} torch.float32 {tuple(tensor.shape)}\n".encode() + tensor.numpy().tobytes())
    digest.update(b"tiny residual")
    assert both(pipeline)[1] == digest.digest()[:4]


def test_what_the_pipeline_writes_are_these(pipeline: Pipeline) -> None:
    assert (pipeline.base_fingerprint, pipeline.enhancement_fingerprint) == both(pipeline)


@pytest.mark.parametrize("what", [what for what, (_, change, *_) in CHANGES.items() if "coding state" not in what])
def test_what_a_pipeline_keeps_follows_its_weights(pipeline: Pipeline, what: str) -> None:
    where, change, _, _ = CHANGES[what]
    assert (pipeline.base_fingerprint, pipeline.enhancement_fingerprint) == both(pipeline)
    change(pipeline.get_submodule(where))
    assert (pipeline.base_fingerprint, pipeline.enhancement_fingerprint) == both(pipeline)


def test_what_names_a_measured_pipeline_is_a_hash_of_its_spec_and_of_all_that_was_loaded(pipeline: Pipeline) -> None:
    digest = hashlib.sha256(json.dumps(pipeline.spec.to_json(), sort_keys=True).encode())
    for name, tensor in sorted(pipeline.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.numpy().tobytes())
    assert weights_digest(pipeline) == digest.hexdigest()[:16]
    for name in ("codec.mix.weight", "codec.table", "tasks.classes.head.norm.running_mean", "enhancement.scale"):
        changed = copy.deepcopy(pipeline)
        changed.state_dict()[name].add_(1)
        assert weights_digest(changed) != weights_digest(pipeline)


def test_weights_in_bfloat16_have_names_of_their_own(pipeline: Pipeline) -> None:
    short, changed = (copy.deepcopy(pipeline).to(torch.bfloat16) for _ in range(2))
    changed.state_dict()["codec.mix.weight"].add_(1)
    assert len({weights_digest(one) for one in (pipeline, short, changed)}) == 3


def test_figures_hold_whatever_is_said_of_the_training(pipeline: Pipeline, registry: Registry) -> None:
    data = pipeline.spec.to_json()
    data["tasks"]["classes"]["trained_on"] = {"data": "some", "pictures": "streets"}
    said = build(parse_spec(data), registry)
    said.load_state_dict(pipeline.state_dict())
    assert said.spec != pipeline.spec and weights_digest(said) == weights_digest(pipeline)
