"""Targets of any kind on their way into a head's loss: whole, of their types, and moved as torchvision moves them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast, get_args

import icm_things
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from icm_things import FILL, Head, Kind, Things
from lightning_fabric import Fabric
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

import icm_datasets
import icm_sicmh
import icm_tasks
from icm_core import InputError, Pipeline, Registry, SpecError, build, build_registry, hookimpl, parse_spec
from icm_core.interfaces import ComponentParams, DataSet, Nest, Sample, TaskKind
from icm_core.nests import Column, map_tensors, same, tensors
from icm_core.plugins import own
from icm_core.types import Legend
from icm_training import plugin as icm_training
from icm_training.batch import CleanBatch, CodedBatch, Kept
from icm_training.feed import Item, RawBatch, Steps, Stream, batches, collate, moved, seed_of
from icm_training.losses import Distillation, HeadLoss
from icm_training.mixture import InMemory, Mixture, in_memory, served
from icm_training.parts import groups_of, prepare
from icm_training.recipe import AugmentSpec, QualitySpec, StageSpec
from icm_training.shapes import Shapes
from icm_training.stage import StageModule

KINDS = cast(tuple[str, ...], get_args(Kind))
MOVED = ("things.heights", "things.layer", "things.boxes", "things.outlined", "things.record")
SMALL = {"width": 8, "h1_channels": 16, "h2_channels": 8, "groups": 2, "context_channels": 8, "qualities": 2}


@cache
def installed() -> Registry:
    extra = {"core": own, "datasets": icm_datasets, "sicmh": icm_sicmh, "tasks": icm_tasks, "training": icm_training}
    return build_registry(path=[], extra={**extra, "things": icm_things})


def things(kind: str, **params: object) -> Things:
    return Things(Things.Params.model_validate({"kind": kind, **params}))


def pipeline(head: str = "things.head", **params: object) -> Pipeline:
    task = {"adapter": {"use": "sicmh.multi_scale"}, "head": {"use": head, "params": params}}
    codec = {"use": "sicmh.hyperprior", "params": SMALL}
    torch.manual_seed(0)
    return build(parse_spec({"icm": 1, "name": "things", "codec": codec, "tasks": {"things": task}}), installed())


def step(kind: str, losses: Sequence[object], head: str = "things.head") -> StageModule:
    """A stage that trains everything on things."""
    stage = StageSpec.model_validate(
        {
            "name": "one",
            "train": [{"modules": ["A", "B", "tasks.things.head"], "lr": 1e-3}],
            "feeds": [{"data": ["things"], "batch": 4, "losses": losses}],
            "schedule": {"steps": 2},
        }
    )
    pipe = pipeline(head, kind=kind)
    prepare(pipe, groups_of(pipe, stage.train))
    return StageModule(pipe, stage, [Mixture([things(kind)], installed())], installed(), "stages[0]")


def stream(data: DataSet, **augment: object) -> Stream:
    mixed = Mixture([data], installed())
    return Stream(mixed, AugmentSpec.model_validate(augment), QualitySpec(), (1.0, 2.0), None, seed=5)


def raw(data: DataSet, numbers: Sequence[int], **augment: object) -> RawBatch:
    feed = stream(data, **augment)
    return collate([feed[number] for number in numbers], feed.data.of)


def order(count: int, epoch: int = 0) -> list[int]:
    """Numbers of the pictures that an epoch of `stream` takes."""
    generator = torch.Generator().manual_seed(seed_of(5, "order", epoch))
    return cast(list[int], torch.randperm(count, generator=generator).tolist())


def stacked(kind: str, targets: Sequence[Any]) -> Nest:
    """A batch of targets, put together by hand."""
    if kind in ("things.boxes", "things.outlined"):
        return tuple(targets)
    if kind != "things.record":
        return torch.stack([*targets])
    return {
        "place": {name: torch.stack([t["place"][name] for t in targets]) for name in ("map", "points")},
        "numbers": tuple(torch.stack([t["numbers"][i] for t in targets]) for i in range(2)),
        "text": Column(t["text"] for t in targets),
    }


@pytest.mark.parametrize("head", ["things.head", "things.own_pass"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_data_set_holds_is_what_a_heads_loss_is_given(kind: str, precision: Any, head: str) -> None:
    """Values, types and structure, through worker processes' batches, Fabric's precision and the stage."""
    data = things(kind)
    module = step(kind, [{"use": "training.head", "task": "things"}], head)
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    forward = fabric.setup_module(module)
    (batch,) = batches(stream(data), Steps(0, 1, 4, 0, 1), 1 if precision == "32-true" else 0, pinned=False)
    Head.seen.clear()
    terms = forward([batch], 0.0)
    (given_to_the_loss,) = Head.seen
    expected = stacked(kind, [data[number].target for number in order(len(data))[:4]])
    assert same(given_to_the_loss, expected)
    assert {type(tensor) for tensor in tensors(given_to_the_loss)} == {Tensor}
    assert float(terms["loss"].detach()) > (1 if head == "things.own_pass" else 0)


def by_torchvision(kind: str, sample: Sample, augment: AugmentSpec) -> tuple[Tensor, Any]:
    """Picture and target moved by torchvision's own transforms, wrapped by hand."""
    size = cast(tuple[int, int], tuple(sample.picture.shape[-2:]))
    target: Any = sample.target
    mask, image = tv_tensors.Mask, tv_tensors.Image
    if kind in ("things.heights", "things.layer"):
        wrapped: Any = mask(target)
    elif kind == "things.record":
        points = tv_tensors.KeyPoints(target["place"]["points"], canvas_size=size)  # type: ignore[call-overload]
        wrapped = {**target, "place": {"map": mask(target["place"]["map"]), "points": points}}
    else:
        boxes = tv_tensors.BoundingBoxes(target["boxes"], format="XYXY", canvas_size=size)  # type: ignore[call-overload]
        wrapped = {**target, "boxes": boxes}
        if kind == "things.outlined":
            wrapped["masks"] = mask(target["masks"])
    steps: list[v2.Transform] = []
    if augment.resize is not None:
        steps.append(v2.Resize(augment.resize, antialias=True))
    if augment.scale is not None:
        steps.append(v2.ScaleJitter(augment.resize or size, augment.scale, antialias=True))
    if augment.crop is not None:
        fill: Any = {image: 127, mask: 0 if kind in ("things.boxes", "things.outlined", "things.record") else FILL}
        steps.append(v2.RandomCrop(augment.crop, pad_if_needed=True, fill={**fill, "others": 0}))
    if augment.flip:
        steps.append(v2.RandomHorizontalFlip())
    both: Any = (image(sample.picture), wrapped)
    for one in steps:
        both = one(*both)
    picture, target = both[0].as_subclass(Tensor), map_tensors(lambda tensor: tensor.as_subclass(Tensor), both[1])
    if kind in ("things.boxes", "things.outlined"):
        boxes = target["boxes"]
        kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        target = {key: value[kept] for key, value in target.items()}
    return picture, target


