"""Systems of the paper's comparison: specs hold together, recipes train at toy width, parts are swapped from JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console

from icm_core import Pipeline, Registry, build, build_registry
from icm_core.errors import SpecError
from icm_core.spec.extends import compose
from icm_core.spec.model import PipelineSpec
from icm_evaluation.options import Options as Measurement
from icm_evaluation.run import evaluate
from icm_training.engine import Options, pipeline_of, train
from icm_training.export import export
from icm_training.finding import find_recipe
from icm_training.folder import RunFolder
from icm_training.recipe import DataSpec, RecipeSpec, ScheduleSpec

SIDE, STEPS = 64, 2
TRSEG: dict[str, Any] = {
    "backbone": "tf_efficientnet_lite0", "stage": 2, "classes": 3, "channels": 16, "layers": 1, "heads": 2,
    "feedforward": 16, "bins": [1, 2],
}  # fmt: skip
TOY: dict[str, dict[str, Any]] = {
    "tasks.modified_trseg": TRSEG,
    "tasks.vit": {"model": "test_vit", "input_size": SIDE},
    "baselines.bmshj2018_hyperprior": {"n": 8, "m": 12},
    "baselines.cheng2020_attn": {"n": 8},
    "related.hific": {"n": 8, "m": 8, "width": 32, "blocks": 1},
    "related.discriminator": {"width": 4, "layers": 2},
    "related.synthesis": {"channels": 16},
}
MAPS = ("dsslic", "rl-asc", "simplified-rl-asc", "sc-inst", "c128", "c64")
LEARNED = ("hyperprior", "hyperprior-tft", "hyperprior-jft", "hyperprior-jft-tft", "cheng2020", "gc")


@cache
def registry() -> Registry:
    return build_registry()


def toy(data: Any) -> Any:
    """A spec's JSON at toy width, nested components too."""
    if isinstance(data, dict) and "use" in data:
        params = TOY.get(data["use"])
        found = params if params is not None else toy(data.get("params", {}))
        if data["use"] == "related.label_features":
            found = {**found, "width": 8, "channels": 12}
        if data["use"] == "related.class_steps" and found.get("unsent"):
            found = {**found, "unsent": [0]}
        return {**data, "params": found}
    return {key: toy(value) for key, value in data.items()} if isinstance(data, dict) else data


def toy_of(recipe: RecipeSpec, home: Path) -> RecipeSpec:
    spec = toy(pipeline_of(recipe, home, registry()).to_json())
    spec["codec"], spec["tasks"] = (
        toy(spec["codec"]),
        {
            name: {**task, "adapter": toy(task["adapter"]), "head": toy(task["head"])}
            for name, task in spec["tasks"].items()
        },
    )
    shapes = DataSpec(use="training.shapes", params={"count": 8, "size": SIDE + 8})
    stages = []
    for stage in recipe.stages:
        start = stage.start and tuple(one for one in stage.start if one.copy_of is not None)
        feeds = tuple(
            feed.model_copy(update={"batch": 2, "augment": feed.augment.model_copy(update={"crop": (SIDE, SIDE)})})
            for feed in stage.feeds
        )
        schedule = ScheduleSpec(steps=STEPS, warmup=1)
        stages.append(stage.model_copy(update={"start": start or None, "feeds": feeds, "schedule": schedule}))
    data = dict.fromkeys(recipe.data, shapes)
    if "photographs" in data:
        data = {"photographs": DataSpec(use="datasets.folders", params={"classes": "imagenet"}, root="photographs")}
    changes = {"pipeline": PipelineSpec.model_validate(spec), "data": data, "stages": tuple(stages), "log_every": 1}
    return recipe.model_copy(update=changes)


@pytest.mark.parametrize("name", [*MAPS, *LEARNED, "recognition-aware"])
def test_every_stage_trains_and_what_comes_out_codes_a_picture(name: str, tmp_path: Path) -> None:
    for number, synset in enumerate(("n01440764", "n01443537")):
        place = tmp_path / "photographs/train" / synset
        place.mkdir(parents=True)
        Image.effect_noise((80, 70), 40 + 20 * number).convert("RGB").save(place / "picture.png")
    recipe, home = find_recipe(name, registry())
    small = toy_of(recipe, home)
    out = tmp_path / "run"
    train(small, Options(out, tmp_path, tmp_path, device="cpu", workers=0), registry(), Console(file=io.StringIO()))
    folder = RunFolder(out)
    for stage in small.stages:
        with (folder.stage(stage.name) / "log.csv").open() as file:
            logged = [row for row in csv.DictReader(file) if row.get("loss")]
        assert len(logged) == STEPS and all(math.isfinite(float(row["loss"])) for row in logged), stage.name
        assert all(float(row["gradient"]) > 0 for row in logged), stage.name
    pipe = build(small.pipeline, registry())  # type: ignore[arg-type]
    pipe.codec.freeze_tables()
    picture = torch.rand(3, 50, 70, generator=torch.Generator().manual_seed(1))
    found = pipe.decode(pipe.encode(picture, 1.0))
    assert found["picture"].output.shape == (1, 3, 50, 70)


