"""Pictures as features: a network behind what another task or the enhancement decodes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from icm_core import BitstreamError, Pipeline, Registry, SpecError, build, parse_spec
from icm_core.inspection.cost import account
from icm_core.types import Features


def behind(data: dict[str, Any], of: str) -> dict[str, Any]:
    """The tiny spec with the classifier behind a decoded picture."""
    data["tasks"]["classes"]["adapter"] = {"use": "core.decoded_picture", "params": {"of": of}}
    return data


def pipeline(registry: Registry, data: dict[str, Any]) -> Pipeline:
    torch.manual_seed(0)
    return build(parse_spec(data), registry)


@pytest.mark.parametrize("of", ["coarse", "fine"])
def test_a_head_reads_what_people_see(registry: Registry, data: dict[str, Any], picture: torch.Tensor, of: str) -> None:
    pipe = pipeline(registry, behind(data, of))
    blob = pipe.encode(picture, quality=3)
    shown = pipe.decode(blob, tasks=[of])[of].output
    with torch.no_grad():
        expected = pipe.task("classes").head(Features({"image": shown}, (37, 53)))
    assert torch.equal(pipe.decode(blob, tasks=["classes"])["classes"].output, expected)
    assert torch.equal(pipe.decode(blob)["classes"].output, expected)


def test_a_task_behind_the_refined_picture_needs_the_whole_file(
    registry: Registry, data: dict[str, Any], picture: torch.Tensor
) -> None:
    pipe = pipeline(registry, behind(data, "fine"))
    base = pipe.encode(picture, quality=3, enhancement=False)
    assert list(pipe.decode(base)) == ["labels", "coarse"]
    with pytest.raises(BitstreamError, match="has no 'fine' picture; its tasks are labels, coarse"):
        pipe.decode(base, tasks=["classes"])
    assert pipe.reads_fine("classes") and not pipe.reads_fine("coarse")


def test_a_task_behind_the_coarse_picture_reads_base_files(
    registry: Registry, data: dict[str, Any], picture: torch.Tensor
) -> None:
    pipe = pipeline(registry, behind(data, "coarse"))
    assert "classes" in pipe.decode(pipe.encode(picture, quality=3, enhancement=False))


def test_old_files_are_read_because_no_fingerprint_changes(
    registry: Registry, data: dict[str, Any], picture: torch.Tensor, pipeline: Pipeline
) -> None:
    torch.manual_seed(0)
    other = build(parse_spec(behind(data, "coarse")), registry)
    other.load_state_dict(pipeline.state_dict(), strict=False)
    assert "classes" in other.decode(pipeline.encode(picture))


@pytest.mark.parametrize(
    ("of", "says"),
    [
        ("caorse", "tasks.classes.adapter reads the picture 'caorse': unknown picture 'caorse'; did you mean 'coarse'"),
        ("labels", "tasks.classes.adapter reads the picture 'labels'"),
        ("classes", "tasks.classes.adapter reads the picture 'classes'"),
    ],
)
def test_what_is_no_picture_is_refused_when_built(registry: Registry, data: dict[str, Any], of: str, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        build(parse_spec(behind(data, of)), registry)
    assert says in str(caught.value)


def test_without_enhancement_there_is_no_refined_picture(registry: Registry, data: dict[str, Any]) -> None:
    data["enhancement"] = None
    with pytest.raises(SpecError, match="reads the picture 'fine'"):
        build(parse_spec(behind(data, "fine")), registry)


def test_costs_are_counted_without_weights(registry: Registry, data: dict[str, Any]) -> None:
    found = account(parse_spec(behind(data, "fine")), registry, height=32, width=64)
    rows = {module.path: module for module in found.modules}
    assert rows["tasks.classes.adapter"].outputs == {"image": (1, 3, 32, 64)}
