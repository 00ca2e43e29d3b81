"""Data set `Shapes`: drawn pictures with class maps, for trying a recipe where there are no photographs."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from pydantic import Field

from icm_core.interfaces import ComponentParams, DataSet, Sample

LABELS = ("ground", "box", "disc")


class Shapes(DataSet):
    """Boxes and discs on a shaded ground, each picture drawn from its number; it reads no file."""

    name: ClassVar[str] = "training.shapes"
    kind: ClassVar[str] = "segmentation"

    class Params(ComponentParams):
        """Number and size of the pictures."""

        count: int = Field(32, ge=1, le=1_000_000, description="number of pictures")
        size: int = Field(64, ge=16, le=2048, description="height and width in pixels")

    params: Params

    def __init__(self, params: Params, root: Path, split: str) -> None:
        super().__init__(params, root, split)

    @property
    def labels(self) -> tuple[str, ...]:
        """Ground, box, disc."""
        return LABELS

    def __len__(self) -> int:
        return self.params.count

    def __getitem__(self, number: int) -> Sample:
        size = self.params.size
        generator = torch.Generator().manual_seed(number)

        def draw(*shape: int) -> torch.Tensor:
            return torch.rand(shape, generator=generator)

        down, across = torch.meshgrid(torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij")
        slope = draw(3, 2) - 0.5
        picture = 0.5 + slope[:, :1, None] * down + slope[:, 1:, None] * across
        target = torch.zeros(size, size, dtype=torch.uint8)
        for _ in range(3):
            kind = 1 + int(float(draw()) > 0.5)
            middle, half = draw(2), 0.1 + 0.2 * draw(2)
            off = torch.stack([(down - middle[0]) / half[0], (across - middle[1]) / half[1]])
            inside = off.abs().amax(0) < 1 if kind == 1 else off.square().sum(0) < 1
            picture = torch.where(inside, draw(3, 1, 1).expand(3, size, size), picture)
            target[inside] = kind
        return Sample(f"shapes/{number:06d}", (picture.clamp(0, 1) * 255).round().to(torch.uint8), target)
