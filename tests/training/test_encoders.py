"""A stage that trains with one of the codec's encoders, or with each in turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from icm_core import SpecError
from icm_core.pipeline.weights import read_tensors

CODEC = {
    "width": 8,
    "h1_channels": 16,
    "h2_channels": 8,
    "groups": 2,
    "context_channels": 8,
    "qualities": 2,
    "deep": 16,
}
SHORT = {
    "pipeline.codec.params": CODEC,
    "stages.joint.schedule": {"steps": 4},
    "stages.joint.validate_on": None,
    "checkpoint_every": 4,
}
FAST, DEEP = "codec.encoder.0.weight", "codec.deep.last.weight"


def moved(smoke: Any, run: Any, folder: Path, encoders: list[str], modules: list[str]) -> set[str]:
    """Which of the two encoders the stage changed."""
    changes = {**SHORT, "stages.joint.encoders": encoders, "stages.joint.train.0.modules": modules}
    found = run(smoke(**changes), folder, stages=("joint",))
    start = run(smoke(**{**changes, "stages.joint.train.0.lr": 1e-30}), folder / "start", stages=("joint",))
    after, before = (read_tensors(one.result("joint")) for one in (found, start))
    return {key for key in (FAST, DEEP) if not torch.equal(after[key], before[key])}


def test_the_usual_encoder_alone_trains_where_none_is_named(smoke: Any, run: Any, tmp_path: Path) -> None:
    assert moved(smoke, run, tmp_path, [], ["codec.encoder", "codec.deep"]) == {FAST}


def test_each_encoder_trains_in_its_turn(smoke: Any, run: Any, tmp_path: Path) -> None:
    assert moved(smoke, run, tmp_path, ["fast", "deep"], ["codec.encoder", "codec.deep"]) == {FAST, DEEP}


def test_the_deep_encoder_trains_behind_what_is_frozen(smoke: Any, run: Any, tmp_path: Path) -> None:
    assert moved(smoke, run, tmp_path, ["deep"], ["codec.deep"]) == {DEEP}


def test_an_unknown_encoder_is_refused_before_anything_is_written(smoke: Any, run: Any, tmp_path: Path) -> None:
    recipe = smoke(**{"stages.joint.encoders": ["deep"]})
    with pytest.raises(SpecError, match=r"stages\[0\].encoders: codec 'sicmh.hyperprior' has no encoder 'deep'"):
        run(recipe, tmp_path / "run", stages=("joint",))
    assert not (tmp_path / "run").exists()
