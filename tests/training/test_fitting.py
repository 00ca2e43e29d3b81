"""What losses ask of a pipeline before a stage begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from icm_core import Pipeline, Registry, SpecError, build, parse_spec
from icm_core.interfaces import DataSet
from icm_core.nests import Nest
from icm_core.types import FeatureLayout, Level
from icm_training.fitting import check_enhancement, check_number, check_output, check_picture, named

SEG = "segmentation"


def without_enhancement(pipe: Pipeline, registry: Registry) -> Pipeline:
    spec = pipe.spec.to_json()
    del spec["enhancement"]
    return build(parse_spec(spec), registry)


def test_a_loss_of_a_task_names_one() -> None:
    assert named("a.loss", SEG) == SEG
    with pytest.raises(SpecError, match=r"^loss 'a\.loss' needs the task that it is about$"):
        named("a.loss", None)


@pytest.mark.parametrize(("number", "good"), [(0, True), (1, True), (2, False), (7, False)])
def test_outputs_are_counted_from_0(number: int, good: bool) -> None:
    if good:
        check_number(number, 2, SEG)
        return
    with pytest.raises(SpecError, match=f"^output is {number}; the head of task 'segmentation' has 2, counted from 0$"):
        check_number(number, 2, SEG)


def test_a_head_without_memory_is_asked_for_its_outputs(pipe: Pipeline) -> None:
    head = pipe.task(SEG).head
    check_output(head, SEG, 2)  # one with weights is asked in training
    bare = head.to("meta")
    check_output(bare, SEG, 1)
    with pytest.raises(SpecError, match="output is 2; the head of task 'segmentation' has 2, counted from 0"):
        check_output(bare, SEG, 2)


@pytest.mark.parametrize("error", [RuntimeError, KeyError, NotImplementedError])
def test_a_head_that_cannot_run_without_values_is_asked_in_training(
    pipe: Pipeline, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    head = pipe.task(SEG).head.to("meta")

    def fails(*_: object) -> Nest:
        raise error("no values")

    monkeypatch.setattr(head, "forward", fails)
    monkeypatch.setattr(head, "outputs", fails)
    check_output(head, SEG, 2)


def test_a_head_is_asked_with_maps_of_its_own_channels_and_strides(
    pipe: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = pipe.task("coarse").head.to("meta")
    seen: list[Any] = []

    def noted(features: Any) -> list[tuple[float, Nest]]:
        seen.append(features)
        return [(1.0, torch.zeros(1))]

    monkeypatch.setattr(head, "outputs", noted)
    check_output(head, "coarse", 0)
    (features,) = seen
    shapes = {name: (level.channels, 256 // level.stride, 256 // level.stride) for name, level in head.features.items()}
    assert {name: tuple(values.shape[1:]) for name, values in features.maps.items()} == shapes
    assert features.size == (256, 256) and {values.device.type for values in features.maps.values()} == {"meta"}


@pytest.mark.parametrize(
    ("layout", "good"),
    [({"image": (3, 1)}, True), ({"image": (1, 1)}, False), ({"image": (3, 2)}, False), ({"h1": (3, 1)}, False)],
)
def test_a_semantic_image_is_a_map_of_three_channels_at_full_size(
    pipe: Pipeline, monkeypatch: pytest.MonkeyPatch, layout: dict[str, tuple[int, int]], good: bool
) -> None:
    levels: FeatureLayout = {name: Level(*level) for name, level in layout.items()}
    monkeypatch.setattr(pipe.task("coarse").head, "features", levels)
    if good:
        check_picture("a.loss", "image", pipe, "coarse")
        return
    with pytest.raises(SpecError, match=r"^the adapter of task 'coarse' makes no semantic image: no map 'image' of 3"):
        check_picture("a.loss", "image", pipe, "coarse")


def test_pictures_of_a_task_need_one_and_fine_ones_an_enhancement(pipe: Pipeline, registry: Registry) -> None:
    check_enhancement(pipe)
    check_picture("a.loss", "fine", pipe, None)
    check_picture("a.loss", "output", pipe, "coarse")
    for of in ("output", "image"):
        with pytest.raises(SpecError, match="needs the task that it is about"):
            check_picture("a.loss", of, pipe, None)
    with pytest.raises(SpecError, match=r"^task 'segmentation' is of kind segmentation; loss 'a\.loss' of its output"):
        check_picture("a.loss", "output", pipe, SEG)
    bare = without_enhancement(pipe, registry)
    says = "^pipeline 'smoke' has no enhancement, so no fine picture to train on$"
    with pytest.raises(SpecError, match=says):
        check_enhancement(bare)
    with pytest.raises(SpecError, match=says):
        check_picture("a.loss", "fine", bare, "coarse")


def test_a_loss_of_the_fine_picture_is_refused_where_there_is_none(
    pipe: Pipeline, registry: Registry, shapes: Callable[..., DataSet]
) -> None:
    bare = without_enhancement(pipe, registry)
    for name, of in (("rate", "all"), ("rate", "enhancement"), ("mse", "fine"), ("features", "fine")):
        cls = registry.losses.get(f"training.{name}")
        with pytest.raises(SpecError, match="has no enhancement"):
            cls(cls.Params.model_validate({"of": of}), bare, None, shapes())
    rate = registry.losses.get("training.rate")
    rate(rate.Params.model_validate({"of": "side"}), bare, None, shapes())
