"""What components are fed with: made-up pictures, side information and features, the same in every run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from icm_core.nests import Nest, map_tensors, rows
from icm_core.quality import Quality
from icm_core.types import Features, Level, SideInfo, SideInfoLayout

LAYOUT = SideInfoLayout((Level(16, 32), Level(8, 64)), 8)
"""Side information that adapters and enhancements are tried with unless a case gives another."""

SIZES = ((64, 64), (50, 70), (33, 129))
"""Heights and widths of the pictures; two of three are multiples of nothing."""

BATCH = 2

Parts = dict[str, Tensor]


@dataclass(frozen=True)
class Example:
    """A batch of whatever a contract's methods take; what a contract does not need is None.

    Attributes:
        size: height and width in pixels before padding.
        quality: the quality that is coded with.
        qualities: one real quality per picture, (B,), for training passes.
        pictures: (B, 3, H, W) in [0, 1].
        coarse: base reconstructions, same shape.
        side: side information of the pictures.
        features: what an adapter would deliver.
        target: what the head's loss takes, a nest.
        select: takes some pictures' targets out of `target`; the kind's own.
    """

    size: tuple[int, int]
    quality: Quality
    qualities: Tensor
    pictures: Tensor
    coarse: Tensor | None = None
    side: SideInfo | None = None
    features: Features | None = None
    target: Nest | None = None
    select: Callable[[Nest, Sequence[int]], Nest] = rows

    def each(self, change: Callable[[Tensor], Tensor]) -> Example:
        """The example with every tensor changed."""
        side, features = self.side, self.features
        return replace(
            self,
            qualities=change(self.qualities),
            pictures=change(self.pictures),
            coarse=None if self.coarse is None else change(self.coarse),
            side=None
            if side is None
            else SideInfo(
                tuple(map(change, side.levels)),
                side.size,
                {name: change(picture) for name, picture in side.pictures.items()},
            ),
            features=None
            if features is None
            else Features({name: change(value) for name, value in features.maps.items()}, features.size),
            target=map_tensors(change, self.target),
        )

    def one(self, index: int) -> Example:
        """The batch of a single picture."""
        target = None if self.target is None else self.select(self.target, [index])
        return replace(replace(self, target=None).each(lambda tensor: tensor[index : index + 1]), target=target)

    def to(self, device: str) -> Example:
        """The example on another device."""
        return self.each(lambda tensor: tensor.to(device))


def pictures(size: tuple[int, int], batch: int) -> Tensor:
    """Pictures (B, 3, H, W) in [0, 1], soft shapes with some grain; the b-th depends on b and the size alone."""
    made = []
    for index in range(batch):
        generator = torch.Generator().manual_seed(1000 * size[0] + size[1] + 7 * index)
        soft = torch.rand(1, 3, 5, 5, generator=generator)
        large = torch.nn.functional.interpolate(soft, size=size, mode="bicubic", align_corners=False)
        grain = torch.randn(1, 3, *size, generator=generator) * 0.03
        made.append((large + grain).clamp(0, 1))
    return torch.cat(made)


def noise(shape: tuple[int, ...], batch: int, seed: int) -> Tensor:
    """Normal values (B, *shape); the b-th row depends on b, shape and seed alone."""
    made = [torch.randn(shape, generator=torch.Generator().manual_seed(seed + index)) for index in range(batch)]
    return torch.stack(made)


def qualities(low: float, high: float, batch: int) -> tuple[Quality, Tensor]:
    """A quality in the middle of a range, and one per picture inside of it."""
    each = torch.tensor([low + (high - low) * ((index + 1) * 0.37 % 1.0) for index in range(batch)])
    return Quality.of((low + high) / 2), each


def side_information(layout: SideInfoLayout, size: tuple[int, int], batch: int) -> SideInfo:
    """Random side information of pictures of a size."""
    step = layout.alignment
    height, width = (-(-side // step) * step for side in size)
    levels = tuple(
        noise((level.channels, *level.at(height, width)), batch, 100 + index)
        for index, level in enumerate(layout.levels)
    )
    return SideInfo(levels, size)
