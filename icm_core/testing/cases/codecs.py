"""Cases of codecs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Tensor
from torch.nn import functional

from icm_core.interfaces import Codec
from icm_core.testing.cases.coding import CodingCase
from icm_core.testing.cases.examples import BATCH, Example, Parts, pictures, qualities
from icm_core.types import SideInfo


@dataclass(frozen=True)
class CodecCase(CodingCase):
    """A codec. `Codec.forward` is tried at sizes rounded up to its alignment, `Codec.encode` at the sizes as given."""

    contract: ClassVar[type[Any]] = Codec

    def construct(self, params: Any) -> Any:
        """The codec."""
        return self.cls(params)

    def example(self, component: Any, size: tuple[int, int], batch: int = BATCH) -> Example:
        """Pictures with qualities of the codec's range."""
        low, high = component.quality_range
        quality, rows = qualities(low, high, batch)
        return Example(size, quality, rows, pictures(size, batch))

    def aligned(self, component: Any, example: Example) -> Example:
        """The example at a size that `forward` takes."""
        step = component.layout.alignment
        height, width = example.size
        padding = (0, -width % step, 0, -height % step)
        if not any(padding):
            return example
        larger = functional.pad(example.pictures, padding, mode="replicate")
        return replace(example, size=(larger.shape[-2], larger.shape[-1]), pictures=larger)

    def run(self, component: Any, example: Example) -> Parts:
        """Side information and bits of the training pass."""
        example = self.aligned(component, example)
        out = component(example.pictures, example.qualities)
        return {**levels(out.side), **{f"bits[{name!r}]": bits for name, bits in out.bits.items()}}

    def shapes(self, component: Any, example: Example) -> dict[str, tuple[int | None, ...]]:
        """Levels as the layout says, one number of bits per picture."""
        example = self.aligned(component, example)
        batch, (height, width) = len(example.pictures), example.size
        found: dict[str, tuple[int | None, ...]] = {
            f"side.levels[{index}]": (batch, level.channels, *level.at(height, width))
            for index, level in enumerate(component.layout.levels)
        }
        bits = component(example.pictures[:1], example.qualities[:1]).bits  # for the names
        return {**found, **{f"bits[{name!r}]": (batch,) for name in bits}}

    def objective(self, component: Any, example: Example) -> Tensor:
        """Bits, and the energy of the side information."""
        example = self.aligned(component, example)
        out = component(example.pictures, example.qualities)
        energy = sum(level.square().sum() for level in out.side.levels)
        total: Tensor = out.total_bits.sum() + energy
        return total

    def encode(self, component: Any, example: Example) -> list[bytes]:
        """One payload a picture."""
        return list(component.encode(example.pictures, example.quality))

    def decode(self, component: Any, payloads: Sequence[bytes], example: Example) -> Parts:
        """Side information from payloads."""
        return levels(component.decode(list(payloads), example.size, example.quality))

    def reference(self, component: Any, example: Example) -> tuple[Parts, Tensor]:
        """Side information of the training pass in eval mode, and the estimated bits."""
        example = self.aligned(component, example)
        rows = example.qualities.new_full((len(example.pictures),), example.quality.value)
        out = component(example.pictures, rows)
        return levels(out.side), out.total_bits


def levels(side: SideInfo) -> Parts:
    """The tensors of side information by name."""
    return {f"side.levels[{index}]": level for index, level in enumerate(side.levels)}
