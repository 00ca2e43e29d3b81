"""The values that travel between codec, adapter, head and enhancement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

Kind = Literal["classification", "segmentation", "reconstruction", "regression"]
"""What a head predicts: (B, K) logits, (B, K, H, W) logits, a (B, 3, H, W) picture in [0, 1], or (B, K) real values
(counts, distances, scores) that the labels name."""


@dataclass(frozen=True)
class Level:
    """Channels and down-sampling factor of one tensor, known before any tensor exists."""

    channels: int
    stride: int


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
        return max(level.stride for level in self.levels)


@dataclass(frozen=True)
class SideInfo:
    """Decoded side information of a batch of pictures of one size.

    Attributes:
        levels: tensors (B, C, h, w), finest first.
        size: (height, width) in pixels of the pictures before padding.
    """

    levels: tuple[Tensor, ...]
    size: tuple[int, int]


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
class Prediction:
    """A head's answer for a batch of pictures.

    Attributes:
        kind: see `Kind`.
        output: (B, K) logits, (B, K, H, W) logits, (B, 3, H, W) pictures in [0, 1] or (B, K) values.
        labels: names of the K classes or values, in order; empty for pictures.
    """

    kind: Kind
    output: Tensor
    labels: tuple[str, ...] = field(default=())
