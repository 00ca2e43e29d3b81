"""The model card: what it says of the pipeline, the data, the source and the stages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from icm_core import Pipeline, Registry, build, parse_spec
from icm_training.card import model_card
from icm_training.recipe import RecipeSpec

Smoke = Callable[..., RecipeSpec]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
STAGE = {
    "steps": 1200,
    "seconds": 150.0,
    "device": "2 threads",
    "last": {"step": 1200, "loss": 0.5, "mse/coarse": 41.26},
}
RECORD: dict[str, Any] = {
    "command": "icm train smoke",
    "packages": {"torch": "2.9.1", "timm": "not installed"},
    "source": {"commit": COMMIT, "changed": False},
    "stages": {"joint": STAGE, "fine": {**STAGE, "steps": 7, "pictures_a_second": 12.34, "last": {}}},
}


@pytest.fixture
def card(pipe: Pipeline, smoke: Smoke) -> Callable[..., str]:
    pipe.codec.freeze_tables()

    def make(recipe: dict[str, object] | None = None, own: Pipeline | None = None, **record: object) -> str:
        return model_card(own or pipe, smoke(**recipe or {}), {**RECORD, **record}, ["a.safetensors", "b.safetensors"])

    return make


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"commit": COMMIT, "changed": False}, "seed 0, source 0123456789ab: `icm train smoke`."),
        ({"commit": COMMIT, "changed": True}, "seed 0, source 0123456789ab with changes: `icm train smoke`."),
        (None, "seed 0: `icm train smoke`."),
    ],
)
def test_the_source_is_named_and_whether_it_was_changed(card: Callable[..., str], source: object, says: str) -> None:
    assert f"**Training.** Recipe `smoke`, {says}\ntorch 2.9.1, timm not installed.\n" in card(source=source)


def test_all_parameters_count_whether_they_trained_or_not(card: Callable[..., str], pipe: Pipeline) -> None:
    count = sum(parameter.numel() for parameter in pipe.parameters())
    pipe.codec.requires_grad_(False)
    assert f". {count:,} parameters in\n`a.safetensors`, `b.safetensors` (float16" in card()


def test_the_enhancement_is_named_with_what_it_refines(
    card: Callable[..., str], pipe: Pipeline, registry: Registry
) -> None:
    assert "(reconstruction); enhancement `sicmh.residual` over `coarse`. " in card()
    spec = pipe.spec.to_json()
    del spec["enhancement"]
    bare = build(parse_spec(spec), registry)
    bare.codec.freeze_tables()
    assert "(reconstruction); no enhancement. " in card(own=bare)


def test_a_stage_is_a_row_with_minutes_speed_and_the_figures_it_ended_with(card: Callable[..., str]) -> None:
    assert card().split("| stage |")[1].splitlines()[2:4] == [
        "| joint | 1200 | 2.5 | 2 threads |  | mse/coarse 41.3 |",
        "| fine | 7 | 2.5 | 2 threads | 12.3 |  |",
    ]


def test_data_that_trained_are_told_from_those_that_were_only_looked_at(card: Callable[..., str]) -> None:
    used = {"stages.joint.feeds.0.data": [{"name": "others", "times": 2}], "data.others.split": "val"}
    assert "Trained on `training.shapes`, train (shapes); `training.shapes`, val (others).\n" in card(used)
    assert "Trained on `training.shapes`, train (shapes). Looked at while training: others.\n" in card()
