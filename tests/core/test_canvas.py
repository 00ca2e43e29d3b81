"""What answers are drawn on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from icm_core import Pipeline, Registry, build, parse_spec
from icm_core.pictures import to_picture


def same(one: Image.Image, other: Image.Image) -> bool:
    return np.array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(["fine", "coarse"], "fine"), (["coarse", "fine"], "fine"), (["labels", "coarse"], "coarse"), (["fine"], "fine")],
)
def test_the_best_picture_that_was_decoded_is_taken(
    pipeline: Pipeline, picture: torch.Tensor, asked: list[str], expected: str
) -> None:
    decoded = pipeline.decode(pipeline.encode(picture), asked)
    both = pipeline.decode(pipeline.encode(picture), ["coarse", "fine"])
    assert not same(to_picture(both["coarse"].output), to_picture(both["fine"].output))
    assert same(pipeline.canvas(decoded), to_picture(both[expected].output))


def test_without_one_the_picture_is_decoded(pipeline: Pipeline, picture: torch.Tensor) -> None:
    blob = pipeline.encode(picture)
    canvas = pipeline.canvas(pipeline.decode(blob, ["labels"]))
    assert same(canvas, to_picture(pipeline.decode(blob, ["coarse"])["coarse"].output))


def test_of_several_pictures_the_one_that_is_refined_is_decoded(
    registry: Registry, data: dict[str, Any], picture: torch.Tensor
) -> None:
    other = {"adapter": data["tasks"]["coarse"]["adapter"], "head": {"use": "tiny.picture"}}
    pipe = build(parse_spec({**data, "tasks": {"other": other, **data["tasks"]}}), registry)
    with torch.no_grad():
        pipe.get_parameter("tasks.other.head.shift").add_(0.3)
    blob = pipe.encode(picture)
    each = pipe.decode(blob, ["other", "coarse"])
    assert not same(to_picture(each["other"].output), to_picture(each["coarse"].output))
    assert same(pipe.canvas(pipe.decode(blob, ["labels"])), to_picture(each["coarse"].output))


def test_a_picture_that_is_made_of_another_one_is_decoded_too(
    registry: Registry, data: dict[str, Any], picture: torch.Tensor
) -> None:
    copied = {"adapter": {"use": "core.decoded_picture", "params": {"of": "coarse"}}, "head": {"use": "tiny.picture"}}
    tasks = {"copied": copied, "labels": data["tasks"]["labels"], "coarse": data["tasks"]["coarse"]}
    pipe = build(parse_spec({**data, "tasks": tasks, "enhancement": None}), registry)
    blob = pipe.encode(picture)
    canvas = pipe.canvas(pipe.decode(blob, ["labels"]))
    assert same(canvas, to_picture(pipe.decode(blob, ["copied"])["copied"].output))


def test_where_no_task_shows_a_picture_it_is_grey(
    registry: Registry, data: dict[str, Any], picture: torch.Tensor
) -> None:
    pipe = build(parse_spec({**data, "tasks": {"labels": data["tasks"]["labels"]}, "enhancement": None}), registry)
    canvas = pipe.canvas(pipe.decode(pipe.encode(picture)))
    assert same(canvas, Image.new("RGB", (53, 37), (128, 128, 128)))
