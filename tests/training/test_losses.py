"""Each loss against a computation by hand, one value for each picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from icm_core import Pipeline, Registry, SpecError, build, parse_spec
from icm_core.interfaces import DataSet, Sample
from icm_core.training import Loss
from icm_tasks.pretrained import efficientnet_lite_weights
from icm_training.batch import CleanBatch, CodedBatch, Kept
from icm_training.shapes import Shapes

SEG, COARSE = "segmentation", "coarse"


class Ignoring(Shapes):
    ignore_index = 255  # type: ignore[assignment]


class Four(Shapes):
    labels = ("a", "b", "c", "d")  # type: ignore[assignment]


@pytest.fixture
def batch(pipe: Pipeline) -> CodedBatch:
    """Three pictures of noise with class maps; they are padded to be coded."""
    generator = torch.Generator().manual_seed(1)
    pictures = torch.rand(3, 3, 56, 72, generator=generator)
    target = torch.randint(3, (3, 56, 72), generator=generator)
    quality = torch.tensor([1.0, 1.5, 2.0])
    return CodedBatch(pipe, pictures, target, quality, 0.0, (1, 2, 3), (-1, -1, -1), Kept())


@pytest.fixture
def make(registry: Registry, pipe: Pipeline, shapes: Any) -> Any:
    """A loss by name, over drawn shapes unless other data are given."""

    def new(name: str, task: str | None = None, data: DataSet | None = None, **params: object) -> Loss:
        cls = registry.losses.get(f"training.{name}")
        return cls(cls.Params.model_validate(params), pipe, task, data or shapes())

    new.registry = registry  # type: ignore[attr-defined]
    return new


def clean(batch: CodedBatch) -> CleanBatch:
    return CleanBatch(batch.pipe, batch.pictures, batch.target, batch.quality, 0.0)


def nats(logits: Tensor, target: Tensor, weights: Tensor, ignore: int) -> float:
    """Weighted cross-entropy of one picture (K, H, W), pixel by pixel in double precision."""
    logits = logits.double()
    logits = logits - logits.logsumexp(0)
    value = total = 0.0
    for k in range(len(weights)):
        here = (target == k) & (target != ignore)
        value -= float(weights[k] * logits[k][here].sum())
        total += float(weights[k] * here.sum())
    return value / total


@torch.no_grad()
def test_rate_is_bits_over_the_pixels_of_the_picture(make: Any, batch: CodedBatch) -> None:
    side, more = batch.coded().total_bits, batch.fine()[1]
    assert side.shape == (3,) and bool((side > 0).all())
    for of, bits in (("side", side), ("enhancement", more), ("all", side + more)):
        torch.testing.assert_close(make("rate", of=of)(batch), bits / (56 * 72))


@torch.no_grad()
def test_squared_error_is_in_grey_levels(make: Any, batch: CodedBatch) -> None:
    found = {
        "output": batch.output(COARSE),
        "image": batch.features(COARSE).cropped("image"),
        "fine": batch.fine()[0],
    }
    for of, picture in found.items():
        by_hand = [((picture[b] - batch.pictures[b]) * 255).pow(2).mean() for b in range(3)]
        torch.testing.assert_close(make("mse", COARSE, of=of)(batch), torch.stack(by_hand))
    # A task whose output is no picture has a semantic image all the same.
    shown = batch.features(SEG).cropped("image")
    errors = (shown - batch.pictures).mul(255).square().mean((1, 2, 3))
    torch.testing.assert_close(make("mse", SEG, of="image")(batch), errors)


@torch.no_grad()
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_is_of_every_output_and_every_pixel(make: Any, batch: CodedBatch, weighted: bool) -> None:
    loss = make("cross_entropy", SEG, class_weights="root_median" if weighted else "equal")
    assert batch.target is not None
    assert (loss.weights.unique().numel() > 1) == weighted
    by_hand = [
        sum(w * nats(logits[b], batch.target[b], loss.weights, -100) for w, logits in batch.outputs(SEG))
        for b in range(3)
    ]
    assert len(batch.outputs(SEG)) == 2
    torch.testing.assert_close(loss(batch), torch.tensor(by_hand))


@torch.no_grad()
def test_cross_entropy_of_one_output_leaves_the_others(make: Any, batch: CodedBatch) -> None:
    assert batch.target is not None
    first_map = batch.outputs(SEG)[1][1]
    by_hand = [nats(first_map[b], batch.target[b], torch.ones(3), -100) for b in range(3)]
    torch.testing.assert_close(make("cross_entropy", SEG, output=1)(batch), torch.tensor(by_hand))
    with pytest.raises(SpecError, match="output is 2; the head of task 'segmentation' has 2, counted from 0"):
        make("cross_entropy", SEG, output=2)(batch)


@torch.no_grad()
def test_smoothed_labels_give_a_share_of_the_target_to_all_classes(make: Any, batch: CodedBatch) -> None:
    assert batch.target is not None
    found = make("cross_entropy", SEG, output=0, label_smoothing=0.3)(batch)
    log = batch.output(SEG).double().log_softmax(1)
    share = 0.7 * torch.nn.functional.one_hot(batch.target, 3).movedim(-1, 1) + 0.3 / 3
    torch.testing.assert_close(found.double(), -(share * log).sum(1).mean((1, 2)), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_ignored_pixels_count_nowhere(make: Any, batch: CodedBatch) -> None:
    loss = make("cross_entropy", SEG, Ignoring(Shapes.Params(), Path(), ""), output=0)
    assert batch.target is not None
    batch.target[2, :, 44:] = 255
    batch.target[1] = 255
    found = loss(batch)
    logits = batch.output(SEG)
    assert float(found[2]) == pytest.approx(nats(logits[2], batch.target[2], torch.ones(3), 255), rel=1e-5)
    assert float(found[1]) == 0.0


@torch.no_grad()
def test_class_weights_are_roots_of_the_median_share_over_a_classs_own(make: Any, shapes: Any) -> None:
    data = shapes(12)
    counts = sum(torch.bincount(data[n].target.long().flatten(), minlength=3) for n in range(12)).double()
    expected = (counts.median() / counts).sqrt().float()
    torch.testing.assert_close(make("cross_entropy", SEG, data, class_weights="root_median").weights, expected)


class Void(Shapes):
    """Boxes count nowhere, and their number is one of the classes'."""

    ignore_index = 1  # type: ignore[assignment]


