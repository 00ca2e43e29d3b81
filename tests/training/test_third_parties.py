"""A data set and losses from a package of their own, and a loss that is not a number any more."""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import icm_datasets
import icm_sicmh
import icm_tasks
from icm_core import Registry, SpecError, build_registry
from icm_core.errors import TrainingError
from icm_core.plugins import own
from icm_training import plugin as icm_training
from icm_training.feed import seed_of
from icm_training.folder import RunFolder
from icm_training.log import Log
from icm_training.recipe import RecipeSpec

Smoke = Callable[..., RecipeSpec]
Run = Callable[..., RunFolder]

LAB = '''
import torch
from pydantic import Field
from icm_core import hookimpl
from icm_core.interfaces import ComponentParams, DataSet, Sample
from icm_core.training import Loss

class Noise(DataSet):
    name = "lab.noise"
    kind = "pictures"
    class Params(ComponentParams):
        """How many."""
        count: int = Field(5, ge=1, description="number of pictures")
    def __len__(self):
        return self.params.count
    def __getitem__(self, number):
        generator = torch.Generator().manual_seed(number)
        return Sample(str(number), torch.randint(256, (3, 64, 64), generator=generator, dtype=torch.uint8), None)

class Brightness(Loss):
    """Squared error of the mean grey level."""
    name = "lab.brightness"
    class Params(ComponentParams):
        """When it fails."""
        fails_at: float = Field(2.0, ge=0, description="share of the stage from which it is no number")
    def forward(self, batch):
        found = batch.output(self.task).flatten(1).mean(1) - batch.pictures.flatten(1).mean(1)
        return found.square() + (float("nan") if batch.done >= self.params.fails_at else 0.0)

class Steep(Loss):
    """A loss of 0 whose gradient is no number."""
    name = "lab.steep"
    def forward(self, batch):
        found = batch.output(self.task).flatten(1).mean(1)
        return (found - found.detach()).abs().sqrt()

@hookimpl
def icm_datasets():
    return [Noise]

@hookimpl
def icm_losses():
    return [Brightness, Steep]
'''

CHANGES: dict[str, Any] = {
    "data.shapes": {"use": "lab.noise"},
    "stages.coarse.start": [],
    "stages.coarse.schedule": {"steps": 5, "shape": "constant"},
    "stages.coarse.feeds.0.losses": [{"use": "lab.brightness", "task": "coarse"}],
}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """What ships, and a package beside it as pip leaves one on disk."""
    site = tmp_path / "site"
    info = site / "lab-0.3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text("[icm.plugins]\nlab = lab_of_others\n")
    (site / "lab_of_others.py").write_text(LAB)
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "lab_of_others", raising=False)
    shipped = {"core": own, "datasets": icm_datasets, "sicmh": icm_sicmh, "tasks": icm_tasks, "training": icm_training}
    return build_registry(path=[str(site)], extra=shipped)


def test_a_package_of_its_own_brings_data_and_a_loss(lab: Registry, smoke: Smoke, run: Run, tmp_path: Path) -> None:
    assert lab.losses.get("lab.brightness").__module__ == "lab_of_others"
    folder = run(smoke(**CHANGES), tmp_path / "run", stages=("coarse",), using=lab)
    rows = (folder.stage("coarse") / "log.csv").read_text().splitlines()
    assert "brightness/coarse" in rows[0]
    with pytest.raises(SpecError, match=r"data\.shapes\.params\.count is 0; it should be greater"):
        run(smoke(**CHANGES, **{"data.shapes.params": {"count": 0}}), tmp_path / "two", stages=("coarse",), using=lab)


def test_a_plugin_may_be_an_object_of_the_program(smoke: Smoke, run: Run, tmp_path: Path) -> None:
    module = types.ModuleType("notebook")
    exec(LAB, module.__dict__)
    shipped = {"core": own, "datasets": icm_datasets, "sicmh": icm_sicmh, "tasks": icm_tasks, "training": icm_training}
    registry = build_registry(path=[], extra={**shipped, "notebook": module})
    assert run(smoke(**CHANGES), tmp_path / "run", stages=("coarse",), using=registry).is_done("coarse")


def test_what_is_no_number_stops_the_stage_and_leaves_its_batch(
    lab: Registry, smoke: Smoke, run: Run, tmp_path: Path
) -> None:
    loss = {"use": "lab.brightness", "task": "coarse", "params": {"fails_at": 0.6}}
    # The other loss stays finite.
    losses = [{"use": "training.rate"}, loss]
    own = smoke(**{**CHANGES, "stages.coarse.feeds.0.losses": losses}, checkpoint_every=2)
    with pytest.raises(TrainingError) as caught:
        run(own, tmp_path / "run", stages=("coarse",), using=lab)
    folder = RunFolder(tmp_path / "run").stage("coarse")
    path = folder / "failed-step-000000003-rank-0.safetensors"
    assert str(caught.value).startswith("stage 'coarse', step 3: a value is not finite (loss = nan, ")
    assert str(path) in str(caught.value)
    batch = load_file(path)
    assert batch["0.pictures"].shape == (4, 3, 64, 64) and batch["0.pictures"].dtype == torch.uint8
    assert batch["0.numbers"].tolist() == [12, 13, 14, 15]
    stream = seed_of(own.seed, "coarse", 0)
    assert batch["0.seeds"].tolist() == [seed_of(stream, "noise", number) for number in (12, 13, 14, 15)]
    quality = batch["0.quality"]
    assert quality.shape == (4,) and bool(((quality >= 1) & (quality <= 2)).all())
    assert not torch.equal(quality, quality.round())
    assert (folder / "step-000000002.safetensors").exists() and not (folder / "weights.safetensors").exists()
    with pytest.raises(TrainingError, match="step 3"):
        run(own, tmp_path / "run", stages=("coarse",), using=lab, resume=True)


def test_a_gradient_that_is_no_number_stops_the_stage_too(
    lab: Registry, smoke: Smoke, run: Run, tmp_path: Path
) -> None:
    own = smoke(**{**CHANGES, "stages.coarse.feeds.0.losses": [{"use": "lab.steep", "task": "coarse"}]})
    with pytest.raises(
        TrainingError, match=r"step 0: a value is not finite \(loss = 0, steep/coarse = 0, gradient = nan"
    ):
        run(own, tmp_path / "run", stages=("coarse",), using=lab)


@pytest.mark.parametrize(("fails_at", "good"), [(2.0, True), (0.4, False)])
def test_other_loggers_are_told_whether_the_stage_came_to_its_end(
    lab: Registry, smoke: Smoke, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: float, good: bool
) -> None:
    seen: list[bool] = []
    close = Log.close
    monkeypatch.setattr(Log, "close", lambda self, *, good=True: seen.append(good) or close(self, good=good))
    loss = {"use": "lab.brightness", "task": "coarse", "params": {"fails_at": fails_at}}
    own = smoke(**{**CHANGES, "stages.coarse.feeds.0.losses": [loss], "stages.coarse.schedule": {"steps": 2}})
    with contextlib.nullcontext() if good else pytest.raises(TrainingError):
        run(own, tmp_path / "run", stages=("coarse",), using=lab)
    assert seen == [good]
