"""Batches of a feed: numbered, shuffled, augmented pictures that depend on the seed alone.

Picture number i of the stream is the same for any number of workers and devices, and whether or not a run was broken
off before: order, augmentation, quality and noise all follow from the seed and the number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from icm_core.errors import InputError
from icm_core.interfaces import Sample, TaskKind
from icm_core.nests import Nest, map_tensors, paths
from icm_core.types import Legend
from icm_training.mixture import Mixture
from icm_training.recipe import AugmentSpec, QualitySpec

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
        target: see `Sample`, moved with the picture, as the kind's ``unwrap`` gives it.
        quality: real.
        seed: of its noise.
        number: its number in the stream.
        view: identifies picture and augmentation where a feed has fixed views, else -1.
    """

    picture: Tensor
    target: Nest | None
    quality: float
    seed: int
    number: int
    view: int


class RawBatch:
    """Items of one step on one device.

    No dataclass and no tuple: Fabric's mixed precision walks into those, and would round the targets' real numbers to
    bfloat16, boxes and depths among them.

    Args:
        pictures: (B, 3, H, W) uint8.
        target: what the kind collates of the items' targets, or None.
        quality, seeds, numbers, views: B each; see `Item`.
    """

    def __init__(
        self,
        pictures: Tensor,
        target: Nest | None,
        quality: tuple[float, ...],
        seeds: tuple[int, ...],
        numbers: tuple[int, ...],
        views: tuple[int, ...],
    ) -> None:
        self.pictures, self.target = pictures, target
        self.quality, self.seeds, self.numbers, self.views = quality, seeds, numbers, views

    def pin_memory(self) -> RawBatch:
        """The batch in page-locked memory, from which a GPU copies while it computes."""
        return self._each(Tensor.pin_memory)

    def to(self, device: torch.device) -> RawBatch:
        """The batch on a device, copied while the device may still compute."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def _each(self, change: Callable[[Tensor], Tensor]) -> RawBatch:
        target = map_tensors(change, self.target)
        return RawBatch(change(self.pictures), target, self.quality, self.seeds, self.numbers, self.views)


def collate(items: Sequence[Item], kind: TaskKind | None) -> RawBatch:
    """Items of one size as a batch.

    Args:
        items: the items.
        kind: of their targets, None where they have none.

    Raises:
        InputError: the pictures differ in size, so that the feed needs a crop or a resize; or the targets cannot be
            stacked, and the message says why.
    """
    sizes = sorted({tuple(item.picture.shape[-2:]) for item in items})
    if len(sizes) > 1:
        first, last = (f"{h}x{w}" for h, w in (sizes[0], sizes[-1]))
        raise InputError(f"pictures of a batch have the sizes {first} and {last}; give the feed a crop or a resize")
    target = None
    if kind is not None:
        try:
            target = kind.collate([item.target for item in items])
        except ValueError as error:
            raise InputError(f"targets of kind {kind.name} are no batch: {error}") from error
    return RawBatch(
        torch.stack([item.picture for item in items]),
        target,
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
        data: Mixture,
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
            augmented, target = moved(sample, self.data.kind_at(picture), self.augment, self.data.legend)
        return Item(augmented, target, quality, seed_of(self.seed, "noise", number), number, view)


def moved(sample: Sample, kind: TaskKind | None, spec: AugmentSpec, legend: Legend) -> tuple[Tensor, Nest | None]:
    """The augmented picture, and its target moved alike as far as it has a place in the picture.

    Args:
        sample: picture and target.
        kind: of the target, None where there is none.
        spec: what happens to them.
        legend: the data set's.

    Raises:
        InputError: the target is missing or no target of the kind.
    """
    size = (sample.picture.shape[-2], sample.picture.shape[-1])
    if kind is None:
        picture, _ = _augmented(sample.picture, None, spec, size, None)
        return picture, None
    if sample.target is None:
        raise InputError(f"{sample.key} has no target, though its data set has some")
    try:
        wrapped = kind.wrap(sample.target, size)
        placed = _placed(wrapped, size)
        picture, target = _augmented(sample.picture, wrapped, spec, size, kind.fill(legend) if placed else None)
        return picture, kind.unwrap(target, (picture.shape[-2], picture.shape[-1]), legend)
    except ValueError as error:
        raise InputError(f"the target of {sample.key} cannot be augmented: {error}") from error


def _placed(wrapped: Nest, size: tuple[int, int]) -> bool:
    """Whether anything has a place in the picture; `ValueError` where that is one of another size."""
    found = {path: tensor for path, tensor in paths(wrapped).items() if isinstance(tensor, tv_tensors.TVTensor)}
    for path, tensor in found.items():
        height, width = v2.functional.get_size(tensor)
        if (height, width) != size:
            raise ValueError(f"{path or 'it'} is of {height}x{width} pixels, the picture of {size[0]}x{size[1]}")
    return bool(found)


def _augmented(
    picture: Tensor, target: Nest, spec: AugmentSpec, size: tuple[int, int], fill: float | None
) -> tuple[Tensor, Nest]:
    """Both through the same transforms, which draw from PyTorch's global generator."""
    both: tuple[Tensor, Nest] = (tv_tensors.Image(picture), target)
    for step in _transforms(spec, size, fill):
        both = step(*both)
    return both[0].as_subclass(Tensor), both[1]


def _transforms(spec: AugmentSpec, size: tuple[int, int], fill: float | None) -> list[v2.Transform]:
    """The transforms of a picture whose target has masks filled with ``fill``, or nothing placed in it (None)."""
    steps: list[v2.Transform] = []
    if spec.resize is not None:
        steps.append(v2.Resize(spec.resize, antialias=True))
    if spec.scale is not None:
        steps.append(v2.ScaleJitter(spec.resize or size, spec.scale, antialias=True))
    if spec.crop is not None and fill is not None:
        # Boxes and points are not filled, but torchvision asks for a value of every type.
        fills: dict[type | str, float] = {tv_tensors.Image: GREY, tv_tensors.Mask: fill, "others": 0}
        steps.append(v2.RandomCrop(spec.crop, pad_if_needed=True, fill=fills))
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
        collate_fn=partial(collate, kind=stream.data.of),
        pin_memory=pinned,
        multiprocessing_context="fork" if workers else None,
        prefetch_factor=4 if workers else None,
    )
    return _said(iter(loader))


def _said(found: Iterator[RawBatch]) -> Iterator[RawBatch]:
    """The batches; an error comes out of a worker process with its traceback as text, of which the sentence is left."""
    try:
        yield from found
    except InputError as error:
        raise InputError(str(error).strip().rpartition(f"{InputError.__name__}: ")[2]) from None
