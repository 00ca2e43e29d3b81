"""Cases of task heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from icm_core.interfaces import TaskHead
from icm_core.testing.cases.base import BATCH, LAYOUT, ComponentCase, Example, Parts, noise, pictures, qualities
from icm_core.testing.failing import ConformanceError
from icm_core.types import Features, Level

USUAL: Mapping[str, Level] = {
    "image": Level(3, 1),
    "fused": Level(LAYOUT.width, 16),
    "h1": LAYOUT.levels[0],
    "h2": LAYOUT.levels[1],
}
"""Features that shipped adapters deliver; a head gets those that it requires."""


@dataclass(frozen=True)
class HeadCase(ComponentCase):
    """A task head.

    Args:
        features: the maps that it is built for; by default the usual ones among those that it requires.
        alignment: pictures are padded to multiples of this, as by a codec.
    """

    contract: ClassVar[type[Any]] = TaskHead

    features: Mapping[str, Level] | None = field(default=None, kw_only=True)
    alignment: int = field(default=LAYOUT.alignment, kw_only=True)

    @property
    def layout(self) -> dict[str, Level]:
        """The features of the head's adapter."""
        if self.features is not None:
            return dict(self.features)
        unusual = [name for name in self.cls.requires if name not in USUAL]
        if unusual:
            raise ConformanceError(
                f"{self.name} requires the features {unusual}, which no shipped adapter delivers. "
                "Give the case their channels and strides: HeadCase(..., features={name: Level(channels, stride)})."
            )
        return {name: USUAL[name] for name in self.cls.requires}

    def construct(self, params: Any) -> Any:
        """The head behind an adapter of the case's features."""
        return self.cls(params, self.layout)

    def example(self, component: Any, size: tuple[int, int], batch: int = BATCH) -> Example:
        """Random features, and a target for the loss."""
        height, width = (-(-side // self.alignment) * self.alignment for side in size)
        maps = {}
        for index, (name, level) in enumerate(self.layout.items()):
            shape = (height // level.stride, width // level.stride)
            picture = level == Level(3, 1)
            maps[name] = pictures(shape, batch) if picture else noise((level.channels, *shape), batch, 100 + index)
        quality, rows = qualities(1.0, 4.0, batch)
        example = Example(size, quality, rows, pictures(size, batch), features=Features(maps, size))
        return replace(example, target=self.target(component, example))

    def target(self, component: Any, example: Example) -> Tensor:
        """Something that the head's loss takes."""
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            training = component.training
            output = component.eval()(example.features)
            component.train(training)
        batch, kind = len(example.pictures), self.cls.kind
        if kind == "reconstruction":
            # Not the picture itself: a head that hands its input on would have no error, and an infinite PSNR.
            return 0.9 * example.pictures + 0.05
        if kind == "regression":
            return torch.rand(output.shape, generator=generator)
        classes = output.shape[1]
        shape = (batch,) if kind == "classification" else (batch, *example.size)
        return torch.randint(0, classes, shape, generator=generator)

    def run(self, component: Any, example: Example) -> Parts:
        """The output."""
        return {"output": component(example.features)}

    def shapes(self, component: Any, example: Example) -> dict[str, tuple[int | None, ...]]:
        """By kind: (B, K), (B, K, H, W) or (B, 3, H, W)."""
        batch, classes = len(example.pictures), len(component.labels) or None
        if self.cls.kind in ("classification", "regression"):
            return {"output": (batch, classes)}
        return {"output": (batch, 3 if self.cls.kind == "reconstruction" else classes, *example.size)}

    def objective(self, component: Any, example: Example) -> Tensor:
        """The head's own loss."""
        loss: Tensor = component.loss(component(example.features), example.target)
        return loss
