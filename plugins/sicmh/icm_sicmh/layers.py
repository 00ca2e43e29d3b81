"""Small layers that the networks are made of."""

from __future__ import annotations

import math
from typing import ClassVar, overload

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icm_core.tiles import Field, Map


class GDN(nn.Module):
    """Generalized divisive normalisation, y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j^2) (Ballé et al., 2016).

    CompressAI's layer keeps helper buffers that vanish in half precision and do not exist on the ``meta``
    device; here beta and gamma are squares of the stored parameters, which needs neither.

    Args:
        channels: C of the (B, C, H, W) input.
        inverse: if True, multiplies instead (IGDN).
    """

    pointwise: ClassVar[bool] = True  # each place by itself (`icm_core.tiles`)

    def __init__(self, channels: int, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta_root = nn.Parameter(torch.ones(channels))
        # A small floor off the diagonal: the gradient of a square is zero at zero.
        self.gamma_root = nn.Parameter(torch.full((channels, channels), 0.01) + torch.eye(channels) * 0.31)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised x, same shape."""
        gamma = self.gamma_root.square()[:, :, None, None]
        norm = F.conv2d(x.square(), gamma, self.beta_root.square() + 1e-6)
        return x * (norm.sqrt() if self.inverse else norm.rsqrt())


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Conv k, s with "same" padding."""
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)


def tconv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.ConvTranspose2d:
    """Transposed conv k, s that multiplies the size by exactly s."""
    return nn.ConvTranspose2d(inputs, outputs, kernel, stride, kernel // 2, output_padding=stride - 1)


def started(network: nn.Sequential, last: float = 1.0) -> nn.Sequential:
    """The network with weights that keep the variance of its input from layer to layer.

    PyTorch's own start shrinks it by a factor of 3 in a convolution and 12 in a transposed one with stride 2; the
    dozen layers between a picture and its reconstruction then hardly begin to learn.

    Args:
        network: convolutions and activations, in order.
        last: shrinks the last layer's weights; 0.1 lets a picture begin near its bias instead of far from anything.
    """
    layers = list(network)
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            inputs = float(layer.in_channels * layer.kernel_size[0] ** 2)
            if isinstance(layer, nn.ConvTranspose2d):
                inputs /= layer.stride[0] ** 2  # each output sees so many of the kernel's taps
            halved = isinstance(following, (nn.ReLU, nn.LeakyReLU))
            nn.init.normal_(
                layer.weight, std=math.sqrt((2 if halved else 1) / inputs) * (last if following is None else 1)
            )
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


class _RoundSTE(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:  # noqa: ARG004
        return x.round()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # noqa: ARG004
        return gradient


def round_ste(x: Tensor) -> Tensor:
    """x rounded; the gradient passes straight through."""
    rounded: Tensor = _RoundSTE.apply(x)
    return rounded


@overload
def pad_to(x: Tensor, multiple: int) -> Tensor: ...


@overload
def pad_to(x: Map, multiple: int) -> Map: ...


def pad_to(x: Map, multiple: int) -> Map:
    """Pictures (B, 3, H, W) continued to the right and below by their edge, to multiples of ``multiple``."""
    height, width = x.shape[-2:]
    if isinstance(x, Field):
        return x.continued(height + -height % multiple, width + -width % multiple)
    return F.pad(x, (0, -width % multiple, 0, -height % multiple), mode="replicate")
