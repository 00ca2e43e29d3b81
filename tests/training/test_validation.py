"""Figures of validation: every kind's, by names that logs keep, and nothing that ends a run."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import icm_things
import numpy as np
import pytest
import torch
from icm_things import Things
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import icm_datasets
import icm_sicmh
import icm_tasks
from icm_core import Pipeline, Registry, build, build_registry, parse_spec
from icm_core.interfaces import DataSet, Sample
from icm_core.nests import tensors
from icm_core.pictures import to_picture
from icm_core.plugins import own
from icm_training import plugin as icm_training
from icm_training.log import Log
from icm_training.mixture import Mixture
from icm_training.recipe import ValidationSpec
from icm_training.shapes import Shapes as ShapesData
from icm_training.validation import validate

Shapes = Callable[..., DataSet]
SMALL = {"width": 8, "h1_channels": 16, "h2_channels": 8, "groups": 2, "context_channels": 8, "qualities": 2}
SPEC = ValidationSpec(data="x", limit=3, qualities=(1.0, 2.0))


class Seen:
    """A log whose lines can be read."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.text = folder, io.StringIO()
        self.log = Log(folder, "stage", 10, 0, active=True, console=Console(file=self.text))

    def lines(self) -> list[str]:
        return self.text.getvalue().splitlines()

    def pictures(self) -> EventAccumulator:
        self.log.close()
        return EventAccumulator(str(self.folder / "tensorboard" / "stage"), {"images": 100}).Reload()


@pytest.fixture
def seen(tmp_path: Path) -> Seen:
    return Seen(tmp_path)


@pytest.fixture(scope="module")
def installed() -> Registry:
    extra = {"core": own, "datasets": icm_datasets, "sicmh": icm_sicmh, "tasks": icm_tasks, "training": icm_training}
    return build_registry(path=[], extra={**extra, "things": icm_things})


def pipeline(registry: Registry, **tasks: dict[str, Any]) -> Pipeline:
    """A pipeline of tasks by name, ``{"use": head, "params": ...}`` each."""
    parts = {name: {"adapter": {"use": "sicmh.multi_scale"}, "head": head} for name, head in tasks.items()}
    codec = {"use": "sicmh.hyperprior", "params": SMALL}
    torch.manual_seed(0)
    return build(parse_spec({"icm": 1, "name": "things", "codec": codec, "tasks": parts}), registry)


def head(kind: str) -> dict[str, Any]:
    return {"use": "things.head", "params": {"kind": f"things.{kind}"}}


def things(kind: str, registry: Registry) -> Mixture:
    return Mixture([Things(Things.Params.model_validate({"kind": f"things.{kind}"}))], registry)


class Wide(ShapesData):
    """Pictures that are wider than high."""

    def __getitem__(self, number: int) -> Sample:
        whole = super().__getitem__(number)
        return Sample(whole.key, whole.picture[:, :40], whole.target[:40])


@torch.no_grad()
def test_old_kinds_keep_their_names_and_scales(pipe: Pipeline, registry: Registry, seen: Seen) -> None:
    """Mean IoU between 0 and 1, PSNR in dB, against numpy; MS-SSIM needs larger pictures."""
    data = Wide(Wide.Params(count=5, size=64), Path(), "")
    found = validate(pipe.train(), Mixture([data], registry), SPEC, seen.log, 4)
    assert [*found] == [f"val {name} q{quality}" for quality in (1, 2) for name in ("bpp", "segmentation", "coarse")]
    for quality in (1, 2):
        counts, ratios, bits = np.zeros((3, 3)), [], []
        for number in (0, 2, 4):
            sample = data[number]
            x = sample.picture[None].float() / 255
            out = pipe.eval().codec(x, torch.tensor([float(quality)]))
            bits.append(float(out.total_bits) / (40 * 64))
            classes = pipe.task("segmentation")(out.side)[0].argmax(0).numpy()
            np.add.at(counts, (sample.target.numpy(), classes), 1)
            picture = np.rint(pipe.task("coarse")(out.side)[0].clamp(0, 1).numpy() * 255)
            ratios.append(20 * math.log10(255 / math.sqrt(((picture - sample.picture.numpy()) ** 2).mean())))
        union = counts.sum(0) + counts.sum(1) - counts.diagonal()
        assert found[f"val segmentation q{quality}"] == pytest.approx((counts.diagonal() / union).mean(), rel=1e-5)
        assert found[f"val coarse q{quality}"] == pytest.approx(np.mean(ratios), rel=1e-5)
        assert found[f"val bpp q{quality}"] == pytest.approx(np.mean(bits), rel=1e-5)
    assert 0 < found["val segmentation q1"] < 1 and seen.lines() == []


