"""The values that travel between codec, adapter, head and enhancement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from torch import Tensor

from icm_core.nests import Nest

__all__ = [
    "CodecOutput",
    "Colour",
    "FeatureLayout",
    "Features",
    "Legend",
    "Level",
    "Prediction",
    "SideInfo",
    "SideInfoLayout",
]

Colour: TypeAlias = tuple[int, int, int]
"""Red, green and blue, 0 to 255 each."""


@dataclass(frozen=True)
class Level:
    """Channels and down-sampling factor of one tensor, known before any tensor exists.

    Attributes:
        channels: number of channels.
        stride: pixels of the picture to a position, down and across; 0: the tensor has one position for the whole
            picture, (B, C, 1, 1), such as an answer that travels in a file.
    """

    channels: int
    stride: int

    def at(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the tensor for a padded picture of a height and width."""
        return (height // self.stride, width // self.stride) if self.stride else (1, 1)


@dataclass(frozen=True)
class SideInfoLayout:
    """What a codec's side information looks like: one `Level` per tensor, finest first.

    Attributes:
        levels: the levels in the order of `SideInfo.levels` (SICMH: h1 at 1/32, h2 at 1/64).
        width: the codec's width N, which adapters use for their inner layers.
    """

    levels: tuple[Level, ...]
    width: int

    @property
    def alignment(self) -> int:
        """Pictures are padded to a multiple of this many pixels."""
        return max(1, *(level.stride for level in self.levels))


@dataclass(frozen=True)
class SideInfo:
    """Decoded side information of a batch of pictures of one size.

    Attributes:
        levels: tensors (B, C, h, w), finest first.
        size: (height, width) in pixels of the pictures before padding.
        pictures: decoded pictures (B, 3, H, W) in [0, 1] that an adapter reads (`SideInfoAdapter.needs`), by name.
    """

    levels: tuple[Tensor, ...]
    size: tuple[int, int]
    pictures: Mapping[str, Tensor] = field(default_factory=dict)


FeatureLayout = Mapping[str, Level]
"""Name of each feature map that an adapter produces, with its channels and stride."""


@dataclass(frozen=True)
class Features:
    """What an adapter hands to a head.

    Attributes:
        maps: named tensors (B, C, h, w) at the padded size divided by their stride.
        size: (height, width) of the pictures before padding.
    """

    maps: Mapping[str, Tensor]
    size: tuple[int, int]

    def cropped(self, name: str) -> Tensor:
        """The full-resolution map ``name`` without the padding: (B, C, height, width)."""
        return self.maps[name][..., : self.size[0], : self.size[1]]


@dataclass(frozen=True)
class CodecOutput:
    """What a codec returns in training: side information and a differentiable rate.

    Attributes:
        side: quantised side information; gradients pass straight through the rounding.
        bits: estimated bits of each picture, per stream: name -> (B,).
    """

    side: SideInfo
    bits: Mapping[str, Tensor]

    @property
    def total_bits(self) -> Tensor:
        """R_side: bits of all streams together, (B,)."""
        return sum(self.bits.values(), start=next(iter(self.bits.values())) * 0)


@dataclass(frozen=True)
class Legend:
    """What the numbers in targets and answers mean, as the legend of a map tells what its signs mean.

    Attributes:
        labels: names of the classes or values, in order; empty where there are none or they are not known.
        aliases: further lists of names for the same classes, such as ImageNet's folder names.
        colours: a colour for each label; empty for colours that are made up.
        unit: of values, such as ``"m"``; empty where they have none.
        ignore: the value in targets that counts nowhere, None where everything counts.
    """

    labels: tuple[str, ...] = ()
    aliases: tuple[tuple[str, ...], ...] = ()
    colours: tuple[Colour, ...] = ()
    unit: str = ""
    ignore: float | None = None

    def label(self, index: int) -> str:
        """The name of a class or value; its number where it has none."""
        return self.labels[index] if 0 <= index < len(self.labels) else str(index)


@dataclass(frozen=True)
class Prediction:
    """A head's answer for a batch of pictures. A head may answer with a subclass that tells more.

    Attributes:
        kind: name of the registered kind that says what the output is, such as ``"segmentation"``.
        output: a nest of tensors as the kind has it, such as (B, K) logits, or a list of B dicts of boxes.
        labels: names of the classes or values, in order; empty where there are none.
        colours: a colour for each label; empty for colours that are made up.
        unit: of values, such as ``"m"``.
    """

    kind: str
    output: Nest
    labels: tuple[str, ...] = field(default=())
    colours: tuple[Colour, ...] = field(default=())
    unit: str = ""

    @property
    def legend(self) -> Legend:
        """Labels, colours and unit together."""
        return Legend(self.labels, (), self.colours, self.unit)


def __getattr__(name: str) -> object:
    if name == "Kind":
        raise ImportError(
            "icm_core.types.Kind belongs to interface 1 of icm, where four kinds were possible; a kind is a string "
            "that names a registered kind now: kind: ClassVar[str] = 'segmentation' (docs/extending.md, From 1 to 2)"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