sides = st.integers(16, 100)
augmentations = st.fixed_dictionaries(
    {
        "resize": st.none() | st.tuples(sides, sides),
        "scale": st.none() | st.tuples(st.floats(0.5, 1), st.floats(1, 2)),
        "crop": st.none() | st.tuples(sides, sides),
        "flip": st.booleans(),
    }
)


@settings(max_examples=80, deadline=None)
@given(kind=st.sampled_from(MOVED), augment=augmentations, number=st.integers(0, 5), height=sides, width=sides)
def test_what_has_a_place_in_the_picture_moves_as_torchvision_moves_it(
    kind: str, augment: dict[str, Any], number: int, height: int, width: int
) -> None:
    data = things(kind, height=height, width=width)
    feed = stream(data, **augment)
    item = feed[number]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(5, "item", number))
        torch.rand(()), torch.rand(())  # quality
        picture, target = by_torchvision(kind, data[order(len(data))[number]], feed.augment)
    assert torch.equal(item.picture, picture)
    assert same(item.target, target)
    assert {type(tensor) for tensor in tensors(item.target)} <= {Tensor}


@settings(max_examples=60, deadline=None)
@given(
    crop=st.none() | st.tuples(sides, sides),
    flip=st.booleans(),
    number=st.integers(0, 11),
    height=sides,
    width=sides,
)
def test_boxes_and_masks_stay_around_what_they_are_of(
    crop: tuple[int, int] | None, flip: bool, number: int, height: int, width: int
) -> None:
    """Every block has a colour of its own, by which it is found again in the augmented picture."""
    item = stream(things("things.outlined", height=height, width=width), crop=crop, flip=flip)[number]
    red = torch.where(item.picture[1] == 127, 0, item.picture[0])  # grey is what lies beyond the picture
    seen = sorted({*red.unique().tolist()} - {0})
    found = item.target
    assert [60 * (label + 1) for label in found["labels"].tolist()] == seen
    for box, mask, colour in zip(found["boxes"].tolist(), found["masks"], seen, strict=True):
        rows, columns = torch.nonzero(red == colour, as_tuple=True)
        assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert torch.equal(mask, red == colour)


