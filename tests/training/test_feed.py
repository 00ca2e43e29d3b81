"""Pictures of a feed: the same for any number of workers and devices."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from icm_core import InputError, Registry, SpecError, build_registry
from icm_core.interfaces import ComponentParams, DataSet, Sample
from icm_core.plugins import own
from icm_training.checking import feed_data
from icm_training.feed import GREY, Item, RawBatch, Steps, Stream, batches, collate, seed_of
from icm_training.mixture import InMemory, Mixture, in_memory
from icm_training.recipe import AugmentSpec, FeedSpec, QualitySpec

Shapes = Callable[..., DataSet]
IGNORE = 255


class Blocks(DataSet):
    """Class maps of 16x16 blocks, and pictures whose values are the classes times 20."""

    name = "test.blocks"
    kind = "segmentation"
    labels = tuple("abcdef")  # type: ignore[assignment]
    ignore_index = IGNORE  # type: ignore[assignment]

    def __init__(self, height: int = 64, width: int = 96) -> None:
        super().__init__(ComponentParams(), Path(), "")
        self.size = (height // 16, width // 16)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, number: int) -> Sample:
        blocks = torch.randint(6, self.size, generator=torch.Generator().manual_seed(number), dtype=torch.uint8)
        target = blocks.repeat_interleave(16, 0).repeat_interleave(16, 1)
        return Sample(str(number), (target * 20).expand(3, -1, -1).clone(), target)


@cache
def core() -> Registry:
    """The core's own kinds."""
    return build_registry(path=[], extra={"core": own})


def stream(data: DataSet, *, views: int | None = None, quality: QualitySpec | None = None, **augment: object) -> Stream:
    spec = AugmentSpec.model_validate(augment)
    return Stream(Mixture([data], core()), spec, quality or QualitySpec(), (1.0, 4.0), views, seed=5)


def same(one: RawBatch, other: RawBatch) -> bool:
    assert one.target is not None and other.target is not None
    return (
        torch.equal(one.pictures, other.pictures)
        and torch.equal(one.target, other.target)
        and (one.quality, one.seeds, one.numbers, one.views) == (other.quality, other.seeds, other.numbers, other.views)
    )


def test_worker_processes_make_the_pictures_that_none_makes(shapes: Shapes) -> None:
    def read(workers: int) -> list[RawBatch]:
        feed = stream(shapes(), crop=(32, 32), flip=True, colour=(0.2, 0.2, 0.2, 0.1), scale=(0.7, 1.4))
        return list(batches(feed, Steps(1, 5, 4, 0, 1), workers, pinned=False))

    none, two = read(0), read(2)
    assert len(none) == len(two) == 4
    assert all(same(a, b) for a, b in zip(none, two, strict=True))


def test_a_batch_has_what_its_items_are_in_their_order() -> None:
    items = [
        Item(torch.full((3, 4, 6), 20 * n, dtype=torch.uint8), None, 1.5 + n, 70 + n, 8 - n, n % 2) for n in range(3)
    ]
    batch = collate(items, None)
    assert batch.pictures.shape == (3, 3, 4, 6) and batch.pictures[:, 2, 3, 5].tolist() == [0, 20, 40]
    assert (batch.quality, batch.seeds, batch.numbers) == ((1.5, 2.5, 3.5), (70, 71, 72), (8, 7, 6))
    assert (batch.target, batch.views) == (None, (0, 1, 0))


def test_seeds_are_63_bits_of_a_hash_of_their_parts() -> None:
    """Every run that was broken off goes on by them."""
    expected = int.from_bytes(hashlib.blake2b(b"7\0order\x003", digest_size=8).digest(), "big") // 2
    assert seed_of(7, "order", 3) == expected
    assert 2**62 < max(seed_of(number) for number in range(100)) < 2**63


def test_a_feed_of_another_seed_draws_others(shapes: Shapes) -> None:
    """Orders, augmentations, fixed views and noise alike."""
    data = Mixture([shapes(6)], core())
    crop = AugmentSpec(crop=(32, 32), flip=True)
    for views in (None, 2):
        one, other = (Stream(data, crop, QualitySpec(trained=0.0), (1.0, 4.0), views, seed=seed) for seed in (5, 6))
        items = [(one[number], other[number]) for number in range(8)]
        assert not any(a.quality == b.quality or a.seed == b.seed for a, b in items)
        if views:
            by_view = {item.view: item.picture for item in (other[number] for number in range(12))}
            assert sum(torch.equal(a.picture, by_view[a.view]) for a, _ in items) < 4
    assert [one[number].seed for number in (0, 7)] == [seed_of(5, "noise", 0), seed_of(5, "noise", 7)]


def test_a_feed_moves_no_random_numbers_of_others(shapes: Shapes) -> None:
    feed = stream(shapes(2), crop=(32, 32), flip=True)
    before = torch.get_rng_state()
    assert feed[3].number == 3
    assert torch.equal(torch.get_rng_state(), before)


