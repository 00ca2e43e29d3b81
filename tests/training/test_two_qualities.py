"""A stage whose base layers have a quality of their own, drawn apart from the enhancement's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from icm_core import Pipeline, Registry, SpecError, build
from icm_training.checking import feed_data
from icm_training.data import open_data
from icm_training.feed import RawBatch
from icm_training.recipe import RecipeSpec
from icm_training.stage import StageModule

BASE = {"stages.fine.quality": {"base": [1.0, 1.5]}}


def fine(recipe: RecipeSpec, registry: Registry, pipe: Pipeline) -> StageModule:
    stage = next(stage for stage in recipe.stages if stage.name == "fine")
    data = {"shapes": open_data("shapes", recipe.data["shapes"], Path(), registry)}
    return StageModule(pipe, stage, [feed_data(feed, data, registry, "") for feed in stage.feeds], registry, "")


def qualities_of(module: StageModule, seeds: tuple[int, ...], views: tuple[int, ...]) -> dict[str, list[float]]:
    """What codec and enhancement are given for a batch of quality 2."""
    seen: dict[str, list[float]] = {}
    hooks = [
        part.register_forward_pre_hook(lambda _, given, name=name: seen.__setitem__(name, given[-1].tolist()))
        for name, part in (("codec", module.pipe.codec), ("enhancement", module.pipe.enhancement))
    ]
    pictures = torch.randint(0, 256, (len(seeds), 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        module([RawBatch(pictures, None, (2.0,) * len(seeds), seeds, tuple(range(len(seeds))), views)], 0.0)
    for hook in hooks:
        hook.remove()
    return seen


def test_the_base_layer_has_its_own_quality_and_the_enhancement_that_of_the_batch(
    smoke: Any, registry: Registry, pipe: Pipeline
) -> None:
    module = fine(smoke(**BASE), registry, pipe)
    seen = qualities_of(module, (1, 2, 3), (-1, -1, -1))
    assert seen["enhancement"] == [2.0, 2.0, 2.0]
    assert len(set(seen["codec"])) == 3 and all(1 <= quality <= 1.5 for quality in seen["codec"])
    assert qualities_of(module, (1, 2, 3), (-1, -1, -1)) == seen
    assert qualities_of(module, (4, 5, 6), (-1, -1, -1))["codec"] != seen["codec"]


def test_a_fixed_view_keeps_the_quality_of_its_base_layer(smoke: Any, registry: Registry) -> None:
    recipe = smoke(**BASE)
    found = [
        qualities_of(fine(recipe, registry, build(recipe.pipeline, registry)), seeds, (7, 8))["codec"]
        for seeds in ((1, 2), (3, 4))
    ]
    assert found[0] == found[1]


def test_without_it_both_layers_have_one(smoke: Any, registry: Registry, pipe: Pipeline) -> None:
    seen = qualities_of(fine(smoke(), registry, pipe), (1, 2), (-1, -1))
    assert seen["codec"] == seen["enhancement"] == [2.0, 2.0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"stages.fine.quality": {"base": [1, 3]}}, r"stages\[3\].quality.base is 1 to 3; the codec has 1 to 2"),
        (
            {"stages.joint.quality": {"base": [1, 2]}},
            r"stages\[0\].quality.base is for stages that train an enhancement behind a codec that stays; here the",
        ),
        (
            {
                "stages.fine.quality": {"base": [1, 2]},
                "stages.fine.train": [{"modules": ["D"], "lr": 1e-3}, {"modules": ["codec.gain_h1"], "lr": 1e-3}],
            },
            r"stages\[3\].quality.base is for stages that train .* stays; here the codec trains as well$",
        ),
        ({"stages.fine.quality": {"base": [2, 1]}}, r"stages\[3\].quality.base is 2 to 1; the codec has 1 to 2"),
    ],
)
def test_a_base_quality_that_makes_no_sense_is_refused(
    changes: dict[str, Any], says: str, smoke: Any, run: Any, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=says):
        run(smoke(**changes), tmp_path)