@settings(max_examples=30, deadline=None)
@given(augment=augmentations, number=st.integers(0, 5))
def test_real_numbers_in_two_dimensions_are_no_class_map(augment: dict[str, Any], number: int) -> None:
    data = things("things.table")
    item = stream(data, **augment)[number]
    sample = data[order(len(data))[number]]
    assert same(item.target, sample.target) and item.target.dtype == torch.float32
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(5, "item", number))
        torch.rand(()), torch.rand(())
        bare = moved(Sample("", sample.picture, None), None, AugmentSpec.model_validate(augment), Legend())
    assert torch.equal(item.picture, bare[0])


def test_pictures_are_continued_where_nothing_is_placed_in_them_and_grey_where_something_is() -> None:
    def borders(kind: str) -> set[int]:
        return {*stream(things(kind), crop=(128, 128))[0].picture[1].unique().tolist()}

    assert borders("things.table") == {0}
    assert borders("things.boxes") == {0, 127}
    item = stream(things("things.heights"), crop=(128, 128))[0]
    assert torch.equal(item.target == FILL, item.picture[1] == 127)


def test_targets_that_are_no_batch_are_said_with_the_kinds_own_words() -> None:
    wide, narrow = (stream(things("things.heights", width=width))[0] for width in (80, 64))
    small = Item(narrow.picture, wide.target, 1.0, 0, 0, -1)
    says = r"targets of kind things\.heights are no batch: their shapes differ: \(64, 64\), \(64, 80\)"
    with pytest.raises(InputError, match=says):
        collate([narrow, small], installed().kind("things.heights"))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_target_that_cannot_be_moved_is_named_in_one_line(workers: int) -> None:
    class Strange(Things):
        def __getitem__(self, number: int) -> Sample:
            sample = super().__getitem__(number)
            whole = cast(Tensor, sample.target)
            target = {1: whole[:, :10], 3: whole.reshape(32, 128)}.get(self.params.count)
            return Sample(sample.key, sample.picture, target)

    def said(count: int) -> str:
        feed = stream(Strange(Things.Params(kind="things.heights", count=count)), flip=True)
        with pytest.raises(InputError) as caught:
            next(iter(batches(feed, Steps(0, 1, 1, 0, 1), workers, pinned=False)))
        return str(caught.value)

    assert said(1) == "the target of things/0 cannot be augmented: it is of 64x10 pixels, the picture of 64x64"
    assert said(3).endswith("cannot be augmented: it is of 32x128 pixels, the picture of 64x64")
    assert said(2) == f"things/{order(2)[0]} has no target, though its data set has some"


def test_part_of_a_batch_is_chosen_by_its_kind() -> None:
    """A share of 0.5 takes every second picture, of nests as of tensors."""
    for kind in KINDS:
        data = things(kind)
        module = step(kind, [{"use": "training.head", "task": "things", "input": "clean", "share": 0.5}])
        Head.seen.clear()
        module([raw(data, range(4))], 0.0)
        numbers = [order(len(data))[number] for number in (1, 3)]
        assert same(Head.seen[0], stacked(kind, [data[number].target for number in numbers]))


