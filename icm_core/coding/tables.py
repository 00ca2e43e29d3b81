"""Probability tables: data, never recomputed when coding.

The table of zero-mean Gaussians has one row per scale, eight scales an octave from 0.11 on; it ships as
``gaussian.safetensors`` and was written by ``python -m icm_core.coding.tables``.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from icm_core.coding.coder import extension
from icm_core.coding.fixed import FRACTION_BITS
from icm_core.errors import WeightsError

PRECISION = 16
SIGMA_MIN = 0.11
SIGMAS_PER_OCTAVE = 8
SIGMAS = 80
TAIL_MASS = 2.0**-18
_PATH = Path(__file__).with_name("gaussian.safetensors")
_INDEX_OFFSET = round(-math.log2(SIGMA_MIN) * SIGMAS_PER_OCTAVE * 2**FRACTION_BITS)


@dataclass(frozen=True)
class CdfTables:
    """Cumulative 16-bit frequencies, one row per index.

    Attributes:
        cdfs: rows from 0 to 65536; the last interval of a row is the escape for symbols outside it.
        sizes: number of entries of each row.
        offsets: the symbol of each row's first interval.
    """

    cdfs: list[list[int]]
    sizes: list[int]
    offsets: list[int]

    @classmethod
    def from_tensor(cls, cdf: Tensor, size: Tensor, offset: Tensor) -> CdfTables:
        """From padded rows (R, L), their lengths (R,) and offsets (R,), all integer tensors.

        Raises:
            WeightsError: a row does not rise strictly from 0 to 65536. The coder divides by its steps, unasked.
        """
        sizes = size.tolist()
        rows = [row[:n] for row, n in zip(cdf.tolist(), sizes, strict=True)]
        for number, row in enumerate(rows):
            rising = all(a < b for a, b in itertools.pairwise(row))
            if len(row) < 2 or row[0] != 0 or row[-1] != 1 << PRECISION or not rising:
                raise WeightsError(f"row {number} of a probability table does not rise from 0 to {1 << PRECISION}")
        return cls(rows, sizes, offset.tolist())

    @functools.cached_property
    def _costs(self) -> Tensor:
        """Bits of each interval, (R, L) float64; infinite behind a row's end."""
        length = max(self.sizes) - 1
        costs = torch.full((len(self.cdfs), length), math.inf, dtype=torch.float64)
        for row, cdf in zip(costs, self.cdfs, strict=True):
            row[: len(cdf) - 1] = PRECISION - torch.tensor(cdf, dtype=torch.float64).diff().log2()
        return costs

    @functools.cached_property
    def fewest_bits(self) -> Tensor:
        """Bits of each row's most probable symbol, (R,) float64."""
        return self._costs.amin(1)

    def bits(self, symbols: Tensor, indexes: Tensor) -> float:
        """Information in symbols with their rows, both int64 of one shape; what escapes add to it is left out."""
        symbols, indexes = symbols.flatten().cpu(), indexes.flatten().cpu()
        place = symbols - torch.tensor(self.offsets)[indexes]
        escape = torch.tensor(self.sizes)[indexes] - 2
        place = torch.where((place < 0) | (place >= escape), escape, place)
        return float(self._costs[indexes, place].sum())


def quantize_pmf(pmf: Sequence[float]) -> list[int]:
    """Cumulative frequencies of a pmf whose last entry is the escape: every entry gets at least 1 of 65536."""
    return [int(v) for v in extension("_CXX").pmf_to_quantized_cdf(list(pmf), PRECISION)]


def sigma_index(log2_sigma: Tensor, log2_gain: Tensor) -> Tensor:
    """Row of the Gaussian table for fixed-point log2(sigma) + log2(gain), int64."""
    total = (log2_sigma + log2_gain) * SIGMAS_PER_OCTAVE + _INDEX_OFFSET + (1 << (FRACTION_BITS - 1))
    return torch.bitwise_right_shift(total, FRACTION_BITS).clamp(0, SIGMAS - 1)


@functools.cache
def gaussian_tables() -> CdfTables:
    """The shipped table of zero-mean Gaussians, rows of `sigma_index`."""
    data = load_file(_PATH)
    return CdfTables.from_tensor(data["cdf"], data["size"], data["offset"])


def _gaussian_rows() -> dict[str, Tensor]:
    rows, offsets = [], []
    for i in range(SIGMAS):
        sigma = SIGMA_MIN * 2 ** (i / SIGMAS_PER_OCTAVE)
        half = 1
        while math.erfc((half + 0.5) / sigma / math.sqrt(2)) > TAIL_MASS:
            half += 1
        edges = [0.5 * math.erfc(-(s - 0.5) / sigma / math.sqrt(2)) for s in range(-half, half + 2)]
        pmf = [b - a for a, b in itertools.pairwise(edges)]
        rows.append(quantize_pmf([*pmf, 2.0**-PRECISION]))  # the escape's: the least, and more than the tails have
        offsets.append(-half)
    length = max(map(len, rows))
    cdf = torch.tensor([row + [0] * (length - len(row)) for row in rows], dtype=torch.int32)
    sizes = torch.tensor([len(row) for row in rows], dtype=torch.int32)
    return {"cdf": cdf, "size": sizes, "offset": torch.tensor(offsets, dtype=torch.int32)}


if __name__ == "__main__":
    save_file(_gaussian_rows(), _PATH)