def test_a_feed_does_not_end(shapes: Shapes) -> None:
    feed = stream(shapes(4))
    assert len(feed) > 10**15 and feed[10**15].number == 10**15


@pytest.mark.parametrize("world", [2, 4])
def test_devices_share_the_very_pictures_of_one(world: int) -> None:
    whole = list(Steps(3, 7, 8, 0, 1))
    parts = [list(Steps(3, 7, 8, rank, world)) for rank in range(world)]
    assert [[number for part in parts for number in part[step]] for step in range(4)] == whole
    assert whole[0] == list(range(24, 32)) and len(Steps(3, 7, 8, 0, world)) == 4


def test_an_epoch_holds_every_picture_once_in_an_order_of_its_own(shapes: Shapes) -> None:
    data = shapes(8)
    feed = stream(data)
    pictures = [data[number].picture for number in range(8)]
    orders = [
        [next(n for n in range(8) if torch.equal(pictures[n], feed[epoch * 8 + i].picture)) for i in range(8)]
        for epoch in range(2)
    ]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(8))
    assert orders[0] != orders[1]


def test_views_come_again_and_nothing_else_does(shapes: Shapes) -> None:
    feed = stream(shapes(4), views=2, crop=(32, 32), flip=True)
    items = [feed[number] for number in range(4 * 6)]
    counts = Counter(item.view for item in items)
    assert len(counts) == 8 and {*counts.values()} == {3}
    for item in items[8:]:
        before = next(other for other in items if other.view == item.view)
        assert torch.equal(before.picture, item.picture)
        assert (before.quality, before.seed == item.seed) == (item.quality, before.number == item.number)
    fresh = stream(shapes(4), crop=(32, 32), flip=True)
    assert {fresh[number].view for number in range(8)} == {-1}
    assert len({fresh[number].quality for number in range(40)}) > 10


class Numbered(Blocks):
    """The same pictures with a class each."""

    kind = "classification"
    ignore_index = None

    def __getitem__(self, number: int) -> Sample:
        return Sample(str(number), super().__getitem__(number).picture, torch.tensor(number))


class Bare(Blocks):
    """The same pictures alone."""

    kind = "pictures"
    labels = ()
    ignore_index = None

    def __getitem__(self, number: int) -> Sample:
        return Sample(str(number), super().__getitem__(number).picture, None)


def by_hand(sample: Sample, spec: AugmentSpec, dense: bool) -> tuple[Tensor, Any]:
    """Picture and class map through torchvision's transforms, as every run that has begun has had them."""
    steps: list[Any] = []
    if spec.resize is not None:
        steps.append(v2.Resize(spec.resize, antialias=True))
    if spec.scale is not None:
        size = spec.resize or tuple(sample.picture.shape[-2:])
        steps.append(v2.ScaleJitter(size, spec.scale, antialias=True))
    if spec.crop is not None and dense:
        fill = {tv_tensors.Image: 127, tv_tensors.Mask: IGNORE}
        steps.append(v2.RandomCrop(spec.crop, pad_if_needed=True, fill=fill))
    elif spec.crop is not None:
        steps.append(v2.RandomCrop(spec.crop, pad_if_needed=True, padding_mode="edge"))
    if spec.flip:
        steps.append(v2.RandomHorizontalFlip())
    if spec.colour is not None:
        steps.append(v2.ColorJitter(*spec.colour))
    things: list[Any] = [tv_tensors.Image(sample.picture)]
    things += [tv_tensors.Mask(sample.target)] if dense else []
    for step in steps:
        moved = step(*things)
        things = list(moved) if dense else [moved]
    return things[0].as_subclass(Tensor), things[1].as_subclass(Tensor).long() if dense else sample.target


sizes = st.tuples(st.integers(16, 80), st.integers(16, 80))
augmentations = st.fixed_dictionaries(
    {
        "resize": st.none() | sizes,
        "scale": st.none() | st.tuples(st.floats(0.5, 1), st.floats(1, 2)),
        "crop": st.none() | sizes,
        "flip": st.booleans(),
        "colour": st.sampled_from([None, (0.2, 0.2, 0.2, 0.1)]),
    }
)


@settings(max_examples=40, deadline=None)
@given(augment=augmentations, number=st.integers(0, 11), data=st.sampled_from([Blocks, Numbered, Bare]))
def test_classes_maps_and_pictures_are_augmented_as_ever(
    augment: dict[str, Any], number: int, data: type[Blocks]
) -> None:
    feed = stream(data(), **augment)
    item = feed[number]
    epoch, position = divmod(number, 4)
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed_of(5, "order", epoch)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(5, "item", number))
        quality, share = 1 + 3 * float(torch.rand(())), float(torch.rand(()))
        picture, target = by_hand(data()[int(order[position])], feed.augment, data is Blocks)
    assert item.quality == (round(quality) if share < 0.5 else quality)
    assert torch.equal(item.picture, picture) and item.picture.dtype == torch.uint8
    assert (item.target is None and target is None) or torch.equal(item.target, target)
    assert type(item.picture) is Tensor and type(item.target) in (Tensor, type(None))