def test_each_feed_has_targets_of_its_own_kind() -> None:
    """A ragged batch is chosen from picture by picture, another one row by row."""
    clean = {"use": "training.head", "task": "things", "input": "clean", "share": 0.5}
    stage = StageSpec.model_validate(
        {
            "name": "one",
            "train": [{"modules": ["A", "B", "tasks.things.head"], "lr": 1e-3}],
            "feeds": [
                {"data": ["tables"], "batch": 4, "losses": [{"use": "training.rate"}]},
                {"data": ["boxes"], "batch": 4, "losses": [clean]},
            ],
            "schedule": {"steps": 2},
        }
    )
    pipe, data = pipeline(kind="things.boxes"), [things("things.table"), things("things.boxes")]
    prepare(pipe, groups_of(pipe, stage.train))
    module = StageModule(pipe, stage, [Mixture([one], installed()) for one in data], installed(), "")
    Head.seen.clear()
    module([raw(one, range(4)) for one in data], 0.0)
    assert same(Head.seen[0], tuple(data[1][number].target for number in [order(6)[at] for at in (1, 3)]))


@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_of_a_target_counts_in_memory(kind: str) -> None:
    data = things(kind, unit="m")
    first = data[0]
    size = (first.picture.nbytes + sum(tensor.nbytes for tensor in tensors(first.target))) * len(data)
    assert in_memory(data, size - 1) is data
    kept = in_memory(data, size)
    assert isinstance(kept, InMemory)
    assert (kept.name, kept.kind, kept.legend, kept.unit) == ("things.things", kind, data.legend, "m")
    assert all(same(kept[number].target, data[number].target) for number in range(len(data)))


class Placed(icm_things.Heights):
    """A kind that says for which pictures it was asked."""

    name = "things.placed"

    def wrap(self, target: Nest, size: tuple[int, int]) -> Nest:
        return {"map": super().wrap(target, size), "before": torch.tensor(size)}

    def unwrap(self, target: Nest, size: tuple[int, int], legend: Legend) -> Nest:
        return {**super().unwrap(target, size, legend), "after": torch.tensor(size)}


def test_a_kind_is_told_the_size_before_and_after_augmentation() -> None:
    sample, target = things("things.heights", height=48, width=80)[0], cast(Any, None)
    picture, target = moved(sample, Placed(), AugmentSpec.model_validate({"crop": (24, 40)}), Legend())
    assert picture.shape == (3, 24, 40) and target["map"].shape == (24, 40)
    assert (target["before"].tolist(), target["after"].tolist()) == ([48, 80], [24, 40])
    alone, none = moved(sample, None, AugmentSpec.model_validate({"resize": (16, 96)}), Legend())
    assert alone.shape == (3, 16, 96) and none is None


def test_a_batch_goes_to_a_device_whole_and_of_its_types() -> None:
    target = {"boxes": (torch.zeros(2, 4), torch.zeros(0, 4)), "labels": torch.arange(2), "text": Column(["a", "b"])}
    pictures = torch.zeros(2, 3, 8, 16, dtype=torch.uint8)
    batch = RawBatch(pictures, target, (1.0, 2.5), (11, 12), (3, 4), (-1, 7))
    there: Any = batch.to(torch.device("meta"))
    assert (there.pictures.device.type, there.pictures.dtype, there.pictures.shape) == (
        "meta",
        torch.uint8,
        (2, 3, 8, 16),
    )
    assert {tensor.device.type for tensor in tensors(there.target)} == {"meta"}
    assert [tensor.dtype for tensor in tensors(there.target)] == [torch.float32, torch.float32, torch.int64]
    assert isinstance(there.target["boxes"], tuple) and there.target["text"] == target["text"]
    assert (there.quality, there.seeds, there.numbers, there.views) == ((1.0, 2.5), (11, 12), (3, 4), (-1, 7))
    assert batch.pictures.device.type == "cpu" and target["labels"].tolist() == [0, 1]


