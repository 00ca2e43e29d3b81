"""Stages run in this process: what changes, what is kept, and what stops them."""

from __future__ import annotations

import csv
import json
import resource
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from icm_core import InputError, Pipeline, Registry, SpecError, WeightsError, build
from icm_core.spec.model import PipelineSpec
from icm_training import checkpoint as checkpoints
from icm_training.checkpoint import Checkpoint
from icm_training.feed import seed_of
from icm_training.folder import RunFolder
from icm_training.mixture import InMemory, Mixture
from icm_training.options import Options
from icm_training.parts import groups_of
from icm_training.recipe import OptimizerSpec, RecipeSpec, TrainSpec
from icm_training.stage import StageModule
from icm_training.timing import Timing
from icm_training.trainer import Trainer, make_optimizer
from icm_training.validation import validate

Smoke = Callable[..., RecipeSpec]
Run = Callable[..., RunFolder]
SEG = "segmentation"
HEAD = "tasks.segmentation."


@pytest.fixture(scope="module")
def recipe(smoke: Smoke) -> RecipeSpec:
    """The stage `segmentation` alone, three steps, of which every one leaves a checkpoint."""
    changes: dict[str, object] = {
        f"stages.{SEG}.start": [],
        f"stages.{SEG}.schedule": {"steps": 3, "shape": "constant"},
        f"stages.{SEG}.ema": 0.8,
        "checkpoint_every": 1,
        "log_every": 1,
        "keep": 3,
    }
    return smoke(**changes)