class Groundless(Shapes):
    ignore_index = 0  # type: ignore[assignment]


def test_classes_that_count_nowhere_have_no_share_of_the_weights(make: Any) -> None:
    data = Void(Shapes.Params(count=12), Path(), "")
    counts = sum(torch.bincount(data[n].target.long().flatten(), minlength=3) for n in range(12)).double()
    assert 1 < counts[1] < counts[0]
    counts[1] = 0
    found = make("cross_entropy", SEG, data, class_weights="root_median").weights
    expected = (counts.median() / counts.clamp_min(1)).sqrt().clamp_max(10).float()
    torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_class_0_may_be_what_counts_nowhere(make: Any, batch: CodedBatch) -> None:
    assert batch.target is not None and bool((batch.target == 0).any())
    found = make("cross_entropy", SEG, Groundless(Shapes.Params(), Path(), ""), output=0)(batch)
    by_hand = [nats(batch.output(SEG)[b], batch.target[b], torch.ones(3), 0) for b in range(3)]
    torch.testing.assert_close(found, torch.tensor(by_hand))


class Sorted(Shapes):
    """Each picture is of one class: half of them of class 0, then a quarter each of class 1 and of class 2."""

    def __getitem__(self, number: int) -> Sample:
        target = torch.full((16, 16), max(0, 4 * number // len(self) - 1), dtype=torch.uint8)
        return Sample(str(number), torch.zeros(3, 16, 16, dtype=torch.uint8), target)


def test_class_weights_of_many_pictures_are_of_some_from_all_over_them(make: Any) -> None:
    data = Sorted(Sorted.Params(count=2000, size=16), Path(), "")
    weights = make("cross_entropy", SEG, data, class_weights="root_median").weights
    torch.testing.assert_close(weights, torch.tensor([0.5**0.5, 1.0, 1.0]), rtol=0.01, atol=0)


class Rare(Shapes):
    """Of class 2 is one pixel, of the others are half of the rest each."""

    def __getitem__(self, number: int) -> Sample:
        target = torch.arange(256 * 256).remainder(2).to(torch.uint8).view(256, 256)
        target[0, 0] = 2
        return Sample(str(number), torch.zeros(3, 256, 256, dtype=torch.uint8), target)


def test_a_class_that_hardly_occurs_counts_ten_times_at_most(make: Any) -> None:
    weights = make("cross_entropy", SEG, Rare(Rare.Params(count=1), Path(), ""), class_weights="root_median").weights
    assert weights.tolist() == pytest.approx([1.0, 1.0, 10.0], rel=1e-4)


def test_the_teacher_is_in_inference_from_its_beginning_and_learns_nothing(make: Any, pipe: Pipeline) -> None:
    pipe.train().requires_grad_(True)
    teacher = make("distillation", SEG).teacher
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


@torch.no_grad()
def test_the_heads_own_loss_is_taken_picture_by_picture(make: Any, batch: CodedBatch) -> None:
    assert batch.target is not None
    by_hand = [
        sum(w * nats(logits[b], batch.target[b], torch.ones(3), 255) for w, logits in batch.outputs(SEG))
        for b in range(3)
    ]
    torch.testing.assert_close(make("head", SEG)(batch), torch.tensor(by_hand))
    mse = [(batch.output(COARSE)[b] - batch.pictures[b]).pow(2).mean() for b in range(3)]
    torch.testing.assert_close(make("head", COARSE)(batch), torch.stack(mse))


@torch.no_grad()
def test_distillation_is_the_divergence_from_the_first_clean_answer(
    make: Any, batch: CodedBatch, pipe: Pipeline
) -> None:
    loss = make("distillation", SEG, temperature=2.0)
    teacher = (clean(batch).output(SEG).double() / 2).softmax(1)

    def by_hand() -> Tensor:
        total = torch.zeros(3, dtype=torch.float64)
        for weight, logits in batch.outputs(SEG):
            student = (logits.double() / 2).softmax(1)
            total += weight * (teacher * (teacher / student).log()).sum(1).mean((1, 2)) * 4
        return total.float()

    torch.testing.assert_close(loss(batch), by_hand(), rtol=1e-3, atol=1e-6)
    before = loss(batch)
    for parameter in pipe.task(SEG).head.parameters():
        parameter.mul_(1.2)
    batch = CodedBatch(pipe, batch.pictures, batch.target, batch.quality, 0.0, (1, 2, 3), (-1, -1, -1), Kept())
    loss.train()
    assert not torch.allclose(loss(batch), before)
    torch.testing.assert_close(loss(batch), by_hand(), rtol=1e-3, atol=1e-6)


@torch.no_grad()
def test_each_picture_has_the_loss_that_it_has_alone(make: Any, batch: CodedBatch) -> None:
    losses = [
        make("rate", of="all"),
        make("mse", COARSE),
        make("cross_entropy", SEG, class_weights="root_median", label_smoothing=0.1),
        make("distillation", SEG),
        make("head", SEG),
    ]
    assert batch.target is not None
    for b in range(3):
        own = slice(b, b + 1)
        alone = CodedBatch(
            batch.pipe, batch.pictures[own], batch.target[own], batch.quality[own], 0.0, (b,), (-1,), Kept()
        )
        for loss in losses:
            torch.testing.assert_close(loss(alone), loss(batch)[own], rtol=1e-3, atol=1e-5)


@torch.no_grad()
def test_squared_error_grows_beyond_black_and_white(make: Any, batch: CodedBatch) -> None:
    """What is beyond them has a gradient back."""
    batch.pipe.task(COARSE).head.register_forward_hook(lambda _, __, found: found * 20 - 9.5)
    found = batch.output(COARSE)
    assert isinstance(found, Tensor) and float(found.min()) < -0.1 and float(found.max()) > 1.1
    by_hand = [((found[b] - batch.pictures[b]) * 255).pow(2).mean() for b in range(3)]
    torch.testing.assert_close(make("mse", COARSE)(batch), torch.stack(by_hand))


def test_a_heads_own_loss_may_be_below_0(make: Any, batch: CodedBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.tensor([-1.0, 0.5, -3.0])
    monkeypatch.setattr(batch.pipe.task(SEG).head, "loss", lambda *_: values)
    weights = [weight for weight, _ in batch.outputs(SEG)]
    assert weights[0] != weights[1]
    torch.testing.assert_close(make("head", SEG)(batch), sum(weights) * values)


def test_a_heads_own_loss_needs_targets_of_its_kind(make: Any) -> None:
    class Plain(Shapes):
        kind = "pictures"

    data = Plain(Plain.Params(), Path(), "")
    with pytest.raises(SpecError, match="is of kind segmentation, and the feed's data sets have no targets in common"):
        make("head", SEG, data)
    make("head", COARSE, data)


@torch.no_grad()
def test_answers_are_cooled_in_whole_precision(make: Any, batch: CodedBatch) -> None:
    loss = make("distillation", SEG, temperature=3.0)
    with torch.autocast("cpu", torch.bfloat16):
        teacher, outputs, found = clean(batch).output(SEG), batch.outputs(SEG), loss(batch)
    assert isinstance(teacher, Tensor) and teacher.dtype == torch.bfloat16
    sure = (teacher.double() / 3).softmax(1)
    by_hand = torch.zeros(3, dtype=torch.float64)
    for weight, logits in outputs:
        student = (logits.double() / 3).softmax(1)
        by_hand += weight * 9 * (sure * (sure / student).log()).sum(1).mean((1, 2))
    torch.testing.assert_close(found.double(), by_hand, rtol=1e-4, atol=1e-7)


@torch.no_grad()
def test_errors_of_features_are_taken_in_whole_precision(make: Any, batch: CodedBatch) -> None:
    loss = make("features", SEG)
    with torch.autocast("cpu", torch.bfloat16):
        shown = batch.features(SEG).cropped("image")
        maps = [loss.net(loss.normalise(pictures)) for pictures in (shown, batch.pictures)]
        found = loss(batch)
    assert maps[0][-1].dtype == torch.bfloat16
    by_hand = torch.zeros(3, dtype=torch.float64)
    for one, other in zip(*maps, strict=True):
        error = (one.double() - other.double()).square().flatten(1).mean(1)
        by_hand += error / (other.double().square().flatten(1).mean(1) + 1e-6) / 3
    torch.testing.assert_close(found.double(), by_hand, rtol=1e-5, atol=1e-8)


def test_what_a_loss_cannot_be_had_of_is_one_sentence(make: Any, batch: CodedBatch) -> None:
    with pytest.raises(SpecError, match="needs the task that it is about"):
        make("cross_entropy")
    with pytest.raises(SpecError, match="task 'coarse' is of kind reconstruction; cross-entropy is of classific"):
        make("cross_entropy", COARSE)
    four = (
        "task 'segmentation' cannot be trained on data set 'training.shapes': the head has 3 classes, and they are not "
    )
    with pytest.raises(SpecError, match=f"{four}the data set's 4"):
        make("cross_entropy", SEG, Four(Shapes.Params(), Path(), ""))
    with pytest.raises(SpecError, match="task 'coarse' cannot be distilled: its head reads image, fused, h1, h2, and"):
        make("distillation", COARSE)
    with pytest.raises(SpecError, match=r"is of kind segmentation; loss 'training\.mse' of its output is of pictures"):
        make("mse", SEG)
    with pytest.raises(SpecError, match="its input cannot be 'clean'"):
        make("rate")(clean(batch))
    with pytest.raises(SpecError, match="so it cannot read clean pictures"):
        make("mse", COARSE)(clean(batch))
    batch.target = None
    with pytest.raises(SpecError, match="needs targets"):
        make("cross_entropy", SEG)(batch)


def test_the_rate_of_one_bit_a_pixel_is_one(make: Any, batch: CodedBatch) -> None:
    with torch.no_grad():
        bits = batch.coded().bits
    for name in bits:
        bits[name].fill_(56 * 72 / len(bits))
    assert make("rate")(batch).tolist() == [pytest.approx(1.0)] * 3
    assert math.isclose(float(batch.coded().total_bits[0]), 56 * 72)


class Turned(Shapes):
    labels = ("class 1", "class 0", "class 2")  # type: ignore[assignment]


def test_classes_in_another_order_are_no_targets(make: Any) -> None:
    """Targets are not renumbered in training: they would be learned as they stand."""
    for name in ("head", "cross_entropy"):
        with pytest.raises(SpecError, match="'class 1' is number 0 in its targets and 1 of the head"):
            make(name, SEG, Turned(Shapes.Params(), Path(), ""))
    make("head", COARSE, Turned(Shapes.Params(), Path(), ""))


@torch.no_grad()
def test_the_last_output_is_the_first_map_and_of_a_plain_head_its_only_one(make: Any, batch: CodedBatch) -> None:
    assert batch.target is not None
    loss = make("cross_entropy", SEG, output="last")
    torch.testing.assert_close(loss(batch), make("cross_entropy", SEG, output=1)(batch))
    spec = batch.pipe.spec.to_json()
    params = dict(spec["tasks"][SEG]["head"]["params"])
    spec["tasks"][SEG]["head"] = {"use": "tasks.trseg", "params": params}
    plain = build(parse_spec(spec), make.registry)
    own = CodedBatch(plain, batch.pictures, batch.target, batch.quality, 0.0, (1, 2, 3), (-1, -1, -1), Kept())
    (output,) = own.outputs(SEG)
    by_hand = [nats(output[1][b], batch.target[b], torch.ones(3), -100) for b in range(3)]
    found = make.registry.losses.get("training.cross_entropy")
    last = found(found.Params(output="last"), plain, SEG, Shapes(Shapes.Params(), Path(), ""))
    torch.testing.assert_close(last(own), torch.tensor(by_hand))


def features(pictures: Tensor) -> list[Tensor]:
    """Feature maps of EfficientNet-Lite0 with the package's weights, from the whole classifier."""
    net = timm.create_model("tf_efficientnet_lite0")
    net.load_state_dict(efficientnet_lite_weights("tf_efficientnet_lite0"))
    _, found = net.eval().forward_intermediates((pictures * 255 - 127) / 128)
    return found


@torch.no_grad()
def test_distance_in_features_is_an_error_relative_to_the_clean_features(make: Any, batch: CodedBatch) -> None:
    clean, seen = features(batch.pictures), features(batch.features(SEG).cropped("image"))
    errors = [
        torch.stack([(seen[s][b] - clean[s][b]).pow(2).mean() / clean[s][b].pow(2).mean() for b in range(3)])
        for s in range(5)
    ]
    torch.testing.assert_close(
        make("features", SEG)(batch), (errors[1] + errors[2] + errors[3]) / 3, rtol=1e-3, atol=1e-5
    )
    weighted = make("features", SEG, stages=(0, 4), weights=(3.0, 1.0))
    torch.testing.assert_close(weighted(batch), 0.75 * errors[0] + 0.25 * errors[4], rtol=1e-3, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        reduced = make("features", SEG)(batch)
    assert reduced.dtype == torch.float32
    torch.testing.assert_close(reduced, make("features", SEG)(batch), rtol=0.05, atol=0.01)


def test_distance_in_features_is_of_other_pictures_too_and_nothing_for_the_same(make: Any, batch: CodedBatch) -> None:
    same = make("features", SEG)(clean(batch))
    assert same.shape == (3,) and same.tolist() == [0.0] * 3
    shown = {of: make("features", COARSE, of=of)(batch) for of in ("image", "output", "fine")}
    assert all(bool((values > 0).all()) for values in shown.values())
    assert not torch.allclose(shown["output"], shown["fine"])


def test_the_network_of_features_stays_as_it_is_and_passes_gradients(make: Any, batch: CodedBatch) -> None:
    before = torch.get_rng_state()
    loss = make("features", SEG)
    assert torch.equal(torch.get_rng_state(), before)
    loss.train()
    assert not any(module.training for module in loss.net.modules())
    assert not any(parameter.requires_grad for parameter in loss.parameters())
    weights = {key: tensor.clone() for key, tensor in loss.state_dict().items()}
    batch.pipe.requires_grad_(True)
    loss(batch).sum().backward()
    assert all(torch.equal(tensor, weights[key]) for key, tensor in loss.state_dict().items())
    adapter = batch.pipe.task(SEG).adapter
    assert any(p.grad is not None and bool(p.grad.any()) for p in adapter.parameters())
    assert not any("later" in key or "blocks.6" in key for key in weights)  # stages behind the last are not built


def test_pictures_that_are_not_there_have_no_features(make: Any) -> None:
    with pytest.raises(SpecError, match=r"loss 'training\.features' needs the task"):
        make("features")
    with pytest.raises(
        SpecError, match=r"is of kind segmentation; loss 'training\.features' of its output is of pictures"
    ):
        make("features", SEG, of="output")