def test_items_are_a_batch_in_their_order_with_all_that_they_have() -> None:
    items = [
        Item(
            torch.full((3, 2, 4), value, dtype=torch.uint8), torch.tensor(value), value / 2, 100 + value, value, -value
        )
        for value in (7, 3, 5)
    ]
    batch: Any = collate(items, installed().kind("classification"))
    assert batch.pictures[:, 0, 0, 0].tolist() == [7, 3, 5] and batch.pictures.shape == (3, 3, 2, 4)
    assert batch.target.tolist() == [7, 3, 5]
    assert (batch.quality, batch.seeds) == ((3.5, 1.5, 2.5), (107, 103, 105))
    assert (batch.numbers, batch.views) == ((7, 3, 5), (-7, -3, -5))
    assert collate(items, None).target is None
    for height, width in ((2, 5), (3, 4)):
        other = Item(torch.zeros(3, height, width, dtype=torch.uint8), None, 1.0, 1, 1, -1)
        with pytest.raises(InputError, match=f"have the sizes 2x4 and {height}x{width}; give the feed a crop or a res"):
            collate([*items, other], None)


class Named(Things):
    """A data set with a legend of its own."""

    @property
    def legend(self) -> Legend:
        return Legend(("a", "b"), (("c", "d"),), ((1, 2, 3), (4, 5, 6)), "m", -1.0)


def test_what_stands_for_a_data_set_has_its_whole_legend() -> None:
    data = Named(Named.Params.model_validate({"kind": "things.heights"}))
    for held in (InMemory(data, 1), Mixture([data], installed()), Mixture([data, data], installed())):
        assert held.legend == data.legend
        assert (held.labels, held.unit, held.ignore_index) == (("a", "b"), "m", -1.0)


def test_each_picture_of_a_mixture_has_the_kind_of_its_own_target() -> None:
    parts = [things("things.outlined", count=2), things("things.boxes", count=1), things("things.outlined", count=2)]
    kinds = [Mixture(parts, installed()).kind_at(number) for number in range(5)]
    assert [kind and kind.name.removeprefix("things.") for kind in kinds] == [
        "outlined", "outlined", "boxes", "outlined", "outlined",
    ]  # fmt: skip
    nothing = Mixture([*parts, things("things.table", count=1)], installed())
    assert [nothing.kind_at(number) for number in range(6)] == [None] * 6


def test_data_serve_their_kind_and_those_that_it_names() -> None:
    outlined = things("things.outlined")
    assert served(things("things.boxes")) == ("things.boxes",)
    assert served(InMemory(outlined, 1)) == ("things.outlined",)
    assert served(Mixture([outlined], installed())) == ("things.outlined", "things.boxes")
    table = Mixture([outlined, things("things.table")], installed())
    assert served(table) == served(InMemory(table, 1)) == ()


class Left(icm_things.Table):
    name = "things.left"
    also = ("things.table", "things.heights")


class Right(icm_things.Table):
    name = "things.right"
    also = ("things.heights", "things.table")


class Sides:
    @staticmethod
    @hookimpl
    def icm_kinds() -> list[type[TaskKind]]:
        return [Left, Right]


def test_a_mixture_is_of_the_first_kind_that_its_first_data_set_serves() -> None:
    registry = build_registry(path=[], extra={"things": icm_things, "core": own, "sides": Sides})

    def data(kind: str) -> Things:
        found = things("things.table")
        found.params = found.params.model_copy(update={"kind": kind})
        return found

    for first, kind in (("left", "things.table"), ("right", "things.heights")):
        other = {"left": "right", "right": "left"}[first]
        mixed = Mixture([data(f"things.{first}"), data(f"things.{other}")], registry)
        assert (mixed.kind, mixed.serves) == (kind, (kind,))


