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
        gamma_root = torch.full((channels, channels), 0.01)
        gamma_root.diagonal().add_(0.31)
        self.gamma_root = nn.Parameter(gamma_root)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised x, same shape."""
        gamma = self.gamma_root.square()[:, :, None, None]
        norm = F.conv2d(x * x, gamma, self.beta_root.square() + 1e-6)  # square() would leave half precision
        if norm.requires_grad:
            return x * (norm.sqrt() if self.inverse else norm.rsqrt())
        # In place: of maps as large as these, getting the memory takes as long as the arithmetic.
        return (norm.sqrt_() if self.inverse else norm.rsqrt_()).mul_(x)


class LastUp(nn.ConvTranspose2d):
    """A transposed convolution 5x5, s2 to few channels, as a convolution 3x3 to four times as many, put apart.

    The sums are the same. A transposed convolution that ends in three channels takes twice as long on a CPU.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 5, 2, 2, output_padding=1)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, C, h, w) -> (B, outputs, 2h, 2w)."""
        if output_size is not None:
            return super().forward(x, output_size)
        # Row 2i + a of the output sees row i + d of the input through row a + 2 - 2d of the kernel, d = -1 ... 1.
        taps = F.pad(self.weight, (0, 1, 0, 1))
        phases = [taps[:, :, [a + 4, a + 2, a]][:, :, :, [b + 4, b + 2, b]] for a in (0, 1) for b in (0, 1)]
        weight = torch.stack(phases, 2).flatten(1, 2).transpose(0, 1)
        bias = None if self.bias is None else self.bias.repeat_interleave(4)
        return F.pixel_shuffle(F.conv2d(x, weight, bias, padding=1), 2)


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
