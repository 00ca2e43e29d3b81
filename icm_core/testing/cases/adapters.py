"""Cases of adapters."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from torch import Tensor

from icm_core.interfaces import SideInfoAdapter
from icm_core.testing.cases.components import ComponentCase
from icm_core.testing.cases.examples import (
    BATCH,
    LAYOUT,
    Example,
    Parts,
    noise,
    pictures,
    qualities,
    side_information,
)
from icm_core.types import SideInfoLayout


@dataclass(frozen=True)
class AdapterCase(ComponentCase):
    """An adapter.

    Args:
        layout: side information that it is built for.
    """

    contract: ClassVar[type[Any]] = SideInfoAdapter

    layout: SideInfoLayout = field(default=LAYOUT, kw_only=True)

    def construct(self, params: Any) -> Any:
        """The adapter for the case's layout."""
        return self.cls(params, self.layout)

    def example(self, component: Any, size: tuple[int, int], batch: int = BATCH) -> Example:
        """Random side information, and the pictures that the adapter reads beside it."""
        quality, rows = qualities(1.0, 4.0, batch)
        x = pictures(size, batch)
        side = replace(side_information(self.layout, size, batch), pictures=dict.fromkeys(component.needs, x))
        return Example(size, quality, rows, x, side=side)

    def run(self, component: Any, example: Example) -> Parts:
        """The maps."""
        return dict(component(example.side).maps)

    def shapes(self, component: Any, example: Example) -> dict[str, tuple[int | None, ...]]:
        """What `features` announces, at the padded size; maps that are decoded pictures may be without the padding."""
        step = self.layout.alignment
        height, width = (-(-side // step) * step for side in example.size)
        return {
            name: (len(example.pictures), level.channels, None, None)
            if component.needs and level.stride == 1
            else (len(example.pictures), level.channels, *level.at(height, width))
            for name, level in component.features.items()
        }

    def objective(self, component: Any, example: Example) -> Tensor:
        """The maps, each value with a weight of its own."""
        maps = component(example.side).maps
        terms = [
            (value * noise(tuple(value.shape[1:]), len(value), 7).to(value.device)).sum() for value in maps.values()
        ]
        total: Tensor = sum(terms[1:], start=terms[0])
        return total