@pytest.mark.parametrize(
    ("limit", "expected"), [(1, [0]), (2, [0, 4]), (3, [0, 2, 4]), (5, [0, 1, 2, 3, 4]), (9, [0, 1, 2, 3, 4])]
)
def test_pictures_are_spread_over_the_data_set_or_are_all_of_it(
    pipe: Pipeline, registry: Registry, seen: Seen, limit: int, expected: list[int]
) -> None:
    read: list[int] = []

    class Watched(ShapesData):
        def __getitem__(self, number: int) -> Sample:
            read.append(number)
            return super().__getitem__(number)

    data = Mixture([Watched(ShapesData.Params(count=5, size=32), Path(), "")], registry)
    validate(pipe, data, ValidationSpec(data="x", limit=limit, qualities=(2.0,)), seen.log, 1)
    assert read == expected


class Turned(ShapesData):
    """Labels in another order than the head's, and boxes that count nowhere."""

    labels = ("class 2", "class 0", "class 1")  # type: ignore[assignment]
    ignore_index = 1  # type: ignore[assignment]


@torch.no_grad()
def test_classes_are_told_by_their_names_and_ignored_ones_count_nowhere(
    pipe: Pipeline, registry: Registry, seen: Seen
) -> None:
    data = Turned(ShapesData.Params(count=1), Path(), "")
    spec = ValidationSpec(data="x", limit=1, qualities=(1.0,))
    found = validate(pipe, Mixture([data], registry), spec, seen.log, 1)
    sample = data[0]
    side = pipe.codec(sample.picture[None].float() / 255, torch.ones(1)).side
    classes = pipe.task("segmentation")(side)[0].argmax(0).numpy()
    truth = np.array([2, 255, 1])[sample.target.numpy()]  # ground is the head's class 2, discs its class 1
    scores = []
    for number in range(3):
        counted = truth != 255
        union = ((truth == number) | (classes == number)) & counted
        if union.any():
            scores.append(((truth == number) & (classes == number) & counted).sum() / union.sum())
    assert found["val segmentation q1"] == pytest.approx(np.mean(scores), rel=1e-5)


@torch.no_grad()
def test_rates_are_those_of_the_encoder_that_is_named(registry: Registry, seen: Seen) -> None:
    tasks = {"coarse": {"adapter": {"use": "sicmh.multi_scale"}, "head": {"use": "sicmh.coarse"}}}
    codec = {"use": "sicmh.hyperprior", "params": {**SMALL, "deep": 16}}
    torch.manual_seed(0)
    pipe = build(parse_spec({"icm": 1, "name": "two", "codec": codec, "tasks": tasks}), registry)
    pipe.get_parameter("codec.deep.last.bias").fill_(3.0)  # it begins as no correction at all
    data = ShapesData(ShapesData.Params(count=1), Path(), "")
    spec = ValidationSpec(data="x", limit=1, qualities=(1.0,))
    found = {}
    for name in ("fast", "deep"):
        found[name] = validate(pipe, Mixture([data], registry), spec, seen.log, 1, name)["val bpp q1"]
        out = pipe.codec.with_encoder(name)(data[0].picture[None].float() / 255, torch.ones(1))
        assert found[name] == pytest.approx(float(out.total_bits) / 64**2, rel=1e-5)
    assert found["fast"] != pytest.approx(found["deep"], rel=0.01)


@torch.no_grad()
def test_further_figures_have_their_names(pipe: Pipeline, registry: Registry, seen: Seen) -> None:
    data = ShapesData(ShapesData.Params(count=1, size=192), Path(), "")
    spec = ValidationSpec(data="x", limit=1, qualities=(1.5,))
    found = validate(pipe, Mixture([data], registry), spec, seen.log, 1)
    assert [*found] == ["val bpp q1.5", "val segmentation q1.5", "val coarse q1.5", "val coarse ms_ssim q1.5"]
    assert found["val coarse q1.5"] > 2 and -1 <= found["val coarse ms_ssim q1.5"] <= 1


