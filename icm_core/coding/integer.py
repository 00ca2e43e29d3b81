"""Convolution networks in exact integer arithmetic.

`IntegerNetwork` turns a trained ``nn.Sequential`` into one whose weights are 16-bit integers and whose
activations are fixed-point integers (`icm_core.coding.fixed`). It computes in float64, where sums of
integers below 2**53 are exact in any order, so every device, thread count and library gives the same
result. Each layer's largest possible sum is derived from its weights, and a layer that could leave the exact
range is refused.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icm_core.coding.fixed import FRACTION_BITS, LIMIT
from icm_core.errors import WeightsError
from icm_core.exactness import Bound

WEIGHT_BITS = 15
EXACT_SUM = 2.0**51  # float64 holds 53 bits; two are left for adding the rounding half before the shift
FLOAT64 = 2**53
MAX_SHIFT = 30
SLOPE_BITS = 16


@dataclass(frozen=True)
class _Conv:
    name: str
    weight: Tensor  # integers in float64, (out, in, k, k)
    bias: Tensor  # integers in float64 at the scale of the sum, (out, 1, 1)
    shift: int
    stride: int
    padding: int

    def __call__(self, x: Tensor) -> Tensor:
        # The round undoes what an FFT or Winograd algorithm might add; for direct sums it changes nothing.
        total = F.conv2d(x, self.weight, None, self.stride, self.padding).round() + self.bias
        return (total * 2.0**-self.shift + 0.5).floor().clamp(-LIMIT, LIMIT)

    def bound(self) -> Bound:
        # In Python's integers, which have no limit: the check does not lean on what it checks.
        rows = self.weight.abs().flatten(1).long().sum(1).tolist()
        offsets = self.bias.flatten().abs().long().tolist()
        largest = max(row * LIMIT + offset for row, offset in zip(rows, offsets, strict=True))
        half = 1 << max(self.shift - 1, 0)  # adding 1/2 after the shift needs these digits as well
        return Bound(self.name, "float64 sum", largest + half, FLOAT64)

    def state(self) -> bytes:
        head = struct.pack(">4sIIII", b"conv", *self.weight.shape[:2], self.weight.shape[2], self.shift)
        numbers = torch.cat([self.weight.flatten(), self.bias.flatten()]).long().cpu()
        return head + struct.pack(">II", self.stride, self.padding) + numbers.numpy().astype(">i8").tobytes()


@dataclass(frozen=True)
class _LeakyReLU:
    slope: int  # of 2**16

    def __call__(self, x: Tensor) -> Tensor:
        return torch.where(x >= 0, x, (x * (self.slope * 2.0**-SLOPE_BITS)).floor())

    def state(self) -> bytes:
        return struct.pack(">4sI", b"relu", self.slope)


@dataclass(frozen=True)
class _Reorder:
    kind: str
    factor: int

    def __call__(self, x: Tensor) -> Tensor:
        if self.kind == "pack":
            return F.pixel_unshuffle(x, self.factor)
        if self.kind == "flat":
            return x.reshape(x.shape[0], -1, 1, 1)
        return F.pixel_shuffle(x, self.factor)

    def state(self) -> bytes:
        return struct.pack(">4sI", self.kind.encode(), self.factor)


def _integer_conv(name: str, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> _Conv:
    weight = weight.detach().double()
    if not all(bool(torch.isfinite(numbers).all()) for numbers in (weight, bias) if numbers is not None):
        raise WeightsError(f"layer '{name}' of the coding path has weights that are not finite")
    largest = float(weight.abs().max())
    shift = WEIGHT_BITS - math.frexp(largest)[1] if largest > 0 else WEIGHT_BITS
    shift = max(0, min(shift, MAX_SHIFT))
    integers = (weight * 2.0**shift).round()
    scale = 2.0 ** (shift + FRACTION_BITS)
    offset = weight.new_zeros(weight.shape[0]) if bias is None else (bias.detach().double() * scale).round()
    worst = float((integers.abs().flatten(1).sum(1) * LIMIT + offset.abs()).max())
    if not worst < EXACT_SUM:
        raise WeightsError(
            f"layer '{name}' of the coding path can sum up to 2^{math.log2(worst):.1f}; "
            f"exact coding needs less than 2^{math.log2(EXACT_SUM):.0f}"
        )
    return _Conv(name, integers, offset[:, None, None], shift, stride, padding)


_Op = _Conv | _LeakyReLU | _Reorder


def _is_plain(module: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    """Whether it is a convolution in one group, undilated, with zeros around, the same along rows and columns."""
    return (
        module.groups == 1
        and module.dilation == (1, 1)
        and module.padding_mode == "zeros"
        and all(
            isinstance(pair, tuple) and pair[0] == pair[1]
            for pair in (module.kernel_size, module.stride, module.padding)
        )
        and not any(module.output_padding)
    )


def _convert(name: str, module: nn.Module) -> Iterator[_Op]:
    if isinstance(module, nn.Sequential):
        for child_name, child in module.named_children():
            yield from _convert(f"{name}.{child_name}", child)
    elif isinstance(module, nn.ConvTranspose2d) and _is_plain(module) and module.stride == (1, 1):
        # With stride 1 it is the convolution with the flipped, transposed kernel.
        k = module.kernel_size[0]
        weight = module.weight.transpose(0, 1).flip(2, 3)
        yield _integer_conv(name, weight, module.bias, 1, k - 1 - int(module.padding[0]))
    elif isinstance(module, nn.Conv2d) and _is_plain(module):
        yield _integer_conv(name, module.weight, module.bias, module.stride[0], int(module.padding[0]))
    elif isinstance(module, nn.Linear):
        yield _integer_conv(name, module.weight[:, :, None, None], module.bias, 1, 0)
    elif isinstance(module, nn.ReLU):
        yield _LeakyReLU(0)
    elif isinstance(module, nn.LeakyReLU) and 0 <= module.negative_slope <= 1:
        yield _LeakyReLU(round(module.negative_slope * 2**SLOPE_BITS))
    elif isinstance(module, nn.PixelShuffle):
        yield _Reorder("open", module.upscale_factor)
    elif isinstance(module, nn.PixelUnshuffle):
        yield _Reorder("pack", module.downscale_factor)
    elif isinstance(module, nn.Flatten):
        yield _Reorder("flat", 1)
    else:
        raise TypeError(f"layer '{name}' ({type(module).__name__}) has no exact integer form")


class IntegerNetwork:
    """The exact twin of a trained float network.

    Args:
        name: how errors call it.
        module: an ``nn.Sequential`` of Conv2d, ConvTranspose2d (stride 1), Linear, ReLU, LeakyReLU,
            PixelShuffle, PixelUnshuffle, Flatten. Its weights are read once, here.

    Raises:
        WeightsError: a layer could leave the range in which float64 sums are exact; it is named.
    """

    def __init__(self, name: str, module: nn.Module) -> None:
        self._ops = tuple(_convert(name, module))

    def __call__(self, x: Tensor) -> Tensor:
        """Fixed-point integers in, fixed-point integers out; (B, C, h, w) float64."""
        # float64 is never touched by autocast, but a caller's autocast must not reach anything else here.
        with torch.autocast(x.device.type, enabled=False):
            for op in self._ops:
                x = op(x)
        return x

    def prove(self) -> list[Bound]:
        """The largest possible sum of each layer, for inputs up to +-`LIMIT`.

        A layer's output is clamped to +-`LIMIT`, so each bound follows from that layer's own weights. An activation
        multiplies one number of 24 bits by one of 17, and a reordering computes nothing: they have no bound to show.
        """
        return [op.bound() for op in self._ops if isinstance(op, _Conv)]

    def state(self) -> bytes:
        """Structure and integer weights: what a stream's decoding depends on."""
        return b"".join(op.state() for op in self._ops)


def serialize(*parts: bytes | str | Tensor) -> bytes:
    """One digest of everything that a decoder depends on: texts, byte strings and integer tables, in order."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            data = part.long().cpu().contiguous().numpy().astype(">i8").tobytes()
        else:
            data = part.encode() if isinstance(part, str) else part
        digest.update(struct.pack(">Q", len(data)) + data)
    return digest.digest()