@pytest.fixture(scope="module")
def done(recipe: RecipeSpec, run: Run, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return run(recipe, tmp_path_factory.mktemp("done") / "run", stages=(SEG,))


@pytest.fixture
def broken_off(done: RunFolder, tmp_path: Path) -> RunFolder:
    """The same run, broken off after its last checkpoint."""
    shutil.copytree(done.path, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    folder.result(SEG).unlink()
    (folder.stage(SEG) / "done.json").unlink()
    return folder


def weights(folder: RunFolder) -> dict[str, torch.Tensor]:
    return load_file(folder.result(SEG))


def checkpoint(folder: RunFolder, step: int) -> Path:
    return folder.stage(SEG) / f"step-{step:09d}.safetensors"


def test_what_a_stage_does_not_name_stays_as_it_was(done: RunFolder, pipe: Pipeline) -> None:
    before, after = pipe.state_dict(), weights(done)
    assert before.keys() == after.keys()
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    trained = {key for key, _ in pipe.named_parameters() if key.startswith(HEAD)}
    assert changed <= trained
    assert any("adapter" in key for key in changed) and any("head.backbone" in key for key in changed)
    # Weights that decay, all of them; some biases have no gradient.
    assert {key for key in trained if key.endswith("weight") and before[key].ndim > 1} <= changed


def test_batch_statistics_move_where_they_are_trained(
    done: RunFolder, recipe: RecipeSpec, smoke: Smoke, run: Run, pipe: Pipeline, tmp_path: Path
) -> None:
    own = smoke(
        **{
            f"stages.{SEG}.start": [],
            f"stages.{SEG}.schedule": {"steps": 1},
            f"stages.{SEG}.train.0.norm": "trained",
        }
    )
    after, before = weights(run(own, tmp_path / "run", stages=(SEG,))), pipe.state_dict()
    statistics = [key for key in before if "running_mean" in key]
    moved = {key for key in statistics if not torch.equal(after[key], before[key])}
    assert moved and all(key.startswith(f"{HEAD}head.") for key in moved)


def test_a_weight_decay_of_nothing_is_a_groups_own(pipe: Pipeline) -> None:
    """Where the gradient is 0, weights move by the decay alone."""
    train = [
        TrainSpec(modules=("A",), lr=0.1, weight_decay=0.0),
        TrainSpec(modules=("C",), lr=0.1),
        TrainSpec(modules=("D",), lr=0.1, weight_decay=0.2),
    ]
    groups = groups_of(pipe, train)
    optimizer = make_optimizer(groups, OptimizerSpec(use="adamw", weight_decay=0.05))
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0, 0.05, 0.2]
    before = [[parameter.detach().clone() for parameter in group.parameters] for group in groups]
    for group in groups:
        for parameter in group.parameters:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for group, parameters, factor in zip(groups, before, (1.0, 1 - 0.1 * 0.05, 1 - 0.1 * 0.2), strict=True):
        for parameter, old in zip(group.parameters, parameters, strict=True):
            torch.testing.assert_close(parameter.detach(), old * factor)


@pytest.mark.parametrize(
    ("use", "kind", "settings"),
    [
        ("sgd", torch.optim.SGD, {"momentum": 0.8}),
        ("adam", torch.optim.Adam, {"betas": (0.8, 0.95)}),
        ("adamw", torch.optim.AdamW, {"betas": (0.8, 0.95)}),
    ],
)
def test_an_optimizer_is_pytorchs_of_that_name(pipe: Pipeline, use: Any, kind: type, settings: dict[str, Any]) -> None:
    groups = groups_of(pipe, [TrainSpec(modules=("A",), lr=0.1), TrainSpec(modules=("D",), lr=0.3)])
    optimizer = make_optimizer(groups, OptimizerSpec(use=use, betas=(0.8, 0.95), weight_decay=0.02))
    assert type(optimizer) is kind
    for group, rate in zip(optimizer.param_groups, (0.1, 0.3), strict=True):
        assert {**settings, "lr": rate, "weight_decay": 0.02}.items() <= group.items()


def test_a_weight_that_moves_has_its_first_value_at_the_first_step(smoke: Smoke, run: Run, tmp_path: Path) -> None:
    loss = {"use": "training.head", "task": SEG, "weight": {"start": 1.0, "end": 5.0}}
    own = smoke(
        **{
            f"stages.{SEG}.start": [],
            f"stages.{SEG}.feeds": [{"data": ["shapes"], "batch": 2, "losses": [loss]}],
            f"stages.{SEG}.schedule": {"steps": 4},
            "log_every": 1,
        }
    )
    rows = rows_of(run(own, tmp_path / "run", stages=(SEG,)))
    weights = [float(row["loss"]) / float(row["head/segmentation"]) for row in rows if row["loss"]]
    assert weights == pytest.approx([1.0, 2.0, 3.0, 4.0], rel=1e-3)


def rows_of(folder: RunFolder, stage: str = SEG) -> list[dict[str, str]]:
    with (folder.stage(stage) / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_of_the_log_is_the_mean_of_its_steps(
    done: RunFolder, recipe: RecipeSpec, run: Run, tmp_path: Path
) -> None:
    """Two rows, of two steps and of the one that is left."""
    first, last = rows_of(run(recipe.model_copy(update={"log_every": 2}), tmp_path / "run", stages=(SEG,)))
    each = rows_of(done)
    for key in ("loss", "head/segmentation", "distillation/segmentation"):
        one, two, three = (float(row[key]) for row in each)
        assert float(first[key]) == pytest.approx((one + two) / 2, rel=1e-4)
        assert float(last[key]) == pytest.approx(three, rel=1e-4)


def test_what_is_random_in_a_step_follows_from_seed_stage_and_step(
    smoke: Smoke, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    forward = StageModule.forward
    monkeypatch.setattr(
        StageModule, "forward", lambda self, *given: seen.append(torch.initial_seed()) or forward(self, *given)
    )
    own = smoke(**{"stages.coarse.start": [], "stages.coarse.schedule": {"steps": 3}, "seed": 9})
    run(own, tmp_path / "run", stages=("coarse",))
    assert seen == [seed_of(9, "coarse", "step", step) for step in range(3)]


def test_pictures_of_all_feeds_count_as_those_of_a_step(
    smoke: Smoke, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks: list[object] = []
    mark, restart = Timing.mark, Timing.restart

    def noted(timing: Timing, part: str, pictures: int = 0) -> None:
        marks.append((part, pictures))
        mark(timing, part, pictures)

    def begun(timing: Timing) -> None:
        marks.append("restart")
        restart(timing)

    monkeypatch.setattr(Timing, "mark", noted)
    monkeypatch.setattr(Timing, "restart", begun)
    feed = {"data": ["shapes"], "batch": 2, "losses": [{"use": "training.mse", "task": "coarse"}]}
    feeds = [feed, {**feed, "data": ["shapes", "others"], "augment": {"crop": [64, 64]}, "batch": 3}]
    own = smoke(**{"stages.coarse.start": [], "stages.coarse.feeds": feeds, "stages.coarse.schedule": {"steps": 2}})
    run(own, tmp_path / "run", stages=("coarse",))
    # What comes between two steps, logs and checkpoints, is no part of either.
    assert marks == [("data", 0), ("forward", 0), ("backward", 5), "restart"] * 2


class Pair:
    """Stands for Fabric on the first of two devices; on the other one every value is 3 more."""

    world_size = 2

    def all_reduce(self, values: torch.Tensor, reduce_op: str) -> torch.Tensor:
        both = torch.stack([values, values + 3])
        return both.mean(0) if reduce_op == "mean" else both.sum(0)


def test_terms_are_means_over_all_devices() -> None:
    trainer: Any = Trainer.__new__(Trainer)
    trainer.fabric = Pair()
    terms = {"loss": torch.tensor(2.0, requires_grad=True), "rate": torch.tensor(0.5, dtype=torch.bfloat16)}
    assert trainer._means(terms) == {"loss": 3.5, "rate": 2.0}


def test_only_the_stages_that_are_asked_for_are_trained(done: RunFolder) -> None:
    assert [path.parent.name for path in sorted(done.path.glob("*/weights.safetensors"))] == [SEG]


def test_a_row_has_the_learning_rate_that_its_last_step_took(smoke: Smoke, run: Run, tmp_path: Path) -> None:
    rising = {"steps": 3, "shape": "constant", "warmup": 3}
    own = smoke(**{f"stages.{SEG}.start": [], f"stages.{SEG}.schedule": rising, "log_every": 1})
    rates = [float(row["lr"]) for row in rows_of(run(own, tmp_path / "run", stages=(SEG,)))]
    assert rates == pytest.approx([5e-4 / 3, 1e-3 / 3, 5e-4], rel=1e-4)


def test_the_time_of_a_run_that_goes_on_counts_from_its_beginning(
    recipe: RecipeSpec, run: Run, broken_off: RunFolder
) -> None:
    checkpoint(broken_off, 3).unlink()
    found = checkpoints.read(checkpoint(broken_off, 2))
    checkpoints.write(broken_off.stage(SEG), replace(found, seconds=1000.049), keep=3)
    run(recipe, broken_off.path, stages=(SEG,), resume=True)
    assert 1000.1 <= json.loads((broken_off.stage(SEG) / "done.json").read_text())["seconds"] < 2000


def test_each_group_moves_at_its_own_rate(smoke: Smoke, run: Run, pipe: Pipeline, tmp_path: Path) -> None:
    """The first step of Adam moves each parameter by the rate itself, but for those whose gradient is next to 0."""
    own = smoke(**{"stages.fine.start": [], "stages.fine.schedule": {"steps": 1, "shape": "constant"}})
    folder = run(own, tmp_path / "run", stages=("fine",))
    after, before = load_file(folder.result("fine")), pipe.state_dict()
    moved = {key: float((after[key] - value).abs().max()) for key, value in before.items() if "enhancement" in key}
    assert moved["enhancement.gain.log2_gain"] == pytest.approx(1e-2, rel=1e-3)
    assert moved["enhancement.encoder_r.0.weight"] == pytest.approx(1e-3, rel=1e-3)
    (row,) = rows_of(folder, "fine")
    assert row["lr"] == "0.001"  # of the first group


def test_a_clipped_gradient_is_no_longer_than_that(smoke: Smoke, run: Run, pipe: Pipeline, tmp_path: Path) -> None:
    changes = {
        "stages.coarse.start": [],
        "stages.coarse.schedule": {"steps": 1, "shape": "constant"},
        "stages.coarse.optimizer": {"use": "sgd", "weight_decay": 0.0},
        "stages.coarse.train.0.lr": 1.0,
        "stages.coarse.clip": 0.02,
    }
    after = load_file(run(smoke(**changes), tmp_path / "run", stages=("coarse",)).result("coarse"))
    moved = torch.cat([(after[key] - value).flatten() for key, value in pipe.named_parameters()])
    assert float(moved.detach().norm()) == pytest.approx(0.02, rel=1e-3)


def test_each_step_is_as_long_as_the_rate_of_its_place_in_the_schedule(smoke: Smoke, run: Run, tmp_path: Path) -> None:
    """Clipped gradients of one length and no momentum: steps differ by their rates alone."""
    changes = {
        "stages.coarse.start": [],
        "stages.coarse.schedule": {"steps": 4, "shape": "constant", "warmup": 4},
        "stages.coarse.optimizer": {"use": "sgd", "betas": [0.0, 0.9], "weight_decay": 0.0},
        "stages.coarse.train.0.lr": 1.0,
        "stages.coarse.clip": 0.01,
        "checkpoint_every": 1,
        "keep": 4,
    }
    where = run(smoke(**changes), tmp_path / "run", stages=("coarse",)).stage("coarse")
    states = [load_file(where / f"step-{step:09d}.safetensors") for step in (1, 2, 3, 4)]
    moved = [
        torch.cat([(after[key] - before[key]).flatten() for key in after if key.startswith("pipe.")])
        for before, after in pairwise(states)
    ]
    assert [float(step.norm()) for step in moved] == pytest.approx([0.01 * 2 / 4, 0.01 * 3 / 4, 0.01], rel=1e-2)


def test_the_last_step_has_a_row_a_validation_and_a_checkpoint_wherever_it_falls(
    smoke: Smoke, run: Run, tmp_path: Path
) -> None:
    changes = {
        "stages.joint.schedule": {"steps": 5},
        "stages.joint.validate_on": {"data": "others", "every": 2, "limit": 1, "qualities": [1]},
        "checkpoint_every": 3,
        "log_every": 4,
    }
    where = run(smoke(**changes), tmp_path / "run", stages=("joint",)).stage("joint")
    with (where / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows if row["loss"]] == ["4", "5"]
    assert [row["step"] for row in rows if row["val bpp q1"]] == ["2", "4", "5"]
    assert [path.name[5:14] for path in sorted(where.glob("step-*"))] == ["000000003", "000000005"]


def test_a_stage_is_validated_on_its_own_data_with_its_own_encoder(
    smoke: Smoke, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[tuple[int, ...], str | None]] = []

    def noted(pipe: Pipeline, data: Mixture, spec: Any, log: Any, step: int, encoder: str | None = None) -> Any:
        seen.append((tuple(data[0].picture.shape), encoder))
        return validate(pipe, data, spec, log, step, encoder)

    monkeypatch.setattr("icm_training.trainer.validate", noted)
    changes = {
        "pipeline.codec.params.deep": 16,
        "stages.joint.feeds.0.data": ["others"],
        "stages.joint.encoders": ["deep", "fast"],
        "stages.joint.schedule": {"steps": 1},
        "stages.joint.validate_on": {"data": "shapes", "limit": 1, "qualities": [1]},
    }
    run(smoke(**changes), tmp_path / "run", stages=("joint",))
    assert seen == [((3, 64, 64), "deep")]


@pytest.mark.parametrize(("own", "precision"), [("bf16-mixed", "bf16-mixed"), (None, "32-true")])
def test_a_stage_may_have_a_precision_of_its_own(
    smoke: Smoke, run: Run, tmp_path: Path, own: str | None, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reduced: list[bool] = []
    forward = StageModule.forward

    def noted(module: StageModule, *given: Any) -> Any:
        reduced.append(torch.is_autocast_enabled("cpu"))
        return forward(module, *given)

    monkeypatch.setattr(StageModule, "forward", noted)
    changes = {"stages.coarse.start": [], "stages.coarse.schedule": {"steps": 1}, "stages.coarse.precision": own}
    folder = run(smoke(**changes), tmp_path / "run", stages=("coarse",))
    assert reduced == [precision == "bf16-mixed"]
    assert json.loads((folder.stage("coarse") / "done.json").read_text())["precision"] == precision


def test_random_weights_are_those_of_the_recipes_seed(
    smoke: Smoke, run: Run, registry: Registry, tmp_path: Path
) -> None:
    recipe = smoke(**{"stages.coarse.start": [], "stages.coarse.schedule": {"steps": 1}, "seed": 7})
    after = load_file(run(recipe, tmp_path / "run", stages=("coarse",)).result("coarse"))
    assert isinstance(recipe.pipeline, PipelineSpec)
    torch.manual_seed(7)
    before = build(recipe.pipeline, registry).state_dict()
    kept = [key for key in before if not key.startswith("tasks.coarse.")]
    assert len(kept) > 100 and all(torch.equal(after[key], before[key]) for key in kept)


def test_feeds_of_a_stage_draw_pictures_of_their_own(smoke: Smoke, registry: Registry, tmp_path: Path) -> None:
    feed = {"data": ["shapes"], "batch": 2, "losses": [{"use": "training.head", "task": SEG}]}
    feeds = [{**feed, "views": 3}, {**feed, "data": ["shapes", "others"]}]
    own = smoke(**{f"stages.{SEG}.start": [], f"stages.{SEG}.feeds": feeds})
    assert isinstance(own.pipeline, PipelineSpec)
    options = Options(tmp_path, tmp_path, tmp_path, device="cpu", workers=0)
    trainer = Trainer(own, own.pipeline, 1, RunFolder(tmp_path), options, registry)
    one, other = trainer.streams
    assert one.seed != other.seed and (one.views, other.views) == (3, None)
    assert one.seed == seed_of(own.seed, SEG, 0)
    assert trainer.schedule.steps == 2 * 24 // 2  # two epochs of the first feed; the other one has 28 pictures


def test_epochs_of_pictures_that_are_no_whole_number_of_steps(smoke: Smoke, registry: Registry, tmp_path: Path) -> None:
    """24 pictures in fives are 4.8 steps, and 2.5 epochs of them 12."""
    own = smoke(
        **{
            f"stages.{SEG}.start": [],
            f"stages.{SEG}.feeds.0.batch": 5,
            f"stages.{SEG}.schedule": {"epochs": 2.5, "shape": "constant"},
        }
    )
    assert isinstance(own.pipeline, PipelineSpec)
    options = Options(tmp_path, tmp_path, tmp_path, device="cpu", workers=0)
    assert Trainer(own, own.pipeline, 1, RunFolder(tmp_path), options, registry).schedule.steps == 12


def test_dropout_is_another_at_every_step_and_the_same_for_a_step_done_again(
    smoke: Smoke, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks: list[torch.Tensor] = []
    dropout = torch.nn.functional.dropout

    def kept(values: torch.Tensor, *arguments: Any, **more: Any) -> torch.Tensor:
        ones = dropout(torch.ones_like(values), *arguments, **more)
        if bool((ones == 0).any()):
            masks.append(ones == 0)
        return values * ones

    monkeypatch.setattr(torch.nn.functional, "dropout", kept)
    own = smoke(
        **{
            "pipeline.tasks.segmentation.head.params.dropout": 0.1,
            f"stages.{SEG}.start": [],
            f"stages.{SEG}.schedule": {"steps": 3, "shape": "constant"},
            f"stages.{SEG}.feeds.0.losses": [{"use": "training.head", "task": SEG}],
            "checkpoint_every": 1,
            "keep": 5,
        }
    )
    folder = run(own, tmp_path / "run", stages=(SEG,))
    a_step = len(masks) // 3
    assert a_step and len(masks) == 3 * a_step
    steps = [masks[step * a_step : (step + 1) * a_step] for step in range(3)]
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert not any(torch.equal(a, b) for a, b in zip(steps[one], steps[other], strict=True))
    # Broken off after its second step, the third is the same again.
    masks.clear()
    checkpoint(folder, 3).unlink()
    folder.result(SEG).unlink()
    run(own, folder.path, stages=(SEG,), resume=True)
    assert len(masks) == a_step and all(torch.equal(a, b) for a, b in zip(masks, steps[2], strict=True))


def test_the_result_is_the_running_mean_of_the_weights(done: RunFolder, pipe: Pipeline) -> None:
    states = [load_file(checkpoint(done, step)) for step in (1, 2, 3)]
    after = weights(done)
    own = {key: value for key, value in pipe.named_parameters() if key.startswith(HEAD)}
    apart = 0
    for key, mean in own.items():
        for state in states:
            mean = 0.8 * mean + 0.2 * state[f"pipe.{key}"]
        torch.testing.assert_close(after[key], mean.detach())
        apart += not torch.equal(after[key], states[-1][f"pipe.{key}"])
    assert apart > len(own) / 2


def test_the_last_checkpoints_are_kept(recipe: RecipeSpec, run: Run, broken_off: RunFolder) -> None:
    assert sorted(broken_off.stage(SEG).glob("step-*")) == [checkpoint(broken_off, step) for step in (1, 2, 3)]
    fewer = recipe.model_copy(update={"keep": 1})
    (broken_off.path / "recipe.json").write_text(fewer.model_dump_json())
    checkpoint(broken_off, 3).unlink()
    run(fewer, broken_off.path, stages=(SEG,), resume=True)
    assert sorted(broken_off.stage(SEG).glob("step-*")) == [checkpoint(broken_off, 3)]


def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(
    recipe: RecipeSpec, run: Run, done: RunFolder, broken_off: RunFolder
) -> None:
    newest = checkpoint(broken_off, 3)
    whole = load_file(newest)
    newest.write_bytes(newest.read_bytes()[:-1000])
    run(recipe, broken_off.path, stages=(SEG,), resume=True)
    ours, theirs, again = weights(broken_off), weights(done), load_file(newest)
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []
    assert [key for key in whole if not torch.equal(whole[key], again[key])] == []


@pytest.mark.parametrize("damage", [b"", b"{}" * 50, b"\xff" * 100, None])
def test_the_newest_checkpoint_that_can_be_read_counts(tmp_path: Path, damage: bytes | None) -> None:
    for step in (9, 10):
        checkpoints.write(tmp_path, Checkpoint(step, 1.5, {"x": torch.arange(step)}), keep=5)
    newest = tmp_path / "step-000000010.safetensors"
    if damage is None:  # a file of safetensors, but of something else
        checkpoints.write_tensors(newest, {"x": torch.zeros(2)})
    else:
        newest.write_bytes(damage)
    found = checkpoints.newest(tmp_path)
    assert found is not None and (found.step, found.seconds, found.tensors["x"].tolist()) == (9, 1.5, [*range(9)])
    assert checkpoints.newest(tmp_path / "nowhere") is None


def test_files_of_other_names_are_no_checkpoints(tmp_path: Path) -> None:
    written = [checkpoints.write(tmp_path, Checkpoint(step, 1.5, {}), keep=5) for step in (9, 10)]
    for name in ("step-best.safetensors", "step-000000011.safetensors.old", "step-11.safetensors"):
        (tmp_path / name).write_bytes(written[0].read_bytes())
    assert checkpoints.found(tmp_path) == written


def test_the_only_checkpoint_goes_when_the_next_one_is_there(tmp_path: Path) -> None:
    first = checkpoints.write(tmp_path, Checkpoint(1, 1.5, {"x": torch.zeros(4)}), keep=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(InputError, match=r"cannot write .*step-000000002\.safetensors"):
            checkpoints.write(tmp_path, Checkpoint(2, 2.5, {"x": torch.zeros(4000)}), keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert checkpoints.found(tmp_path) == [first]
    second = checkpoints.write(tmp_path, Checkpoint(2, 2.5, {"x": torch.zeros(4000)}), keep=1)
    assert checkpoints.found(tmp_path) == [second]


def test_a_full_disk_costs_no_result_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    checkpoints.write_tensors(path, {"x": torch.arange(6.0).view(2, 3).t()})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(InputError, match=r"cannot write .*weights\.safetensors"):
            checkpoints.write_tensors(path, {"x": torch.zeros(4000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load_file(path)["x"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert [*tmp_path.iterdir()] == [path]


def test_weights_without_their_record_are_no_result_to_start_from(
    smoke: Smoke, registry: Registry, tmp_path: Path
) -> None:
    """A stage that was broken off while it wrote them."""
    recipe = smoke()
    assert isinstance(recipe.pipeline, PipelineSpec)
    (tmp_path / "joint").mkdir()
    checkpoints.write_tensors(tmp_path / "joint/weights.safetensors", build(recipe.pipeline, registry).state_dict())
    options = Options(tmp_path, tmp_path, tmp_path, device="cpu", workers=0)
    with pytest.raises(InputError, match=r"^stages\[1\]\.start: it starts from stage 'joint', which has not been tr"):
        Trainer(recipe, recipe.pipeline, 1, RunFolder(tmp_path), options, registry)


def test_pictures_are_kept_in_memory_as_far_as_may_be(smoke: Smoke, registry: Registry, tmp_path: Path) -> None:
    own = smoke(**{"stages.coarse.start": []})
    assert isinstance(own.pipeline, PipelineSpec)
    for memory, kept in ((2e9, True), (0, False)):
        options = Options(tmp_path, tmp_path, tmp_path, device="cpu", workers=0, memory=memory)
        trainer = Trainer(own, own.pipeline, 2, RunFolder(tmp_path), options, registry)
        assert isinstance(trainer.data["shapes"], InMemory) == kept


def test_a_full_disk_is_said_and_costs_no_older_checkpoint(recipe: RecipeSpec, run: Run, broken_off: RunFolder) -> None:
    size = checkpoint(broken_off, 3).stat().st_size
    for step in (2, 3):
        checkpoint(broken_off, step).unlink()
    before = checkpoint(broken_off, 1).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, hard))  # stands for a disk that is full half way through
    try:
        with pytest.raises(InputError, match=r"stage 'segmentation': cannot write .*step-000000002\.safetensors: "):
            run(recipe, broken_off.path, stages=(SEG,), resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert checkpoint(broken_off, 1).read_bytes() == before
    left = {path.name for path in broken_off.stage(SEG).iterdir()}
    assert left == {"log.csv", checkpoint(broken_off, 1).name}
    run(recipe, broken_off.path, stages=(SEG,), resume=True)
    assert broken_off.is_done(SEG)


def test_a_run_folder_says_what_was_done(done: RunFolder, recipe: RecipeSpec) -> None:
    assert RecipeSpec.model_validate_json((done.path / "recipe.json").read_text()) == recipe
    assert json.loads((done.path / "pipeline.json").read_text())["name"] == "smoke"
    record = json.loads((done.path / "run.json").read_text())
    assert record["seed"] == recipe.seed and record["command"].startswith("icm")
    assert record["packages"]["torch"] == version("torch") and {"device", "python", "source"} <= record.keys()
    stage = json.loads((done.stage(SEG) / "done.json").read_text())
    assert (stage["steps"], stage["processes"], stage["precision"]) == (3, 1, "32-true")
    assert "threads of a" in stage["device"]
    assert stage["pictures_a_second"] > 3 * 4 / (stage["seconds"] + 0.1)  # logs and checkpoints take time besides
    assert stage["data_share"] + stage["forward_share"] + stage["backward_share"] == pytest.approx(1, abs=0.002)
    with (done.stage(SEG) / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    assert {"loss", "head/segmentation", "distillation/segmentation", "lr", "gradient"} <= rows[0].keys()
    assert list((done.path / "tensorboard" / SEG).glob("events.*"))


def test_a_stage_that_is_done_is_not_trained_again(done: RunFolder, recipe: RecipeSpec, run: Run) -> None:
    before = done.result(SEG).stat().st_mtime_ns
    run(recipe, done.path, stages=(SEG,), resume=True)
    assert done.result(SEG).stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("changes", "stages", "error", "says"),
    [
        ({}, ("segment",), SpecError, "recipe 'smoke' has no stage 'segment'; its stages are joint, segmentation"),
        (
            {},
            ("coarse",),
            InputError,
            "stages[2].start: it starts from stage 'segmentation', which has not been trained",
        ),
        (
            {"stages.joint.quality.range": [1, 4]},
            ("joint",),
            SpecError,
            "stages[0].quality.range is 1 to 4; the codec has 1 to 2",
        ),
        (
            {"stages.joint.validate_on.qualities": [1, 2.5]},
            ("joint",),
            SpecError,
            "stages[0].validate_on.qualities[1] is 2.5; the codec has 1 to 2",
        ),
        ({"stages.joint.quality.range": [2, 1]}, ("joint",), SpecError, "stages[0].quality.range is 2 to 1"),
        (
            {"data.shapes.use": "training.shape"},
            ("joint",),
            SpecError,
            "data.shapes.use: unknown data set 'training.shape'; did you mean",
        ),
        ({"data.shapes.params.count": 0}, ("joint",), SpecError, "data.shapes.params.count is 0; it should be"),
        (
            {"stages.joint.train.0.modules": ["AA"]},
            ("joint",),
            SpecError,
            "stages[0].train[0].modules[0]: unknown module 'AA'; ",
        ),
        (
            {"stages.joint.start": [{"weights": "absent.safetensors"}]},
            ("joint",),
            WeightsError,
            "stages[0].start[0]: absent.safetensors: the weights are missing",
        ),
        (
            {"stages.joint.start": [{"copy_of": "tasks.coarse.head", "module": "tasks.segmentation.head"}]},
            ("joint",),
            WeightsError,
            "stages[0].start[0]: tasks.coarse.head lacks 'tasks.segmentation.head.",
        ),
        (
            {"stages.joint.start": [{"pretrained": "imagenet", "module": "codec"}]},
            ("joint",),
            SpecError,
            "stages[0].start[0]: 'sicmh.hyperprior' knows no pretrained weights 'imagenet'",
        ),
        (
            {"stages.joint.start": [{"pretrained": "klt", "module": "codex"}]},
            ("joint",),
            SpecError,
            "stages[0].start[0]: unknown component 'codex'; did you mean 'codec'",
        ),
    ],
)
def test_what_keeps_a_stage_from_running_is_one_sentence(
    smoke: Smoke,
    run: Run,
    tmp_path: Path,
    changes: dict[str, object],
    stages: tuple[str, ...],
    error: type[Exception],
    says: str,
) -> None:
    with pytest.raises(error) as caught:
        run(smoke(**changes), tmp_path / "run", stages=stages)
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_weights_are_taken_from_beside_the_recipe_or_from_here(
    done: RunFolder, smoke: Smoke, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(done.result(SEG), tmp_path / "start.safetensors")
    changes: dict[str, object] = {
        "start": "start.safetensors",
        "stages.joint.schedule": {"steps": 1},
        "stages.joint.train": [{"modules": ["D"], "lr": 1e-3}],
        "stages.joint.feeds.0.losses": [{"use": "training.mse", "params": {"of": "fine"}}],
        "stages.joint.validate_on": None,
    }
    before = weights(done)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    run(smoke(**changes), tmp_path / "beside", stages=("joint",), home=tmp_path)
    monkeypatch.chdir(tmp_path)
    run(smoke(**changes), tmp_path / "here", stages=("joint",), home=elsewhere)
    for name in ("beside", "here"):
        after = load_file(tmp_path / name / "joint" / "weights.safetensors")
        assert {key.partition(".")[0] for key in after if not torch.equal(after[key], before[key])} == {"enhancement"}