@pytest.mark.parametrize("name", [*MAPS, "hyperprior", "cheng2020", "gc", "recognition-aware"])
def test_the_shipped_spec_holds_together(name: str) -> None:
    assert built(f"{name}-small").spec.name == f"{name}-small"


@pytest.mark.parametrize("codec", ["hevc", "avif", "jpegxl", "vvc"])
def test_a_yardstick_for_d_keeps_the_base_layer_of_sicmh_small(codec: str) -> None:
    pipe = built(f"sicmh-small-{codec}-residual")
    assert pipe.enhancement is not None and pipe.enhancement.name == "baselines.codec_residual"
    assert (pipe.codec.name, pipe.over) == ("sicmh.hyperprior", "coarse")


def built(name: str) -> Pipeline:
    with torch.device("meta"):
        return build(compose(registry().specs.get(name), registry()).spec, registry())


def swapped(tmp_path: Path, extends: str, **change: Any) -> Pipeline:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"icm": 1, "name": "mine", "extends": extends, **change}))
    with torch.device("meta"):
        return build(compose(path, registry()).spec, registry())


def test_dsslics_residue_goes_through_another_codec_from_json_alone(tmp_path: Path) -> None:
    other = {"params": {"codec": {"use": "baselines.avif", "params": {"settings": [20, 35, 50, 62]}}}}
    pipe = swapped(tmp_path, "dsslic-small", enhancement=other)
    assert pipe.enhancement is not None
    assert (pipe.enhancement.codec.name, pipe.codec.name, pipe.over) == (
        "baselines.avif",
        "related.label_map",
        "picture",
    )


SWAPS: dict[str, dict[str, Any]] = {
    "dsslic": {
        "enhancement": {"params": {"codec": {"use": "baselines.avif", "params": {"settings": [20, 35, 50, 62]}}}}
    },
    "rl-asc": {"codec": {"params": {"quantiser": {"use": "related.one_step"}}}},
}


@pytest.mark.parametrize("name", SWAPS)
def test_a_swapped_part_is_trained_and_measured_from_json_alone(name: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps({"icm": 1, "name": "mine", "extends": f"{name}-small", **SWAPS[name]}))
    recipe, _ = find_recipe(name, registry())
    small = toy_of(recipe.model_copy(update={"pipeline": str(mine)}), tmp_path)
    run = tmp_path / "run"
    train(small, Options(run, tmp_path, tmp_path, device="cpu", workers=0), registry(), Console(file=io.StringIO()))
    spec = export(run, tmp_path / "exported", registry()).spec
    how = Measurement(
        str(spec), f"training.shapes:{tmp_path}", params='{"count": 2}', qualities=(1.0, 4.0), workers=1, device="cpu"
    )
    result = evaluate(how, tmp_path / "result.json")
    assert result.system == "mine" and {"picture", "segmentation"} <= set(result.tasks)
    low, high = result.points
    assert low.bpp < high.bpp and all(point.tasks["picture"]["psnr"] for point in result.points)
    for row in result.pictures:
        assert all(coded.payload_bytes < coded.bytes for coded in row.points)


def test_another_residual_codec_with_other_qualities_is_refused(tmp_path: Path) -> None:
    other = {"params": {"codec": {"use": "baselines.avif"}}}
    with pytest.raises(SpecError, match=r"enhancement: .*qualities \(1.0, 6.0\).*codec has \(1.0, 4.0\)"):
        swapped(tmp_path, "dsslic-small", enhancement=other)


def test_rl_ascs_quantiser_is_another_from_json_alone(tmp_path: Path) -> None:
    pipe = swapped(tmp_path, "rl-asc-small", codec={"params": {"quantiser": {"use": "related.one_step"}}})
    assert pipe.codec.quantiser.name == "related.one_step"
    assert sum(one.numel() for one in pipe.codec.quantiser.parameters()) == 1


def test_an_adapter_that_makes_no_steps_is_no_quantiser(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"codec: quantiser: related\.synthesis gives .* it should give 'steps'"):
        swapped(tmp_path, "rl-asc-small", codec={"params": {"quantiser": {"use": "related.synthesis"}}})
