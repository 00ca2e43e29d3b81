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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icm_core.coding.bounds import Bound
from icm_core.coding.fixed import FRACTION_BITS, LIMIT
from icm_core.errors import WeightsError

WEIGHT_BITS = 15
EXACT_SUM = 2.0**51  # float64 holds 53 bits; two are left for adding the rounding half before the shift
FLOAT64 = 2**53
MAX_SHIFT = 30
SLOPE_BITS = 16
_NUMBERS_AT_ONCE = 2**22  # of the matrix that a convolution multiplies; 32 MB


@dataclass(frozen=True)
class _Conv:
    """A convolution of maps (C, h, w, B): one product of matrices for a whole batch.

    PyTorch's own float64 convolution takes the pictures of a batch one by one, and most of ours are patches of nine
    places.
    """

    name: str
    weight: Tensor  # integers in float64, (out, in, k, k)
    bias: Tensor  # integers in float64 at the scale of the sum, (out, 1)
    shift: int
    stride: int
    padding: int

    def __call__(self, x: Tensor) -> Tensor:
        return self._summed(F.pad(x, (0, 0, *(self.padding,) * 4)) if self.padding else x, self.weight)

    def _summed(self, x: Tensor, weight: Tensor) -> Tensor:
        """The layer without padding, of some taps of its kernel: (C, h, w, B) -> (out, h', w', B)."""
        taps, (tall, wide) = weight.flatten(1), weight.shape[-2:]
        windows = x.unfold(1, tall, self.stride).unfold(2, wide, self.stride)  # (C, h', w', B, tall, wide)
        windows = windows.permute(0, 4, 5, 1, 2, 3)
        height, width, batch = windows.shape[3:]
        total = x.new_empty(len(taps), height, width, batch)
        rows = max(1, _NUMBERS_AT_ONCE // max(1, taps.shape[1] * width * batch))
        for top in range(0, height, rows):
            part = windows[:, :, :, top : top + rows].reshape(taps.shape[1], -1)
            total[:, top : top + rows] = self._requantized(taps @ part).view(len(taps), -1, width, batch)
        return total

    def _requantized(self, total: Tensor) -> Tensor:
        # The round undoes what a device's fast product might add; for plain sums it changes nothing.
        total = total.round_().add_(self.bias)
        return total.mul_(2.0**-self.shift).add_(0.5).floor_().clamp_(-LIMIT, LIMIT)

    def on_patches(self, x: Tensor, size: int) -> Tensor:
        """What the layer gives on each patch of x, with sums that patches have in common formed once.

        A kernel of 3 on a patch misses taps only where the patch ends: along each axis there is one kernel for the
        first place, one for the last and the whole one between. In floats the result would depend on the order of
        the sums; in integers it is the same.
        """
        height, width = (side - size + 1 for side in x.shape[1:3])
        found = x.new_empty(self.weight.shape[0], size, size, x.shape[3], height, width)
        for rows, y, to_y in _thirds(x.shape[1], size):
            for columns, z, to_z in _thirds(x.shape[2], size):
                maps = self._summed(x[:, y, z], self.weight[:, :, rows, columns])
                tall, wide = to_y.stop - to_y.start, to_z.stop - to_z.start
                found[:, to_y, to_z] = maps.unfold(1, tall, 1).unfold(2, wide, 1).permute(0, 4, 5, 3, 1, 2)
        return found.flatten(3)

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
        # The slope is at most 1, so of an integer and its rounded-down multiple the larger one is meant.
        return torch.maximum(x, (x * (self.slope * 2.0**-SLOPE_BITS)).floor_())

    def state(self) -> bytes:
        return struct.pack(">4sI", b"relu", self.slope)


@dataclass(frozen=True)
class _Reorder:
    kind: str
    factor: int

    def __call__(self, x: Tensor) -> Tensor:
        if self.kind == "flat":
            return x.reshape(-1, 1, 1, x.shape[3])
        moved = F.pixel_unshuffle if self.kind == "pack" else F.pixel_shuffle
        return moved(x.permute(3, 0, 1, 2), self.factor).permute(1, 2, 3, 0)

    def state(self) -> bytes:
        return struct.pack(">4sI", self.kind.encode(), self.factor)


def _thirds(length: int, size: int) -> Iterator[tuple[slice, slice, slice]]:
    """Along one axis: taps of a kernel of 3, the part of the input that they see, and the places of a patch."""
    yield slice(1, 3), slice(0, length - size + 2), slice(0, 1)
    yield slice(0, 3), slice(0, length), slice(1, size - 1)
    yield slice(0, 2), slice(size - 2, length), slice(size - 1, size)


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
    return _Conv(name, integers, offset[:, None], shift, stride, padding)


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
        return self._run(x.permute(1, 2, 3, 0), self._ops)

    @staticmethod
    def _run(x: Tensor, ops: Sequence[_Op]) -> Tensor:
        """Layers on maps (C, h, w, B), in which neighbours in memory stay neighbours; the result is (B, C, h, w)."""
        # float64 is never touched by autocast, but a caller's autocast must not reach anything else here.
        with torch.autocast(x.device.type, enabled=False):
            for op in ops:
                x = op(x)
        return x.permute(3, 0, 1, 2).contiguous()

    def on_patches(self, x: Tensor, size: int) -> Tensor:
        """The network on every patch of x, row by row: (B, C, H, W) -> (B * (H - size + 1) * (W - size + 1), ...).

        Args:
            x: fixed-point integers, float64.
            size: height and width of a patch, at least 3.
        """
        first = self._ops[0]
        if not (isinstance(first, _Conv) and (first.stride, first.padding, first.weight.shape[-1]) == (1, 1, 3)):
            raise TypeError("patches need a first layer with a kernel of 3, stride 1 and padding 1")
        return self._run(first.on_patches(x.permute(1, 2, 3, 0), size), self._ops[1:])

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
