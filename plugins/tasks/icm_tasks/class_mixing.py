"""Multiply features by each class's map and mix the class blocks, never holding all blocks at once."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.autocast_mode import is_autocast_available
from torch.autograd.function import once_differentiable


def _mix(features: Tensor, scores: Tensor, weight: Tensor) -> Tensor:
    """Rows: features (P, C), scores (P, K), weight (K, D, C) -> (P, D)."""
    mixed = features.new_zeros(features.shape[0], weight.shape[1])
    for block, score in zip(weight, scores.unbind(1), strict=True):
        mixed.addmm_(features * score[:, None], block.T)
    return mixed


class _Mix(torch.autograd.Function):
    """`_mix` with a hand-written backward pass.

    Autograd would keep one (P, C) product per class for the backward pass: the large tensor again, in pieces.
    Everything the gradients need follows from the inputs and one matrix product per class and side, so only the
    inputs are kept, and nothing is computed twice as it would be under checkpointing.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, scores: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(features, scores, weight)
        return _mix(features, scores, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features, scores, weight = ctx.saved_tensors
        to_features = torch.zeros_like(features)
        to_scores = torch.empty_like(scores)
        to_weight = torch.empty_like(weight)
        for k, block in enumerate(weight):
            score = scores[:, k, None]
            back = gradient @ block
            to_features.addcmul_(back, score)
            to_scores[:, k] = (back * features).sum(1)
            torch.mm(gradient.T, features * score, out=to_weight[k])
        return to_features, to_scores, to_weight


class ClassMixing(nn.Module):
    """SICMH Fig. 8: each class's map times all of f3D gives K class blocks, which a pointwise convolution mixes.

    Equal to repeating the maps C times, multiplying, and a 1x1 convolution from K * C to C channels without bias
    (class k owns the input channels k * C ... (k + 1) * C - 1), at C instead of K * C channels of memory.

    Args:
        classes: number K of classes.
        channels: channels C of the features.

    Attributes:
        weight: of the pointwise convolution, (C, K * C, 1, 1).
    """

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.classes = classes
        self.weight = nn.Parameter(torch.empty(channels, classes * channels, 1, 1))
        # A pixel's scores sum to 1, so about C of the K * C inputs carry signal: that is the fan-in that counts.
        nn.init.normal_(self.weight, std=math.sqrt(1 / channels))

    def forward(self, features: Tensor, scores: Tensor) -> Tensor:
        """Mixed features (B, C, h, w).

        Args:
            features: f3D, (B, C, h, w).
            scores: the class maps S, (B, K, h, w).
        """
        batch, channels, height, width = features.shape
        # Own autograd functions are outside autocast's reach, so its type is applied here.
        device = features.device.type
        autocast = is_autocast_available(device) and torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if autocast else self.weight.dtype
        rows = features.permute(0, 2, 3, 1).reshape(-1, channels).to(dtype)
        shares = scores.permute(0, 2, 3, 1).reshape(-1, self.classes).to(dtype)
        blocks = self.weight.view(channels, self.classes, channels).transpose(0, 1).to(dtype)
        mixed: Tensor = _Mix.apply(rows, shares, blocks) if torch.is_grad_enabled() else _mix(rows, shares, blocks)
        return mixed.view(batch, height, width, channels).permute(0, 3, 1, 2)
