"""Fixed-point numbers: an integer n stands for n / 2**12, and never leaves +-(2**23 - 1).

24 bits with sign are what float32 holds exactly, so side information can travel as float32 tensors and be
turned back into the very same integers.
"""

from __future__ import annotations

import torch
from torch import Tensor

FRACTION_BITS = 12
LIMIT = 2**23 - 1


def to_fixed(x: Tensor) -> Tensor:
    """Nearest fixed-point number of a float tensor, as int64, clamped to +-`LIMIT`."""
    scaled = x.double() * 2.0**FRACTION_BITS
    return scaled.round().clamp(-LIMIT, LIMIT).long()


def to_float(n: Tensor) -> Tensor:
    """float32 value of fixed-point numbers; exact, because they have 24 bits."""
    return n.double().mul(2.0**-FRACTION_BITS).float()


def rescale(n: Tensor, factor: Tensor, bits: int) -> Tensor:
    """``round(n * factor / 2**bits)``, halves upwards, in int64: exact while the product stays below 2**63."""
    return torch.bitwise_right_shift(n * factor + (1 << (bits - 1)), bits)
