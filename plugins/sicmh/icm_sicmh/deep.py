"""The deep encoder: a correction of h1 that more layers find. It changes no decoder and no file format."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icm_sicmh.layers import conv

BACKBONE = "tf_efficientnet_lite0"
_MEAN, _STD = 127 / 255, 128 / 255  # what its ImageNet weights were trained with


class Block(nn.Module):
    """A residual block: depthwise 5x5, then two layers at each place, as ConvNeXt has them (Liu et al., 2022)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.norm = nn.GroupNorm(1, channels)
        self.widen = conv(channels, 2 * channels, 1)
        self.narrow = conv(2 * channels, channels, 1)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        found: Tensor = self.narrow(F.gelu(self.widen(self.norm(self.depthwise(x)))))
        return x + found


class DeepCorrection(nn.Module):
    """What the deep encoder adds to the fast encoder's h1, in quantisation steps.

    ::

        x -> EfficientNet-Lite0 to 1/16 -> with y -> 2 blocks -> 1/32 -> with h1 and its gain -> 4 blocks -> delta
        h1_deep = h1 + delta / gain

    A search (`icm_sicmh.search`) shows that better h1 exist for the same decoders than four convolutions find; it takes
    seconds a picture. These layers are trained on the search's objective for all pictures instead. They begin as no
    correction at all.

    Args:
        n: channels of y.
        h1: channels of h1.
        width: inner channels.
    """

    def __init__(self, n: int, h1: int, width: int) -> None:
        super().__init__()
        import timm  # slow to import

        trunk: Any = timm.create_model(
            BACKBONE, pretrained=False, features_only=True, feature_cls="getter", out_indices=(2, 3)
        )
        at_8, at_16 = trunk.feature_info.channels()
        self.trunk = trunk
        self.from_8 = conv(at_8, width // 2, 3, 2)
        self.mix_16 = conv(at_16 + width // 2 + n, width, 1)
        self.blocks_16 = nn.Sequential(Block(width), Block(width))
        self.down = conv(width, width, 3, 2)
        self.mix_32 = conv(width + 2 * h1, width, 1)
        self.blocks_32 = nn.Sequential(*(Block(width) for _ in range(4)))
        self.last = conv(width, h1, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, y: Tensor, h1: Tensor, gain: Tensor) -> Tensor:
        """The better h1.

        Args:
            x: padded pictures (B, 3, H, W) in [0, 1].
            y: (B, N, H/16, W/16).
            h1: of the fast encoder, (B, h1, H/32, W/32).
            gain: what h1 is multiplied by before rounding, (B, h1, 1, 1).

        Returns:
            (B, h1, H/32, W/32), float32.
        """
        fine, coarse = self.trunk((x - _MEAN) / _STD)  # at 1/8 and 1/16
        found = self.mix_16(torch.cat([coarse, F.relu(self.from_8(fine)), y.to(coarse.dtype)], 1))
        found = self.down(self.blocks_16(found))
        steps = h1 * gain
        # The gain says what a step is; the sine, where between two symbols a value lies.
        seen = torch.cat([steps, torch.sin(2 * torch.pi * steps)], 1).clamp(-32, 32)
        found = self.blocks_32(self.mix_32(torch.cat([found, seen.to(found.dtype)], 1)))
        delta: Tensor = self.last(found).float()
        return h1 + delta / gain
