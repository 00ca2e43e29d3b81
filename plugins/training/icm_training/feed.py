"""Batches of a feed: numbered, shuffled, augmented pictures that depend on the seed alone.

Picture number i of the stream is the same for any number of workers and devices, and whether or not a run was broken
off before: order, augmentation, quality and noise all follow from the seed and the number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from icm_core.errors import InputError
from icm_core.interfaces import DataSet, Sample
from icm_training.mixture import Mixture
from icm_training.recipe import AugmentSpec, FeedSpec, QualitySpec

GREY = 127


def seed_of(*parts: object) -> int:
    """A seed of 63 bits from numbers and names."""
    text = "\0".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


@dataclass(frozen=True)
class Item:
    """One picture, ready for a step.

    Attributes:
        picture: (3, H, W) uint8.
        target: see `Sample`, class maps as int64.
        quality: real.
        seed: of its noise.
        number: its number in the stream.
        view: identifies picture and augmentation where a feed has fixed views, else -1.
    """

    picture: Tensor
    target: Tensor | None
    quality: float
    seed: int
    number: int
    view: int


@dataclass  # not frozen: Fabric's mixed precision walks through what a step is given by setting fields of a copy
class RawBatch:
    """Items of one step on one device.

    Attributes:
        pictures: (B, 3, H, W) uint8.
        target: (B,), (B, H, W) or None.
        quality, seeds, numbers, views: B each; see `Item`. No tensors, which mixed precision would round.
    """

    pictures: Tensor
    target: Tensor | None
    quality: tuple[float, ...]
    seeds: tuple[int, ...]
    numbers: tuple[int, ...]
    views: tuple[int, ...]

    def pin_memory(self) -> RawBatch:
        """The batch in page-locked memory, from which a GPU copies while it computes."""
        target = None if self.target is None else self.target.pin_memory()
        return RawBatch(self.pictures.pin_memory(), target, self.quality, self.seeds, self.numbers, self.views)


def collate(items: Sequence[Item]) -> RawBatch:
    """Items of one size as a batch.

    Raises:
        InputError: the pictures differ in size, so that the feed needs a crop or a resize.
    """
    sizes = sorted({tuple(item.picture.shape[-2:]) for item in items})
    if len(sizes) > 1:
        first, last = (f"{h}x{w}" for h, w in (sizes[0], sizes[-1]))
        raise InputError(f"pictures of a batch have the sizes {first} and {last}; give the feed a crop or a resize")
    targets = [item.target for item in items]
    return RawBatch(
        torch.stack([item.picture for item in items]),
        None if any(t is None for t in targets) else torch.stack([t for t in targets if t is not None]),
        tuple(item.quality for item in items),
        tuple(item.seed for item in items),
        tuple(item.number for item in items),
        tuple(item.view for item in items),
    )


class Stream(Dataset[Item]):
    """The endless stream of a feed; item i belongs to epoch i // N, each of which holds every picture once.

    Args:
        data: what is drawn from.
        augment: what happens to each picture.
        quality: how qualities are drawn.
        bounds: lowest and highest quality of the codec.
        views: see `FeedSpec.views`.
        seed: of everything that is random.
    """

    def __init__(
        self,
        data: DataSet,
        augment: AugmentSpec,
        quality: QualitySpec,
        bounds: tuple[float, float],
        views: int | None,
        seed: int,
    ) -> None:
        self.data, self.augment, self.views, self.seed = data, augment, views, seed
        self.quality, self.range = quality, quality.range or bounds
        self._shuffled: tuple[int, Tensor] | None = None

    def _order(self, epoch: int) -> Tensor:
        if self._shuffled is None or self._shuffled[0] != epoch:
            generator = torch.Generator().manual_seed(seed_of(self.seed, "order", epoch))
            self._shuffled = (epoch, torch.randperm(len(self.data), generator=generator))
        return self._shuffled[1]

    def __len__(self) -> int:
        return 2**62

    def __getitem__(self, number: int) -> Item:
        epoch, position = divmod(number, len(self.data))
        picture = int(self._order(epoch)[position])
        view = -1 if self.views is None else picture * self.views + epoch % self.views
        # A fixed view is drawn from its own number, so that it comes out the same in every epoch.
        seed = seed_of(self.seed, "view", view) if view >= 0 else seed_of(self.seed, "item", number)
        sample = self.data[picture]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            low, high = self.range
            quality = low + (high - low) * float(torch.rand(()))
            if float(torch.rand(())) < self.quality.trained:
                quality = min(max(float(round(quality)), low), high)
            augmented, target = _augmented(sample, self.augment, self.data.ignore_index)
        return Item(augmented, target, quality, seed_of(self.seed, "noise", number), number, view)


def _augmented(sample: Sample, spec: AugmentSpec, ignore: int | None) -> tuple[Tensor, Tensor | None]:
    """The picture, and its class map moved alike; other targets stay."""
    target = sample.target
    things: list[Tensor] = [tv_tensors.Image(sample.picture)]
    if target is not None and target.ndim == 2:
        things.append(tv_tensors.Mask(target))
    for step in _transforms(spec, (sample.picture.shape[-2], sample.picture.shape[-1]), ignore, len(things) > 1):
        moved = step(*things)
        things = list(moved) if len(things) > 1 else [moved]
    if len(things) > 1:
        target = things[1].as_subclass(Tensor).long()
    return things[0].as_subclass(Tensor), target


def _transforms(spec: AugmentSpec, size: tuple[int, int], ignore: int | None, dense: bool) -> list[v2.Transform]:
    steps: list[v2.Transform] = []
    if spec.resize is not None:
        steps.append(v2.Resize(spec.resize, antialias=True))
    if spec.scale is not None:
        steps.append(v2.ScaleJitter(spec.resize or size, spec.scale, antialias=True))
    if spec.crop is not None and dense:
        fill = {tv_tensors.Image: GREY, tv_tensors.Mask: 0 if ignore is None else ignore}
        steps.append(v2.RandomCrop(spec.crop, pad_if_needed=True, fill=fill))
    elif spec.crop is not None:
        steps.append(v2.RandomCrop(spec.crop, pad_if_needed=True, padding_mode="edge"))
    if spec.flip:
        steps.append(v2.RandomHorizontalFlip())
    if spec.colour is not None:
        steps.append(v2.ColorJitter(*spec.colour))
    return steps


class Steps:
    """Numbers of the items that one of several devices takes at each step.

    Args:
        first: the first step.
        last: the step after the last.
        batch: pictures a step, over all devices.
        rank: which device, from 0.
        world: number of devices.
    """

    def __init__(self, first: int, last: int, batch: int, rank: int, world: int) -> None:
        self.first, self.last, self.batch, self.rank, self.world = first, last, batch, rank, world

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[list[int]]:
        own = self.batch // self.world
        for step in range(self.first, self.last):
            start = step * self.batch + self.rank * own
            yield list(range(start, start + own))


def batches(stream: Stream, steps: Steps, workers: int, pinned: bool) -> Iterator[RawBatch]:
    """The batches of some steps, read ahead by worker processes."""
    loader: DataLoader[Item] = DataLoader(
        stream,
        batch_sampler=steps,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pinned,
        multiprocessing_context="fork" if workers else None,
        prefetch_factor=4 if workers else None,
    )
    return iter(loader)


def mixture(feed: FeedSpec, data: dict[str, DataSet]) -> Mixture:
    """The data sets of a feed as one."""
    parts = []
    for source in feed.data:
        name, times = (source, 1) if isinstance(source, str) else (source.name, source.times)
        parts += [data[name]] * times
    return Mixture(parts)
