"""Cases of enhancements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from icm_core.interfaces import Enhancement
from icm_core.testing.cases.coding import CodingCase
from icm_core.testing.cases.examples import (
    BATCH,
    LAYOUT,
    Example,
    Parts,
    pictures,
    qualities,
    side_information,
)
from icm_core.types import SideInfoLayout


@dataclass(frozen=True)
class EnhancementCase(CodingCase):
    """An enhancement.

    Args:
        layout: side information that it is built for.
    """

    contract: ClassVar[type[Any]] = Enhancement

    layout: SideInfoLayout = field(default=LAYOUT, kw_only=True)

    def construct(self, params: Any) -> Any:
        """The enhancement for the case's layout."""
        return self.cls(params, self.layout)

    def example(self, component: Any, size: tuple[int, int], batch: int = BATCH) -> Example:
        """Pictures, blurred pictures that stand for the base reconstruction, and random side information."""
        low, high = component.quality_range or (1.0, 4.0)
        quality, rows = qualities(low, high, batch)
        x = pictures(size, batch)
        coarse = functional.avg_pool2d(functional.pad(x, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
        return Example(size, quality, rows, x, coarse, side_information(self.layout, size, batch))

    def run(self, component: Any, example: Example) -> Parts:
        """Refined pictures and estimated bits."""
        refined, bits = component(example.pictures, example.coarse, example.side, example.qualities)
        return {"refined pictures": refined, "bits": bits}

    def shapes(self, component: Any, example: Example) -> dict[str, tuple[int | None, ...]]:  # noqa: ARG002
        """The pictures' own shape, one number of bits per picture."""
        return {"refined pictures": tuple(example.pictures.shape), "bits": (len(example.pictures),)}

    def objective(self, component: Any, example: Example) -> Tensor:
        """Squared error and bits."""
        refined, bits = component(example.pictures, example.coarse, example.side, example.qualities)
        total: Tensor = (refined - example.pictures).square().sum() + bits.sum()
        return total

    def encode(self, component: Any, example: Example) -> list[bytes]:
        """One payload a picture."""
        return list(component.encode(example.pictures, example.coarse, example.side, example.quality))

    def decode(self, component: Any, payloads: Sequence[bytes], example: Example) -> Parts:
        """Refined pictures from payloads."""
        return {"refined pictures": component.decode(list(payloads), example.coarse, example.side, example.quality)}

    def reference(self, component: Any, example: Example) -> tuple[Parts, Tensor]:
        """Refined pictures of the training pass in eval mode, and the estimated bits."""
        rows = torch.full_like(example.qualities, example.quality.value)
        refined, bits = component(example.pictures, example.coarse, example.side, rows)
        return {"refined pictures": refined.clamp(0, 1)}, bits
