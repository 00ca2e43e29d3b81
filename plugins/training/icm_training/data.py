"""Training pictures, held in memory as 8-bit tensors, with seeded augmentation.

The folder given by the user holds ``camvid``, ``imagenette224`` and ``bsds500`` as `docs/training.md`
describes them. A sample depends only on the seed and its number, not on the number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tvf

from icm_core.errors import InputError
from icm_core.images import open_picture

Sample = tuple[Tensor, Tensor]
"""A picture (3, H, W) uint8 and its target: a class map (H, W), a class, or nothing (empty)."""


def _pictures(folder: Path) -> list[Path]:
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})
    if not files:
        raise InputError(f"no pictures found in '{folder}'; expected .jpg, .png or .webp files")
    return files


def _read(path: Path) -> Tensor:
    picture: Tensor = tvf.pil_to_tensor(open_picture(path))
    return picture


def camvid(root: Path, split: str) -> list[Sample]:
    """CamVid pictures with class maps (classes 0-10, 11 = ignore)."""
    samples = []
    for path in _pictures(root / "camvid" / split):
        with Image.open(root / "camvid" / f"{split}annot" / f"{path.stem}.png") as annotation:
            samples.append((_read(path), tvf.pil_to_tensor(annotation)[0]))
    return samples


def imagenette(root: Path, split: str, synsets: tuple[str, ...]) -> list[Sample]:
    """Imagenette pictures with their ImageNet class; folders are named by synset."""
    number = {synset: i for i, synset in enumerate(synsets)}
    return [(_read(p), torch.tensor(number[p.parent.name])) for p in _pictures(root / "imagenette224" / split)]


def pictures(folder: Path) -> list[Sample]:
    """Pictures without targets."""
    return [(_read(path), torch.empty(0)) for path in _pictures(folder)]


def crop_with_labels(size: tuple[int, int], scale: tuple[float, float], ignore: int) -> Callable[[Sample], Sample]:
    """Random scale, crop, flip and colour for a picture and its class map, both to ``size``."""
    transform = v2.Compose(
        [
            v2.ScaleJitter(size, scale, antialias=True),
            v2.RandomCrop(size, pad_if_needed=True, fill={tv_tensors.Image: 127, tv_tensors.Mask: ignore}),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.3, 0.3, 0.3, 0.03),
        ]
    )

    def apply(sample: Sample) -> Sample:
        picture, labels = transform(tv_tensors.Image(sample[0]), tv_tensors.Mask(sample[1]))
        return picture.as_subclass(Tensor), labels.as_subclass(Tensor).long()

    return apply


def crop(size: int) -> Callable[[Sample], Sample]:
    """Random crop and flip to ``size`` x ``size``; smaller pictures are continued by their edge."""
    transform = v2.Compose([v2.RandomCrop(size, pad_if_needed=True, padding_mode="edge"), v2.RandomHorizontalFlip()])
    return lambda sample: (transform(sample[0]), sample[1])


def flip() -> Callable[[Sample], Sample]:
    """Random horizontal flip of a whole picture."""
    transform = v2.RandomHorizontalFlip()
    return lambda sample: (transform(sample[0]), sample[1])


class Endless(Dataset[Sample]):
    """Sample number i of an endless, shuffled, augmented stream."""

    def __init__(self, samples: list[Sample], augment: Callable[[Sample], Sample], seed: int) -> None:
        self.samples, self.augment, self.seed = samples, augment, seed

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, i: int) -> Sample:
        epoch, position = divmod(i, len(self.samples))
        order = torch.randperm(len(self.samples), generator=torch.Generator().manual_seed(self.seed * 10007 + epoch))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 1_000_003 + i)
            picture, target = self.augment(self.samples[int(order[position])])
        return picture.float() / 255, target


@dataclass(frozen=True)
class Stream:
    """A source of batches.

    Attributes:
        samples: pictures and targets, in memory.
        augment: applied to each sample, with a seed of its own.
        seed: of order and augmentation.
    """

    samples: list[Sample]
    augment: Callable[[Sample], Sample]
    seed: int

    def batches(self, size: int) -> Iterator[Sample]:
        """Batches for ever: pictures (B, 3, H, W) in [0, 1], channels last, and their targets."""
        data = Endless(self.samples, self.augment, self.seed)
        for picture, target in DataLoader(data, batch_size=size, sampler=range(len(data)), num_workers=1):
            yield picture.contiguous(memory_format=torch.channels_last), target