def test_a_mixture_is_of_the_kind_that_serves_for_all() -> None:
    outlined, boxes, table = (things(f"things.{name}") for name in ("outlined", "boxes", "table"))
    alone = Mixture([outlined], installed())
    assert (alone.kind, alone.serves) == ("things.outlined", ("things.outlined", "things.boxes"))
    for parts in ([outlined, boxes], [boxes, outlined]):
        both = Mixture(parts, installed())
        assert (both.kind, both.serves, len(both)) == ("things.boxes", ("things.boxes",), 12)
        # Each target is moved by its own kind: masks go with their boxes.
        feed = Stream(both, AugmentSpec(flip=True), QualitySpec(), (1.0, 2.0), None, seed=5)
        for number in range(12):
            item = feed[number]
            if "masks" in item.target:
                assert torch.equal(item.target["masks"].any(0), item.picture[0] > 0)
        assert isinstance(collate([feed[number] for number in range(12)], both.of).target, tuple)
    nothing = Mixture([boxes, table], installed())
    assert (nothing.kind, nothing.of, nothing.serves, nothing[0].target) == ("pictures", None, (), None)


def test_data_sets_of_one_feed_mean_the_same() -> None:
    with pytest.raises(SpecError, match=r"things\.things and things\.things of one feed differ in the unit of their"):
        Mixture([things("things.heights", unit="m"), things("things.heights", unit="ft")], installed())


@pytest.mark.parametrize(
    ("labels", "ignore", "differ"),
    [
        (("ground", "box", "disc"), 255, None),
        (("box", "ground", "disc"), 255, "their classes"),
        (("ground", "box"), 255, "their classes"),
        (("ground", "box", "disc"), 2, "the value that counts nowhere"),
    ],
)
def test_numbers_in_maps_of_one_feed_mean_the_same(labels: tuple[str, ...], ignore: int, differ: str | None) -> None:
    def maps(names: tuple[str, ...], nowhere: int) -> DataSet:
        cls = type("Maps", (Shapes,), {"labels": names, "ignore_index": nowhere})
        found: DataSet = cls(Shapes.Params(count=1), Path(), "")
        return found

    parts = [maps(("ground", "box", "disc"), 255), maps(labels, ignore)]
    if differ is None:
        assert len(Mixture(parts, installed())) == 2
        return
    with pytest.raises(SpecError, match=f"of one feed differ in {differ}"):
        Mixture(parts, installed())


def test_a_head_trains_on_data_that_serve_its_kind_and_on_no_others() -> None:
    def loss(head: str, data: DataSet, **params: object) -> HeadLoss:
        pipe = pipeline(kind=head, **params)
        return HeadLoss(HeadLoss.Params(), pipe, "things", Mixture([data], installed()))

    loss("things.boxes", things("things.outlined"))
    loss("things.heights", things("things.heights", unit="m"), unit="m")
    with pytest.raises(SpecError, match=r"is of kind things\.outlined, and the feed's data sets have targets of kind"):
        loss("things.outlined", things("things.boxes"))
    with pytest.raises(SpecError, match="the data set's values are in ft, the head's in m"):
        loss("things.heights", things("things.heights", unit="ft"), unit="m")


def coded(pipe: Pipeline, data: DataSet, views: Sequence[int] = (-1, -1), kept: Kept | None = None) -> CodedBatch:
    pictures = torch.stack([data[number].picture for number in (0, 1)]).float() / 255
    of = installed().kind(data.kind)
    target = of.collate([data[number].target for number in (0, 1)])
    return CodedBatch(pipe, pictures, target, torch.ones(2), 0.0, (1, 2), views, kept or Kept())


def test_a_mean_over_the_batch_is_no_loss() -> None:
    pipe = pipeline(kind="things.boxes", scalar=True)
    batch = coded(pipe, things("things.boxes"))
    loss = HeadLoss(HeadLoss.Params(), pipe, "things", Mixture([things("things.boxes")], installed()))
    says = r"the loss of head 'things\.head' is torch\.float32 of shape \(\); it should be one value a picture, \(2,\)"
    with pytest.raises(SpecError, match=says):
        loss(batch)


def test_a_loss_is_computed_once_and_from_the_outputs_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[object] = []
    forward = Head.forward
    monkeypatch.setattr(Head, "forward", lambda self, features: passes.append(1) or forward(self, features))
    batch = coded(pipeline(kind="things.boxes"), things("things.boxes"))
    first = batch.losses("things")
    assert batch.losses("things") is first and batch.output("things") is batch.outputs("things")[0][1]
    assert len(passes) == 1
    torch.testing.assert_close(first, batch.output("things")["mean"].square())


