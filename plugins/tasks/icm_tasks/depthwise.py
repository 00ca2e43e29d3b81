"""Depthwise convolution with a stride, whose backward pass is a convolution too.

On a CPU PyTorch's own backward pass of it takes many times as long as the forward pass, and shows in the time of a step
of training, or of a search, through an EfficientNet. The forward pass stays PyTorch's, to the last bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight


def depthwise(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: tuple[int, int] = (0, 0)
) -> Tensor:
    """x (B, C, H, W) with weight (C, 1, k, l) -> (B, C, h, w)."""
    if torch.is_grad_enabled() and x.requires_grad and x.device.type == "cpu":
        found: Tensor = _Strided.apply(x, weight, bias, stride, padding)
        return found
    return F.conv2d(x, weight, bias, stride, padding, groups=len(weight))


class _Strided(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(x if weight.requires_grad else None, weight)
        ctx.given = x.shape, stride, padding
        return F.conv2d(x, weight, bias, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        shape, stride, padding = ctx.given
        to_x = to_weight = to_bias = None  # PyTorch gives them the types of the inputs
        if ctx.needs_input_grad[0]:
            to_x = _to_input(gradient, weight.to(gradient.dtype), shape, stride, padding)
        if ctx.needs_input_grad[1]:
            given = (x.to(gradient.dtype), weight.shape, gradient, stride, padding)
            to_weight = conv2d_weight(*given, groups=len(weight))  # type: ignore[no-untyped-call]
        if ctx.needs_input_grad[2]:
            to_bias = gradient.float().sum((0, 2, 3))
        return to_x, to_weight, to_bias, None, None


def _to_input(
    gradient: Tensor, weight: Tensor, shape: torch.Size, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """The gradient of the input: between the output's values stand zeros, and the kernel is turned around."""
    kernel = weight.shape[-2:]
    size = [side + 2 * pad + length - 1 for side, pad, length in zip(shape[-2:], padding, kernel, strict=True)]
    spread = gradient.new_zeros(*shape[:2], *size).contiguous(memory_format=torch.channels_last)
    (top, left), (down, right) = (length - 1 for length in kernel), stride
    spread[:, :, top::down, left::right][:, :, : gradient.shape[2], : gradient.shape[3]] = gradient
    found = F.conv2d(spread, weight.flip(2, 3), groups=len(weight))
    return found[:, :, padding[0] : padding[0] + shape[2], padding[1] : padding[1] + shape[3]]
