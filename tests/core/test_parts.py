"""What both sides of a pipeline ask of it: where it is, what it is called, which qualities it has."""

from __future__ import annotations

import copy
import threading
import time
from typing import Any

import pytest
import torch

from icm_core import InputError, Pipeline, Registry, SideInfo, build, parse_spec
from icm_core.bitstream.container import read
from icm_core.pipeline.parts import hashes


def test_a_pipeline_without_parameters_is_where_its_buffers_are(pipeline: Pipeline) -> None:
    for module in pipeline.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach())
    assert not list(pipeline.parameters())
    assert pipeline.device.type == "cpu"
    assert pipeline.to("meta").device.type == "meta"


def test_fingerprints_are_the_same_in_any_precision(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of a codec and an enhancement that multiply matrices of their weights."""

    def product(weight: torch.Tensor) -> bytes:
        return bytes((weight @ weight.T).float().numpy().tobytes())

    with torch.no_grad():
        pipeline.get_parameter("codec.mix.weight").copy_(torch.linspace(0.1, 1.3, 9).view(3, 3, 1, 1))
    assert pipeline.enhancement is not None
    monkeypatch.setattr(type(pipeline.codec), "coding_state", lambda codec: product(codec.mix.weight.flatten(1)))
    monkeypatch.setattr(type(pipeline.enhancement), "coding_state", lambda own: product(own.scale[None] / 7))
    faster = copy.deepcopy(pipeline)
    faster.precision = "bf16"
    assert faster.base_fingerprint == pipeline.base_fingerprint
    assert faster.enhancement_fingerprint == pipeline.enhancement_fingerprint


def test_side_information_alone_does_not_do_for_a_task_of_the_refined_picture(
    registry: Registry, data: dict[str, Any], picture: torch.Tensor
) -> None:
    data["tasks"]["classes"]["adapter"] = {"use": "core.decoded_picture", "params": {"of": "fine"}}
    pipe = build(parse_spec(data), registry)
    side = pipe.analyse(picture)
    with pytest.raises(InputError, match="task 'classes' reads the 'fine' picture, which the base layer alone"):
        pipe.side_for("classes", side)
    assert pipe.side_for("labels", side) is side


def test_a_refused_quality_is_told_which_ones_there_are(pipeline: Pipeline) -> None:
    with pytest.raises(InputError, match=r"^quality 4\.5 is out of range; pipeline 'tiny' has 1 to 4$"):
        pipeline.quality(4.5)


def test_a_control_hash_is_of_all_levels() -> None:
    fine, coarse = torch.rand(2, 3, 4, 6), torch.rand(2, 5, 2, 3)
    changed = coarse.clone()
    changed[1, 4, 1, 2] += 1
    before, after = (hashes(SideInfo((fine, levels), (8, 12)), 2) for levels in (coarse, changed))
    assert before[0] == after[0] and before[1] != after[1]


def test_what_a_task_was_trained_on_is_as_its_spec_says(registry: Registry, data: dict[str, Any]) -> None:
    data["tasks"]["labels"]["trained_on"] = {"data": "ten pictures", "pictures": "streets"}
    pipe = build(parse_spec(data), registry)
    assert str(pipe.trained_on("labels")) == "pictures of streets (ten pictures)"
    assert pipe.trained_on("classes") is None and pipe.trained_on("fine") is None


@pytest.mark.parametrize(("lanes", "expected"), [(None, 1), (2, 2)])
def test_one_thread_computes_on_a_cpu_unless_more_are_asked_for(
    pipeline: Pipeline, picture: torch.Tensor, monkeypatch: pytest.MonkeyPatch, lanes: int | None, expected: int
) -> None:
    seen = set()
    plain = type(pipeline.codec).decode

    def slow(*args: Any) -> SideInfo:
        seen.add(threading.get_ident())
        time.sleep(0.05)
        return plain(*args)

    files = [read(pipeline.encode(picture, enhancement=False))] * 4
    monkeypatch.setattr(type(pipeline.codec), "decode", slow)
    assert len(list(pipeline.decode_many(files, lanes=lanes))) == 4
    assert len(seen) == expected


def test_an_adapter_of_several_pictures_is_given_each_of_them(
    registry: Registry, data: dict[str, Any], picture: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {"adapter": data["tasks"]["coarse"]["adapter"], "head": {"use": "tiny.picture"}}
    data["tasks"]["classes"]["adapter"] = {"use": "core.decoded_picture", "params": {"of": "coarse"}}
    pipe = build(parse_spec({**data, "tasks": {**data["tasks"], "other": other}}), registry)
    with torch.no_grad():
        pipe.get_parameter("tasks.other.head.shift").add_(0.3)
    side = pipe.analyse(picture)
    monkeypatch.setattr(type(pipe.task("classes").adapter), "needs", ("coarse", "other"))
    found = pipe.side_for("classes", side).pictures
    assert list(found) == ["coarse", "other"]
    for name in found:
        assert torch.equal(found[name], pipe.task(name).predict(side).output)
    assert not torch.equal(found["coarse"], found["other"])


def test_a_quality_is_in_the_range_if_the_step_that_is_stored_is(pipeline: Pipeline) -> None:
    assert pipeline.quality(4.02).value == 4.0 and pipeline.quality(1.01).value == 1.0
    with pytest.raises(InputError, match=r"quality 4\.04 is out of range"):
        pipeline.quality(4.04)


def test_two_threads_work_for_a_card(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(pipeline), "device", torch.device("cuda", 1))
    assert [pipeline._lanes(asked) for asked in (None, 1, 3)] == [2, 1, 3]