@pytest.mark.parametrize(
    "augment",
    [
        {"flip": True},
        {"crop": (48, 48), "flip": True},
        {"crop": (96, 128)},
        {"resize": (128, 192), "flip": True},
    ],
)
def test_class_maps_go_where_their_pictures_go(augment: dict[str, object]) -> None:
    feed = stream(Blocks(), **augment)
    for number in range(8):
        item = feed[number]
        assert item.target is not None
        expected = torch.where(item.target == IGNORE, GREY, item.target * 20)
        # Where a size changes, picture values lie between those of two blocks at their border.
        off = (item.picture.long() - expected).abs().amax(0) > 4
        assert off.float().mean() <= (0.2 if "resize" in augment else 0.0)
        assert bool((item.target == IGNORE).any()) == (augment.get("crop") == (96, 128))


def test_scaled_class_maps_follow_their_pictures() -> None:
    feed = stream(Blocks(128, 128), scale=(0.6, 1.6), crop=(128, 128))
    agreement = []
    for number in range(8):
        item = feed[number]
        assert item.target is not None
        expected = torch.where(item.target == IGNORE, GREY, item.target * 20)
        agreement.append(float(((item.picture.long() - expected).abs().amax(0) <= 4).float().mean()))
    assert min(agreement) > 0.75


def test_qualities_are_whole_or_between_as_asked(shapes: Shapes) -> None:
    def drawn(trained: float, **more: object) -> list[float]:
        feed = stream(shapes(1), quality=QualitySpec.model_validate({"trained": trained, **more}))
        return [feed[number].quality for number in range(60)]

    assert {*drawn(1.0)} == {1.0, 2.0, 3.0, 4.0}
    between = drawn(0.0)
    assert all(1 <= quality <= 4 for quality in between) and len({*between}) == 60
    assert all(2 <= quality <= 3.5 for quality in drawn(0.5, range=(2, 3.5)))
    assert {*drawn(0.5, range=(2.5, 2.5))} == {2.5}


def test_colours_change_pictures_and_leave_classes() -> None:
    plain, coloured = stream(Blocks()), stream(Blocks(), colour=(0.5, 0.5, 0.5, 0.2))
    a, b = plain[0], coloured[0]
    assert a.target is not None and b.target is not None
    assert torch.equal(a.target, b.target) and not torch.equal(a.picture, b.picture)


def test_pictures_of_two_sizes_are_no_batch() -> None:
    small, large = stream(Blocks(32, 32))[0], stream(Blocks(64, 96))[0]
    with pytest.raises(InputError, match="sizes 32x32 and 64x96; give the feed a crop or a resize"):
        collate([small, large], core().kind("segmentation"))


def test_a_mixture_is_its_parts_one_after_the_other(shapes: Shapes) -> None:
    one, two = shapes(3), shapes(2, 80)
    feed = FeedSpec.model_validate(
        {"data": ["one", {"name": "two", "times": 2}], "batch": 1, "losses": [{"use": "training.rate"}]}
    )
    both = feed_data(feed, {"one": one, "two": two}, core(), "stages[0].feeds[0]")
    assert len(both) == 3 + 2 * 2 and both.labels == ("ground", "box", "disc")
    expected = [one[0], one[1], one[2], two[0], two[1], two[0], two[1]]
    assert all(torch.equal(both[n].picture, sample.picture) for n, sample in enumerate(expected))


def test_a_mixture_of_different_classes_is_refused_and_of_kinds_has_none(shapes: Shapes) -> None:
    with pytest.raises(SpecError, match=r"and test\.blocks of one feed differ in their classes"):
        Mixture([shapes(2), Blocks()], core())
    counted = Blocks()
    counted.ignore_index = None
    with pytest.raises(SpecError, match="differ in the value that counts nowhere"):
        Mixture([Blocks(), counted], core())
    with pytest.raises(SpecError, match="differ in the value that counts nowhere"):
        Mixture([Blocks(), Blocks(), counted], core())
    both = Mixture([Blocks(), Bare()], core())
    assert (both.of, both.kind, both.serves, both.labels, both.ignore_index) == (None, "pictures", (), (), None)
    assert both[0].target is None and both[5].target is None


def test_small_data_sets_are_decoded_once() -> None:
    class Counted(Blocks):
        reads = 0

        def __getitem__(self, number: int) -> Sample:
            self.reads += 1
            return super().__getitem__(number)

    data = Counted()
    bytes_all = 4 * (3 + 1) * 64 * 96
    assert in_memory(data, bytes_all - 1) is data
    data.reads = 0
    kept = in_memory(data, bytes_all)
    reads = data.reads
    assert [kept[n].key for n in (0, 1, 0, 1, 3)] == ["0", "1", "0", "1", "3"]
    assert data.reads == reads
    assert [sample.key for sample in InMemory(data, 2)] == ["0", "1"] and data.reads == reads + 2
    assert (len(kept), kept.kind, kept.labels, kept.ignore_index) == (4, "segmentation", tuple("abcdef"), IGNORE)