class Pictures(Log):
    """A log that keeps its pictures as they were given."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "stage", 10, 0, active=True, console=Console(file=io.StringIO()))
        self.seen: dict[str, torch.Tensor] = {}

    def picture(self, name: str, picture: torch.Tensor, step: int) -> None:
        """Keep it."""
        assert name not in self.seen and step == 3
        self.seen[name] = picture


@torch.no_grad()
def test_pictures_of_the_log_are_what_goes_in_and_what_comes_out_at_the_first_quality(
    pipe: Pipeline, registry: Registry, tmp_path: Path
) -> None:
    data, log = Wide(Wide.Params(count=2), Path(), ""), Pictures(tmp_path)
    validate(pipe, Mixture([data], registry), ValidationSpec(data="x", limit=2, qualities=(2.0, 1.0)), log, 3)
    log.close()
    picture = data[0].picture
    x, quality = picture[None].float() / 255, torch.tensor([2.0])
    side = pipe.eval().codec(x, quality).side
    names = ("picture", "fine", *(f"{task}/{what}" for task in pipe.tasks for what in ("semantic image", "prediction")))
    assert log.seen.keys() == {*names}
    assert all(shown.shape == (3, 40, 64) for name, shown in log.seen.items() if not name.endswith("prediction"))
    torch.testing.assert_close(log.seen["picture"], x[0])
    for name in pipe.tasks:
        task = pipe.task(name)
        torch.testing.assert_close(log.seen[f"{name}/semantic image"], task.adapter(side).cropped("image")[0])
        drawn = task.kind.draw(task.predict(side), to_picture(x))
        assert drawn is not None
        expected = torch.from_numpy(np.array(drawn.convert("RGB"))).permute(2, 0, 1) / 255
        torch.testing.assert_close(log.seen[f"{name}/prediction"], expected)
    coarse = pipe.task("coarse")(side).clamp(0, 1)
    fine = pipe.enhancement(x, coarse, side, quality)[0]  # type: ignore[misc]
    torch.testing.assert_close(log.seen["fine"], fine[0].clamp(0, 1))


@torch.no_grad()
def test_a_task_behind_the_fine_picture_is_validated_on_that_of_its_quality(
    pipe: Pipeline, registry: Registry, seen: Seen
) -> None:
    spec = pipe.spec.to_json()
    spec["tasks"]["segmentation"]["adapter"] = {"use": "core.decoded_picture", "params": {"of": "fine"}}
    behind = build(parse_spec(spec), registry)
    assert behind.enhancement is not None
    qualities: list[float] = []
    behind.enhancement.register_forward_pre_hook(lambda _, given: qualities.extend(given[3].tolist()))
    behind.enhancement.register_forward_hook(lambda _, __, found: (found[0] * 9 - 4, found[1]))
    behind.task("segmentation").head.register_forward_pre_hook(lambda _, given: ends.append(given[0].maps["image"]))
    ends: list[torch.Tensor] = []
    validate(behind, Mixture([Wide(Wide.Params(count=1), Path(), "")], registry), SPEC, seen.log, 1)
    assert {*qualities} == {1.0, 2.0} and ends
    assert all((float(shown.min()), float(shown.max())) == (0.0, 1.0) for shown in ends)


def test_modules_go_on_as_they_were_when_a_validation_fails(
    pipe: Pipeline, shapes: Shapes, registry: Registry, seen: Seen
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("out of memory")

    pipe.train()
    pipe.task("coarse").head.eval()
    before = {module: module.training for module in pipe.modules()}
    pipe.codec.register_forward_pre_hook(fails)
    with pytest.raises(RuntimeError, match="out of memory"):
        validate(pipe, Mixture([shapes(1)], registry), SPEC, seen.log, 1)
    assert {module: module.training for module in pipe.modules()} == before


def test_an_answer_that_is_none_of_its_kind_is_said_and_not_measured(
    pipe: Pipeline, shapes: Shapes, registry: Registry, seen: Seen
) -> None:
    """A class map of another size, of which the kind could still count something."""
    pipe.task("segmentation").head.register_forward_hook(lambda _, __, found: found[..., :-1, :])
    found = validate(pipe, Mixture([shapes(1)], registry), SPEC, seen.log, 1)
    assert [name for name in found if "q1" in name] == ["val bpp q1", "val coarse q1"]
    assert seen.lines()[0].startswith("stage: task 'segmentation' is not validated: its answer ")


class Nothing(Things):
    """Pictures without a thing in them."""

    def __getitem__(self, number: int) -> Sample:
        sample = super().__getitem__(number)
        return Sample(sample.key, sample.picture, {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()})


def test_a_figure_of_0_is_a_figure(installed: Registry, seen: Seen) -> None:
    data = Mixture([Nothing(Nothing.Params.model_validate({"kind": "things.boxes"}))], installed)
    found = validate(pipeline(installed, things=head("boxes")), data, SPEC, seen.log, 1)
    assert found["val things q1"] == found["val things many q1"] == 0.0


def test_modules_go_on_as_they_were(pipe: Pipeline, shapes: Shapes, registry: Registry, seen: Seen) -> None:
    pipe.eval()
    pipe.codec.train()
    before = {module: module.training for module in pipe.modules()}
    validate(pipe, Mixture([shapes(1)], registry), SPEC, seen.log, 1)
    assert {module: module.training for module in pipe.modules()} == before


@pytest.mark.parametrize("kind", ["table", "heights", "layer", "boxes", "outlined", "record"])
def test_every_figure_of_a_kind_of_its_own_is_logged(kind: str, installed: Registry, seen: Seen) -> None:
    data = things(kind, installed)
    pipe = pipeline(installed, things=head(kind))
    found = validate(pipe, data, SPEC, seen.log, 1)
    # Unknown figures are left out, percent are shares.
    assert [*found] == [f"val {name} q{q}" for q in (1, 2) for name in ("bpp", "things", "things many")]
    first = [len(tensors(data[number].target)[0]) for number in (0, 2, 5)]
    assert found["val things q1"] == pytest.approx(sum(first) / 3)
    assert found["val things many q1"] == pytest.approx(sum(count > 1 for count in first) / 3)
    assert seen.lines() == []


def test_data_serve_the_kinds_that_their_kind_names(installed: Registry, seen: Seen) -> None:
    pipe = pipeline(installed, boxes=head("boxes"), outlined=head("outlined"), table=head("table"))
    assert {*validate(pipe, things("outlined", installed), SPEC, seen.log, 1)} == {
        f"val {name} q{quality}"
        for quality in (1, 2)
        for name in ("bpp", "boxes", "boxes many", "outlined", "outlined many")
    }
    assert {*validate(pipe, things("boxes", installed), SPEC, seen.log, 1)} == {
        f"val {name} q{quality}" for quality in (1, 2) for name in ("bpp", "boxes", "boxes many")
    }
    assert seen.lines() == []


def test_what_cannot_be_measured_is_left_out_with_a_line(installed: Registry, seen: Seen) -> None:
    pipe = pipeline(installed, wrong=head("wrong"))
    for step in (1, 2):
        found = validate(pipe, things("wrong", installed), SPEC, seen.log, step)
        assert [*found] == ["val bpp q1", "val bpp q2"]
    assert seen.lines() == [
        "stage: task 'wrong' is not validated: the target of things/0 has no third row",
        "stage: task 'wrong' is not drawn: its kind fails with KeyError: 'colour'",
    ]


def test_labels_and_units_that_are_not_the_heads_are_said(installed: Registry, seen: Seen) -> None:
    pipe = pipeline(installed, heights={"use": "things.head", "params": {"kind": "things.heights", "unit": "m"}})
    data = Things(Things.Params(kind="things.heights", unit="ft"))
    assert [*validate(pipe, Mixture([data], installed), SPEC, seen.log, 1)] == ["val bpp q1", "val bpp q2"]
    assert seen.lines() == ["stage: task 'heights' is not validated: the data set's values are in ft, the head's in m"]


def test_answers_are_drawn_on_the_first_picture(installed: Registry, seen: Seen) -> None:
    pipe = pipeline(installed, things=head("boxes"))
    validate(pipe, things("boxes", installed), SPEC, seen.log, 7)
    shown = seen.pictures()
    assert {*shown.Tags()["images"]} == {"picture", "things/semantic image", "things/prediction"}
    (drawn,) = shown.Images("things/prediction")
    assert (drawn.step, drawn.width, drawn.height) == (7, 64, 64)


def test_a_stage_of_a_third_partys_kind_trains_and_is_validated(
    installed: Registry, run: Any, smoke: Any, tmp_path: Path
) -> None:
    """Ragged targets, augmented, through the whole engine."""
    spec = pipeline(installed, things=head("outlined")).spec
    stage = {
        "name": "joint",
        "train": [{"modules": ["A", "B", "tasks.things.head"], "lr": 1e-3}],
        "feeds": [
            {
                "data": ["things"],
                "batch": 4,
                "augment": {"scale": [0.7, 1.3], "crop": [64, 64], "flip": True},
                "losses": [{"use": "training.rate"}, {"use": "training.head", "task": "things"}],
            }
        ],
        "schedule": {"steps": 4},
        "validate_on": {"data": "things", "every": 2, "limit": 2, "qualities": [1]},
    }
    recipe = smoke(
        pipeline=spec.to_json(),
        stages=[stage],
        data={"things": {"use": "things.things", "params": {"kind": "things.outlined", "count": 3}}},
    )
    folder = run(recipe, tmp_path / "run", using=installed)
    with (folder.stage("joint") / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"head/things", "val things q1", "val things many q1"} <= rows[0].keys()
    assert [row["step"] for row in rows if row["val things q1"]] == ["2", "4"]