@torch.no_grad()
def test_a_frozen_heads_nest_is_computed_again_for_each_batch() -> None:
    """What is kept of fixed views are rows of pictures; a nest has none that could be told apart."""
    data, kept = things("things.boxes"), Kept()
    pipe = pipeline(kind="things.boxes").requires_grad_(False).eval()
    first = coded(pipe, data, (0, 1), kept).output("things")
    again = coded(pipe, data, (0, 1), kept).output("things")
    assert same(first, again) and len(again["rest"]) == 2 and again["rest"][1].tolist() == [0, 1, 2]


@torch.no_grad()
def test_any_answer_that_is_compared_can_be_distilled() -> None:
    data = Mixture([things("things.heights")], installed())
    pipe = pipeline(kind="things.heights")
    batch = coded(pipe, things("things.heights"))
    loss = Distillation(Distillation.Params(), pipe, "things", data)
    clean = CleanBatch(pipe, batch.pictures, batch.target, batch.quality, 0.0)
    expected = (batch.output("things")["mean"] - clean.output("things")["mean"]).abs()
    torch.testing.assert_close(loss(batch), expected)
    assert bool((expected > 0).all())
    for heat in (2, 0.5):
        with pytest.raises(
            SpecError, match=rf"temperature is {heat}, and task 'things' is of kind things\.heights; it should be 1"
        ):
            Distillation(Distillation.Params(temperature=heat), pipe, "things", data)
    other = pipeline(kind="things.boxes")
    with pytest.raises(SpecError, match=r"cannot be distilled: answers of kind things\.boxes are not compared"):
        Distillation(Distillation.Params(), other, "things", Mixture([things("things.boxes")], installed()))


SHIPPED = {
    "classification": Legend(("a", "b")),
    "segmentation": Legend(("a", "b", "c"), ignore=255),
    "regression": Legend(("a", "b"), unit="m"),
    "detection": Legend(("a", "b")),
    "instances": Legend(("a", "b")),
    "keypoints": Legend(("a", "b")),
    "depth": Legend(unit="m"),
    "embedding": Legend(("a", "b")),
}


class Made(DataSet):
    """Targets that a kind makes up, with grey pictures."""

    name = "test.made"

    def __init__(self, kind: str) -> None:
        super().__init__(ComponentParams(), Path(), "")
        self.of = installed().kind(kind)

    @property
    def kind(self) -> str:  # type: ignore[override]
        return self.of.name

    @property
    def legend(self) -> Legend:
        return SHIPPED[self.kind]

    def __len__(self) -> int:
        return 4

    def __getitem__(self, number: int) -> Sample:
        generator = torch.Generator().manual_seed(number)
        return Sample(
            str(number), torch.full((3, 48, 64), 90).byte(), self.of.example_target((48, 64), self.legend, generator)
        )


@pytest.mark.parametrize("kind", SHIPPED)
def test_shipped_kinds_are_fed_whole(kind: str) -> None:
    data = Made(kind)
    batch = raw(data, range(4))
    expected = [
        data.of.unwrap(data.of.wrap(data[number].target, (48, 64)), (48, 64), data.legend) for number in order(4)
    ]
    assert same(batch.target, data.of.collate(expected))
    for place, one in enumerate(expected):
        assert same(data.of.select(batch.target, [place]), data.of.collate([one]))
    if kind not in ("segmentation", "instances"):  # whose classes are int64 and masks uint8 in batches
        assert same(expected, [data[number].target for number in order(4)])


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from([*SHIPPED]), augment=augmentations, number=st.integers(0, 7))
def test_augmented_targets_of_shipped_kinds_are_targets_of_the_augmented_picture(
    kind: str, augment: dict[str, Any], number: int
) -> None:
    data = Made(kind)
    item = stream(data, **augment)[number]
    target = item.target.to(torch.uint8) if kind == "segmentation" else item.target
    data.of.check_target(target, cast(tuple[int, int], tuple(item.picture.shape[-2:])), data.legend)
