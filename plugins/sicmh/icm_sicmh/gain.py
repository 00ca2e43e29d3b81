"""Gain units (Cui et al., CVPR 2021): one set of weights, many rates.

Before rounding, each channel is multiplied by a learned gain of the chosen quality, and divided by it
afterwards. Between the trained qualities gains are interpolated geometrically, so any real quality works.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from icm_core.coding import FRACTION_BITS, LIMIT, rescale
from icm_core.coding.bounds import Bound
from icm_core.coding.rans import MAX_SYMBOL
from icm_core.errors import InputError, WeightsError
from icm_core.quality import STEPS_PER_UNIT, Quality

INVERSE_BITS = 20
LOWEST_LOG2, HIGHEST_LOG2 = -7, 10
"""What `GainUnit.freeze` holds gains within, so that no product of `ExactGain` leaves 64 bits."""


class GainUnit(nn.Module):
    """Learned gains of one latent, and their integer tables.

    Args:
        channels: C.
        qualities: number of trained qualities; they are 1, 2, ..., qualities.
        lowest, highest: gains at the first and last quality before training.
    """

    table: Tensor

    def __init__(self, channels: int, qualities: int, lowest: float, highest: float) -> None:
        super().__init__()
        ends = torch.tensor([lowest, highest], device="cpu").log2()
        start = ends[0] + (ends[1] - ends[0]) * torch.linspace(0, 1, qualities, device="cpu")
        self.qualities = qualities
        self.log2_gain = nn.Parameter(torch.empty(qualities, channels).copy_(start[:, None]))
        steps = (qualities - 1) * STEPS_PER_UNIT + 1
        # Rows: gain, inverse gain, log2 gain, of each quality in steps of 1/16. Zero until frozen.
        self.register_buffer("table", torch.zeros(steps, 3, channels, dtype=torch.int32))

    def log2(self, quality: Tensor) -> Tensor:
        """log2 gains (B, C, 1, 1) of real qualities (B,)."""
        position = (quality - 1).clamp(0, self.qualities - 1)
        below = position.floor().clamp(max=max(self.qualities - 2, 0)).long()
        part = (position - below)[:, None]
        above = (below + 1).clamp(max=self.qualities - 1)
        return (self.log2_gain[below] * (1 - part) + self.log2_gain[above] * part)[:, :, None, None]

    @torch.no_grad()
    def freeze(self) -> None:
        """Write the integer tables from the learned gains."""
        steps = self.table.shape[0]
        quality = torch.arange(steps, device=self.table.device) / STEPS_PER_UNIT + 1
        log2 = self.log2(quality.double()).double()[:, :, 0, 0].clamp(LOWEST_LOG2, HIGHEST_LOG2)
        gain = (log2.exp2() * 2**FRACTION_BITS).round()
        inverse = (2.0 ** (INVERSE_BITS + FRACTION_BITS) / gain).round()
        self.table.copy_(torch.stack([gain, inverse, (log2 * 2**FRACTION_BITS).round()], 1))

    def problem(self, values: Mapping[str, Tensor]) -> tuple[str, str] | None:
        """What is wrong with tables that are about to be loaded; a table that was never frozen is all zero."""
        table = values["table"].detach().cpu().double()
        if not bool(table.any()):
            return None
        gain, inverse, log2 = table.unbind(1)
        low, high = (2.0 ** (log2 + FRACTION_BITS) for log2 in (LOWEST_LOG2, HIGHEST_LOG2))
        if not bool(((gain >= low) & (gain <= high)).all()):
            return "table", (
                f"has gains from {int(gain.min())} to {int(gain.max())}; a gain lies between {low:g} and {high:g}"
            )
        if not torch.equal(inverse, (2.0 ** (INVERSE_BITS + FRACTION_BITS) / gain).round()):
            return "table", "has inverse gains that do not belong to its gains"
        # A logarithm in steps of 2**-12 is off by at most 2**-13, and the gain was rounded as well.
        if not bool(((log2 * 2.0**-FRACTION_BITS).exp2() * 2**FRACTION_BITS - gain).abs().le(1 + gain * 2e-4).all()):
            return "table", "has logarithms that do not belong to its gains"
        return None

    def bound(self, name: str) -> Bound:
        """The largest product that quantising or dequantising can form with the frozen tables.

        A mean is the sum of two numbers within +-`LIMIT`, a latent one such number.
        """
        gain, inverse, _ = (max(row, 1) for row in self.table.abs().amax((0, 2)).tolist())
        pairs = set(zip(*(self.table[:, i].flatten().abs().tolist() for i in (0, 1)), strict=True))
        mean = 2 * LIMIT
        gained = (((MAX_SYMBOL << FRACTION_BITS) + (mean * g >> FRACTION_BITS) + 1) * i for g, i in pairs)
        return Bound(name, "int64 product", max(mean * gain, *gained, inverse), 2**63)

    def row(self, quality: Quality) -> ExactGain:
        """The integer gains of one quality.

        Raises:
            InputError: the quality is beyond the trained ones.
            WeightsError: the tables were never frozen.
        """
        if quality.index >= self.table.shape[0]:
            raise InputError(f"quality {quality.value:g} is out of range; this model has 1 to {self.qualities}")
        row = self.table[quality.index].long()[:, None, :, None, None]
        if not bool(row[0].any()):
            raise WeightsError(
                "the coding tables are empty; load trained weights, or call freeze_tables() after training"
            )
        return ExactGain(row[0], row[1], row[2])


class ExactGain:
    """Quantisation of one latent at one quality, in fixed-point integers.

    Args:
        gain, inverse, log2: tables (1, C, 1, 1), int64.
    """

    def __init__(self, gain: Tensor, inverse: Tensor, log2: Tensor) -> None:
        self.gain, self.inverse, self.log2 = gain, inverse, log2

    def part(self, channels: slice) -> ExactGain:
        """The gains of some of the channels."""
        return ExactGain(self.gain[:, channels], self.inverse[:, channels], self.log2[:, channels])

    def quantize(self, latent: Tensor, mean: Tensor, limit: int) -> Tensor:
        """Symbols of a fixed-point latent around a fixed-point mean: round(gain * latent - gain * mean)."""
        difference = rescale(latent, self.gain, FRACTION_BITS) - rescale(mean, self.gain, FRACTION_BITS)
        half = 1 << (FRACTION_BITS - 1)
        return torch.bitwise_right_shift(difference + half, FRACTION_BITS).clamp(-limit, limit)

    def dequantize(self, symbols: Tensor, mean: Tensor) -> Tensor:
        """The fixed-point latent that both sides go on with."""
        gained = symbols * 2**FRACTION_BITS + rescale(mean, self.gain, FRACTION_BITS)
        return rescale(gained, self.inverse, INVERSE_BITS).clamp(-LIMIT, LIMIT)
