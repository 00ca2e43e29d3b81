"""One step of a stage: weights of terms, shares of pictures, and what is kept of fixed views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import icm_baselines
import icm_sicmh
import icm_tasks
from icm_core import Pipeline, Registry, SpecError, build, build_registry, parse_spec
from icm_core.interfaces import DataSet, Sample
from icm_core.plugins import own
from icm_core.training.noise import noise_of, uniform_noise
from icm_training.batch import CodedBatch, Kept
from icm_training.feed import RawBatch, Stream, collate
from icm_training.mixture import Mixture
from icm_training.parts import groups_of, prepare
from icm_training.recipe import AugmentSpec, QualitySpec, StageSpec
from icm_training.shapes import Shapes as ShapesData
from icm_training.stage import StageModule, by_quality

Shapes = Callable[..., DataSet]
CE = {"use": "training.cross_entropy", "task": "segmentation"}


def module(pipe: Pipeline, data: DataSet, registry: Registry, losses: Sequence[object], *train: str) -> StageModule:
    stage = StageSpec.model_validate(
        {
            "name": "one",
            "train": [{"modules": train or ["A", "B"], "lr": 1e-3, "norm": "frozen"}],
            "feeds": [{"data": ["shapes"], "batch": 8, "losses": losses}],
            "schedule": {"steps": 10},
        }
    )
    prepare(pipe, groups_of(pipe, stage.train))
    return StageModule(pipe, stage, [Mixture([data], registry)], registry, "stages[2]")


def raw(data: DataSet, numbers: Sequence[int]) -> RawBatch:
    mixed = Mixture([data], build_registry(path=[], extra={"core": own}))
    stream = Stream(mixed, AugmentSpec(), QualitySpec(), (1.0, 2.0), None, seed=3)
    return collate([stream[number] for number in numbers], mixed.of)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.3])
def test_the_objective_does_not_depend_on_how_a_batch_is_cut(
    pipe: Pipeline, shapes: Shapes, registry: Registry, share: float
) -> None:
    data = shapes(12)
    losses: list[Any] = [
        {"use": "training.rate", "by_quality": [4.0, 1.0]},
        {**CE, "share": share},
        {**CE, "input": "clean", "share": 0.25, "weight": 0.3},
    ]
    found = module(pipe, data, registry, losses)
    with torch.no_grad():
        whole = found([raw(data, range(8))], 0.5)["loss"]
        parts = [found([raw(data, range(first, first + 2))], 0.5)["loss"] for first in (0, 2, 4, 6)]
    torch.testing.assert_close(torch.stack(parts).mean(), whole, rtol=1e-5, atol=1e-6)


def test_a_share_chooses_every_so_many_pictures(pipe: Pipeline, shapes: Shapes, registry: Registry) -> None:
    data = shapes(8)
    every = module(pipe, data, registry, [{**CE, "label": "x"}])
    some = module(pipe, data, registry, [{**CE, "label": "x", "share": 0.25}])
    with torch.no_grad():
        each = [float(every([raw(data, [number])], 0.0)["x"]) for number in range(8)]
        mean = float(some([raw(data, range(8))], 0.0)["x"])
    assert mean == pytest.approx((each[3] + each[7]) / 2, rel=1e-4)


def test_a_share_counts_as_much_as_the_whole_would(pipe: Pipeline, shapes: Shapes, registry: Registry) -> None:
    data, ends = shapes(8), (9.0, 1.0)
    batch = raw(data, range(8))
    qualities = torch.tensor(batch.quality)[[3, 7]]
    assert qualities[0] != qualities[1]
    every = module(pipe, data, registry, [{**CE, "label": "x"}])
    some = module(pipe, data, registry, [{**CE, "share": 0.25, "weight": 0.5, "by_quality": ends}])
    with torch.no_grad():
        each = torch.tensor([float(every([raw(data, [number])], 0.0)["x"]) for number in (3, 7)])
        found = float(some([batch], 0.0)["loss"])
    factors = by_quality(qualities, ends, pipe.codec.quality_range)
    assert found == pytest.approx(0.5 * float((factors * each).mean()), rel=1e-4)


def test_a_step_that_chooses_nothing_has_a_gradient_of_nothing(
    pipe: Pipeline, shapes: Shapes, registry: Registry
) -> None:
    data = shapes()
    found = module(pipe, data, registry, [{**CE, "share": 0.25}])([raw(data, [0, 1])], 0.0)
    assert float(found["loss"]) == 0.0
    found["loss"].backward()
    assert all(parameter.grad is None for parameter in pipe.parameters())


def test_terms_are_weighted_in_the_objective_and_plain_in_the_log(
    pipe: Pipeline, shapes: Shapes, registry: Registry
) -> None:
    data = shapes()
    losses = [
        {**CE, "label": "a", "weight": 2.0},
        {**CE, "label": "b", "input": "clean", "weight": {"start": 1.0, "end": 3.0, "over": 0.5}},
    ]
    found = module(pipe, data, registry, losses)
    with torch.no_grad():
        for done, weight in ((0.0, 1.0), (0.25, 2.0), (0.5, 3.0), (0.9, 3.0)):
            terms = found([raw(data, range(4))], done)
            assert float(terms["loss"]) == pytest.approx(2 * float(terms["a"]) + weight * float(terms["b"]), rel=1e-5)


def test_a_term_of_weight_0_is_only_looked_at(pipe: Pipeline, shapes: Shapes, registry: Registry) -> None:
    data = shapes()
    found = module(pipe, data, registry, [{**CE, "label": "a", "weight": 0}, {"use": "training.rate", "label": "b"}])
    with torch.no_grad():
        terms = found([raw(data, range(4))], 0.3)
    assert float(terms["a"]) > 0.1 and float(terms["loss"]) == pytest.approx(float(terms["b"]), rel=1e-5)


def test_a_factor_by_quality_is_geometric_between_the_ends() -> None:
    quality = torch.tensor([1.0, 2.0, 2.5, 4.0])
    found = by_quality(quality, (8.0, 1.0), (1.0, 4.0))
    torch.testing.assert_close(found, torch.tensor([8.0, 4.0, 8 ** (1 - 0.5), 1.0]))
    assert by_quality(quality, None, (1.0, 4.0)).tolist() == [1.0] * 4


@pytest.mark.parametrize(
    ("losses", "says"),
    [
        ([{"use": "training.crossentropy"}], "[0].use: unknown loss 'training.crossentropy'; did you mean"),
        (
            [CE, {"use": "training.rate", "params": {"off": "side"}}],
            "unknown field 'off' in stages[2].feeds[0].losses[1].params; did you mean 'of'",
        ),
        ([{**CE, "task": "segment"}], "[0].task: unknown task 'segment'; did you mean 'segmentation'"),
        ([CE, CE], "[1]: two losses of a feed are called 'cross_entropy/segmentation'; give them labels"),
        ([{"use": "training.rate", "by_quality": [1, 0]}], "[0].by_quality is (1.0, 0.0); both factors should be"),
        ([{"use": "training.rate", "input": "clean"}], "[0].input is 'clean', which is for losses of a task"),
        (
            [{"use": "training.mse", "task": "coarse", "input": "clean"}],
            "[0].input is 'clean', and the head of task 'coarse' reads image, fused, h1, h2",
        ),
        ([{**CE, "task": "coarse"}], "[0]: task 'coarse' is of kind reconstruction; cross-entropy is of"),
        ([{"use": "training.mse", "task": "segmentation"}], "[0]: task 'segmentation' is of kind segmentation; loss"),
    ],
)
def test_a_loss_that_cannot_be_made_is_one_sentence(
    pipe: Pipeline, shapes: Shapes, registry: Registry, losses: list[object], says: str
) -> None:
    from icm_core.errors import IcmError

    with pytest.raises(IcmError) as caught:
        module(pipe, shapes(), registry, losses)
    whole = f"stages[2].feeds[0].losses{says}" if says.startswith("[") else says
    assert str(caught.value).startswith(whole) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "loss",
    [
        {"use": "training.mse", "params": {"of": "fine"}},
        {"use": "training.rate", "params": {"of": "all"}},
        {"use": "training.rate", "params": {"of": "enhancement"}},
        {"use": "training.features", "params": {"of": "fine"}},
    ],
)
def test_a_fine_picture_needs_an_enhancement(
    pipe: Pipeline, shapes: Shapes, registry: Registry, loss: dict[str, object]
) -> None:
    data = shapes()
    found = module(pipe, data, registry, [{"use": "training.mse", "params": {"of": "fine"}}])
    pipe.enhancement = None
    with pytest.raises(SpecError, match="has no enhancement"):
        found([raw(data, [0])], 0.0)
    with pytest.raises(SpecError, match=r"stages\[2\]\.feeds\[0\]\.losses\[0\]: pipeline 'smoke' has no enhancement"):
        module(pipe, data, registry, [loss])


def test_what_frozen_modules_make_of_a_view_is_computed_once() -> None:
    kept, calls = Kept(), []

    def compute(*values: float) -> Callable[[], list[torch.Tensor]]:
        def make() -> list[torch.Tensor]:
            calls.append(values)
            return [torch.tensor(values)[:, None] + 1e-5]

        return make

    def get(views: list[int], *values: float) -> list[float]:
        return kept.get("side", views, torch.device("cpu"), compute(*values))[0].flatten().tolist()

    assert get([4, 7], 0.5, 2.0) == [0.5, 2.0]  # float16 at once, as after a run that was broken off
    assert get([7, 4], 9.0, 9.0) == [2.0, 0.5]
    assert get([4, 8], 0.5, 3.0) == [0.5, 3.0]
    assert calls == [(0.5, 2.0), (0.5, 3.0)]


@torch.no_grad()
def test_a_batch_of_known_views_is_not_coded_again(pipe: Pipeline) -> None:
    kept = Kept()

    def side(picture: float, *views: int) -> torch.Tensor:
        pictures = torch.full((len(views), 3, 64, 64), picture)
        quality = torch.ones(len(views))
        return CodedBatch(pipe, pictures, None, quality, 0.0, views, views, kept).side().levels[0]

    pipe.requires_grad_(False)
    first = side(0.2, 0, 1)
    torch.testing.assert_close(side(0.9, 1, 0), first.flip(0))
    assert not torch.equal(side(0.9, -1, -1), first)
    pipe.codec.train()
    assert not torch.equal(side(0.9, 0, 1), first)


@torch.no_grad()
def test_what_is_kept_of_a_view_is_as_large_as_its_picture(pipe: Pipeline) -> None:
    """Which is padded to be coded, and wider than high."""
    pipe.requires_grad_(False)
    pictures, kept = torch.full((2, 3, 40, 72), 0.3), Kept()
    for _ in range(2):
        batch = CodedBatch(pipe, pictures, None, torch.ones(2), 0.0, (1, 2), (0, 1), kept)
        assert batch.side().size == (40, 72)
        assert batch.features("coarse").cropped("image").shape == (2, 3, 40, 72)


@torch.no_grad()
def test_a_picture_of_a_view_is_made_anew_while_what_makes_it_learns(pipe: Pipeline) -> None:
    kept, pictures = Kept(), torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    def shown() -> torch.Tensor:
        found = CodedBatch(pipe, pictures, None, torch.ones(2), 0.0, (1, 2), (0, 1), kept).output("coarse")
        assert isinstance(found, torch.Tensor)
        return found

    def moves() -> bool:
        before = shown()
        next(pipe.task("coarse").head.parameters()).add_(0.1)
        return not torch.equal(shown(), before)

    for part in (pipe.task("coarse").head, pipe.task("coarse").adapter, pipe.codec):
        pipe.requires_grad_(False)
        part.requires_grad_(True)
        assert moves()
    pipe.requires_grad_(False)
    assert not moves()


@torch.no_grad()
def test_each_task_keeps_the_pictures_of_its_own(pipe: Pipeline, registry: Registry) -> None:
    spec = pipe.spec.to_json()
    spec["tasks"]["other"] = spec["tasks"]["coarse"]
    both = build(parse_spec(spec), registry).requires_grad_(False)
    pictures, kept = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)), Kept()
    batch = CodedBatch(both, pictures, None, torch.ones(2), 0.0, (1, 2), (0, 1), kept)
    assert not torch.equal(batch.output("coarse"), batch.output("other"))  # type: ignore[arg-type]


@torch.no_grad()
def test_the_enhancement_is_trained_over_the_picture_as_it_will_be_decoded(pipe: Pipeline) -> None:
    assert pipe.enhancement is not None
    for name, value in pipe.task("coarse").adapter.named_parameters():
        if name == "decoder_side2.6.bias":
            value.copy_(torch.tensor([1.5, 0.5, -0.5]))
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    batch = CodedBatch(pipe, pictures, None, torch.tensor([1.0, 2.0]), 0.0, (1, 2), (-1, -1), Kept())
    coarse = batch.output("coarse")
    assert isinstance(coarse, torch.Tensor) and float(coarse.min()) < -0.2 and float(coarse.max()) > 1.2
    fine, bits = pipe.enhancement(pictures, coarse.clamp(0, 1), batch.side(), batch.quality)
    torch.testing.assert_close(batch.fine(), (fine, bits))


def test_noise_follows_the_picture_and_not_its_place() -> None:
    like = torch.zeros(3, 2, 5)
    with noise_of([7, 8, 9]):
        first, more = uniform_noise(like), uniform_noise(like)
    with noise_of([9, 7]):
        second = uniform_noise(like[:2])
    assert torch.equal(second, first[[2, 0]]) and not torch.equal(first, more)
    assert float(first.min()) >= -0.5 and float(first.max()) < 0.5


@torch.no_grad()
def test_codec_and_enhancement_have_noise_of_their_own(pipe: Pipeline) -> None:
    assert pipe.enhancement is not None
    found: dict[str, torch.Tensor] = {}

    def draws(name: str) -> Callable[..., None]:
        def note(*_: object) -> None:
            found[name] = uniform_noise(torch.zeros(2, 6))

        return note

    for name, part in (("codec", pipe.codec), ("enhancement", pipe.enhancement)):
        part.register_forward_pre_hook(draws(name))
    pictures = torch.full((2, 3, 64, 64), 0.4)
    noise = []
    for seeds in ((5, 9), (9, 5)):
        CodedBatch(pipe, pictures, None, torch.ones(2), 0.0, seeds, (-1, -1), Kept()).fine()
        noise.append(dict(found))
    for name in ("codec", "enhancement"):
        assert torch.equal(noise[0][name], noise[1][name].flip(0))
    assert not torch.isin(noise[0]["codec"], noise[0]["enhancement"]).any()


@pytest.mark.parametrize("of", ["coarse", "fine"])
def test_a_task_behind_a_decoded_picture_reads_and_moves_what_makes_it(
    pipe: Pipeline, registry: Registry, of: str
) -> None:
    spec = pipe.spec.to_json()
    spec["tasks"]["segmentation"]["adapter"] = {"use": "core.decoded_picture", "params": {"of": of}}
    behind = build(parse_spec(spec), registry).requires_grad_(True)
    generator = torch.Generator().manual_seed(2)
    pictures, quality = torch.rand(2, 3, 64, 64, generator=generator), torch.ones(2)
    batch = CodedBatch(behind, pictures, torch.zeros(2, 64, 64).long(), quality, 0.0, (1, 2), (-1, -1), Kept())
    shown = batch.features("segmentation").cropped("image")
    picture = batch.fine()[0] if of == "fine" else batch.output("coarse")
    assert torch.equal(shown, picture.clamp(0, 1))
    batch.losses("segmentation").sum().backward()
    for module in (behind.codec, behind.task("coarse").head, *([behind.enhancement] if of == "fine" else [])):
        assert module is not None
        assert any(p.grad is not None and bool(p.grad.any()) for p in module.parameters())


def test_a_loss_is_given_the_batch_as_it_was_read(pipe: Pipeline, shapes: Shapes, registry: Registry) -> None:
    data = shapes()
    found = module(pipe, data, registry, [CE, {**CE, "input": "clean", "share": 0.5}])
    seen: list[Any] = []
    for loss in found.losses:
        loss.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    batch = raw(data, range(4))
    with torch.no_grad():
        found([batch], 0.3)
    coded, clean = seen
    whole = batch.pictures.double() / 255
    for one, chosen in ((coded, [0, 1, 2, 3]), (clean, [1, 3])):
        torch.testing.assert_close(one.pictures.double(), whole[chosen], rtol=0, atol=1e-7)
        assert torch.equal(one.target, batch.target[chosen]) and one.done == 0.3  # type: ignore[index]
        assert one.quality.tolist() == pytest.approx([batch.quality[b] for b in chosen])
    assert (coded.seeds, coded.views) == (batch.seeds, batch.views)


class Negative(ShapesData):
    """Other pictures with classes of their own, which have the same numbers."""

    def __getitem__(self, number: int) -> Sample:
        sample = super().__getitem__(number)
        return Sample(sample.key, 255 - sample.picture, torch.tensor(number % 2))

    kind = "classification"


@torch.no_grad()
def test_each_feed_has_targets_and_kept_views_of_its_own(pipe: Pipeline, shapes: Shapes, registry: Registry) -> None:
    """Numbers of views begin with 0 in each."""
    drawn, negative = shapes(), Negative(ShapesData.Params(count=6), Path(), "")
    losses: list[list[Any]] = [[CE], [{"use": "training.mse", "task": "coarse"}]]

    def terms(*chosen: int) -> dict[str, float]:
        feeds = [{"data": ["x"], "batch": 2, "views": 1, "losses": losses[number]} for number in chosen]
        stage = StageSpec.model_validate(
            {"name": "one", "train": [{"modules": ["D"], "lr": 1}], "feeds": feeds, "schedule": {"steps": 1}}
        )
        prepare(pipe, groups_of(pipe, stage.train))
        mixed = [Mixture([(drawn, negative)[number]], registry) for number in chosen]
        streams = [Stream(one, AugmentSpec(), QualitySpec(), (1.0, 2.0), 1, seed=3) for one in mixed]
        batches = [collate(sorted((stream[n] for n in range(6)), key=lambda item: item.view), stream.data.of)
                   for stream in streams]  # fmt: skip
        assert all(batch.views == tuple(range(6)) for batch in batches)
        found = StageModule(pipe, stage, mixed, registry, "")(batches, 0.0)
        assert float(found["loss"]) == pytest.approx(sum(float(v) for k, v in found.items() if k != "loss"), rel=1e-5)
        return {key.rpartition(" ")[2]: float(value) for key, value in found.items() if key != "loss"}

    both, apart = terms(0, 1), terms(0) | terms(1)
    assert both.keys() == apart.keys() == {"cross_entropy/segmentation", "mse/coarse"}
    assert both == pytest.approx(apart, rel=1e-5)


@torch.no_grad()
def test_terms_of_several_feeds_have_the_names_of_their_data(
    pipe: Pipeline, shapes: Shapes, registry: Registry
) -> None:
    def labels(*feeds: list[str], loss: object = CE) -> list[str]:
        stage = StageSpec.model_validate(
            {
                "name": "one",
                "train": [{"modules": ["D"], "lr": 1}],
                "feeds": [{"data": data, "batch": 2, "losses": [loss]} for data in feeds],
                "schedule": {"steps": 1},
            }
        )
        found = StageModule(pipe, stage, [Mixture([shapes()], registry)] * len(feeds), registry, "")
        return [key for key in found([raw(shapes(), [0, 1])] * len(feeds), 0.0) if key != "loss"]

    assert labels(["road", "rail"]) == ["cross_entropy/segmentation"]
    assert labels(["road", "rail"], ["air"]) == [
        "road+rail: cross_entropy/segmentation",
        "air: cross_entropy/segmentation",
    ]
    labelled = {**CE, "label": "classes"}
    assert labels(["road"], ["air"], loss=labelled) == ["road: classes", "air: classes"]
    assert labels(["road"], loss=labelled) == ["classes"]
    assert labels(["road"], ["air"], loss={**CE, "input": "clean"})[1] == "air: cross_entropy/segmentation/clean"


@torch.no_grad()
def test_a_heads_own_loss_is_given_whole_precision(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.dtype] = []
    head = pipe.task("segmentation").head
    loss = head.loss
    monkeypatch.setattr(head, "loss", lambda output, target: seen.append(output.dtype) or loss(output, target))
    pictures, target = torch.full((2, 3, 64, 64), 0.4), torch.zeros(2, 64, 64).long()
    with torch.autocast("cpu", torch.bfloat16):
        batch = CodedBatch(pipe, pictures, target, torch.ones(2), 0.0, (1, 2), (-1, -1), Kept())
        assert any(output.dtype == torch.bfloat16 for _, output in batch.outputs("segmentation"))  # type: ignore[union-attr]
        batch.losses("segmentation")
    assert {*seen} == {torch.float32}


@torch.no_grad()
def test_what_one_encoder_made_of_a_view_is_not_taken_for_anothers(pipe: Pipeline, registry: Registry) -> None:
    spec = pipe.spec.to_json()
    spec["codec"]["params"]["deep"] = 16
    both = build(parse_spec(spec), registry).requires_grad_(False).eval()
    both.get_parameter("codec.deep.last.bias").fill_(3.0)  # it begins as no correction at all
    pictures, kept = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)), Kept()

    def batch(*seeds: int) -> CodedBatch:
        return CodedBatch(both, pictures, None, torch.ones(2), 0.0, seeds, (0, 1), kept, encoders=("fast", "deep"))

    fast, deep = batch(2, 2), batch(3, 3)
    assert not torch.equal(fast.side().levels[0], deep.side().levels[0])
    assert not torch.equal(fast.output("coarse"), deep.output("coarse"))  # type: ignore[arg-type]
    for number, name in enumerate(("fast", "deep")):
        expected = both.codec.with_encoder(name)(pictures, torch.ones(2)).side.levels
        for level, kept_level in zip(expected, batch(number, number).side().levels, strict=True):
            torch.testing.assert_close(kept_level, level, rtol=1e-3, atol=1e-3)  # kept in float16


@torch.no_grad()
def test_each_batch_is_coded_by_the_encoder_that_its_first_seed_draws(
    pipe: Pipeline, shapes: Shapes, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = pipe.spec.to_json()
    spec["codec"]["params"]["deep"] = 16
    both, seen = build(parse_spec(spec), registry), list[str]()
    stage = StageSpec.model_validate(
        {
            "name": "one",
            "train": [{"modules": ["A"], "lr": 1}],
            "feeds": [{"data": ["x"], "batch": 2, "losses": [{"use": "training.rate"}]}],
            "schedule": {"steps": 1},
            "encoders": ["fast", "deep"],
        }
    )
    found = StageModule(both, stage, [Mixture([shapes()], registry)], registry, "")
    chosen = type(both.codec).with_encoder

    def noted(codec: Any, name: str) -> Any:
        seen.append(name)
        return chosen(codec, name)

    monkeypatch.setattr(type(both.codec), "with_encoder", noted)
    pictures = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    for seeds in ((4, 9), (7, 8), (11, 2)):
        found([RawBatch(pictures, None, (1.0, 2.0), seeds, (0, 1), (-1, -1))], 0.0)
    assert seen == ["fast", "deep", "deep"]


@torch.no_grad()
def test_a_picture_behind_another_is_made_anew_while_that_one_learns(pipe: Pipeline) -> None:
    spec = pipe.spec.to_json()
    behind = {"use": "core.decoded_picture", "params": {"of": "coarse"}}
    spec["tasks"]["seen"] = {"adapter": behind, "head": {"use": "baselines.picture"}}
    plugins = {"core": own, "sicmh": icm_sicmh, "tasks": icm_tasks, "baselines": icm_baselines}
    both = build(parse_spec(spec), build_registry(path=[], extra=plugins)).eval()
    pictures, kept = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)), Kept()

    def shown() -> torch.Tensor:
        found = CodedBatch(both, pictures, None, torch.ones(2), 0.0, (1, 2), (0, 1), kept).output("seen")
        assert isinstance(found, torch.Tensor)
        return found

    both.requires_grad_(False)
    both.task("coarse").head.requires_grad_(True)
    before = shown()
    next(both.task("coarse").head.parameters()).add_(0.1)
    assert not torch.equal(shown(), before)
