"""The shipped table of Gaussians, and how its rows are found."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from icm_core import WeightsError
from icm_core.coding import FRACTION_BITS, CdfTables, gaussian_tables, sigma_index
from icm_core.coding import tables as module
from icm_core.coding.tables import SIGMA_MIN, SIGMAS, SIGMAS_PER_OCTAVE, quantize_pmf

ONE = 2**FRACTION_BITS
ROWS = range(SIGMAS)


def sigma(row: int) -> float:
    return SIGMA_MIN * 2 ** (row / SIGMAS_PER_OCTAVE)


def gaussian(row: int) -> list[float]:
    """Probabilities of all integers that matter, -reach ... reach, in float64."""
    scale = sigma(row)
    reach = math.ceil(9 * scale) + 1
    edges = torch.arange(-reach, reach + 2, dtype=torch.float64) - 0.5
    # The left half is exact in the tail, and the right half is its mirror image.
    left = torch.special.ndtr(edges[: reach + 2] / scale).diff()
    middle = left[-1:] * 0 + torch.special.erf(torch.tensor([0.5 / scale / math.sqrt(2)], dtype=torch.float64))
    return torch.cat([left[:-1], middle, left[:-1].flip(0)]).tolist()


def test_the_file_is_what_the_generator_writes() -> None:
    shipped, made = load_file(module._PATH), module._gaussian_rows()
    assert shipped.keys() == made.keys()
    for name in made:
        assert shipped[name].dtype == made[name].dtype
        assert torch.equal(shipped[name], made[name])


def test_every_row_rises_from_0_to_65536() -> None:
    tables = gaussian_tables()
    assert len(tables.cdfs) == len(tables.sizes) == len(tables.offsets) == SIGMAS
    for row, size in zip(tables.cdfs, tables.sizes, strict=True):
        assert len(row) == size
        assert (row[0], row[-1]) == (0, 65536)
        assert all(high - low >= 1 for low, high in pairwise(row))


def test_the_symbols_of_every_row_lie_symmetrically_around_zero() -> None:
    tables = gaussian_tables()
    for size, offset in zip(tables.sizes, tables.offsets, strict=True):
        assert size == 2 * -offset + 3  # symbols offset ... -offset, the escape, and the closing edge


def test_zero_gets_rarer_as_sigma_grows() -> None:
    tables = gaussian_tables()
    zeros = [row[1 - offset] - row[-offset] for row, offset in zip(tables.cdfs, tables.offsets, strict=True)]
    assert all(before >= after for before, after in pairwise(zeros))


@pytest.mark.parametrize("row", ROWS)
def test_coding_with_a_row_costs_little_more_than_the_gaussians_entropy(row: int) -> None:
    cdf, offset = gaussian_tables().cdfs[row], gaussian_tables().offsets[row]
    reach = (len(gaussian(row)) - 1) // 2
    escape = 16 - math.log2(cdf[-1] - cdf[-2])
    entropy = cost = 0.0
    for symbol, p in zip(range(-reach, reach + 1), gaussian(row), strict=True):
        i = symbol - offset
        inside = 0 <= i < len(cdf) - 2
        entropy -= p * math.log2(p) if p > 0 else 0
        cost += p * (16 - math.log2(cdf[i + 1] - cdf[i]) if inside else escape + 4 * (2 + abs(symbol).bit_length() / 4))
    assert entropy - 1e-9 <= cost <= entropy * 1.002 + 0.002


def test_quantized_cumulatives_leave_something_for_everything() -> None:
    row = quantize_pmf([1.0, 0.0, 1e-12, 0.0])
    assert (row[0], row[-1]) == (0, 65536)
    assert all(high > low for low, high in pairwise(row))


def test_rows_are_cut_at_their_length() -> None:
    cdf = torch.tensor([[0, 5, 65536, 0], [0, 1, 2, 65536]])
    tables = CdfTables.from_tensor(cdf, torch.tensor([3, 4]), torch.tensor([-1, 7]))
    assert tables == CdfTables([[0, 5, 65536], [0, 1, 2, 65536]], [3, 4], [-1, 7])


@pytest.mark.parametrize(
    "row",
    [
        [1, 5, 65536],
        [-1, 5, 65536],
        [0, 5, 65535],
        [0, 5, 65537],
        [0, 5, 5, 65536],
        [0, 9, 5, 65536],
        [0, 65536, 65536],
        [65536],
        [],
    ],
    ids=str,
)
def test_a_row_that_does_not_rise_from_0_to_65536_is_refused_by_number(row: list[int]) -> None:
    cdf = torch.tensor([[0, 5, 65536, 0], [*row, *[0] * (4 - len(row))]])
    with pytest.raises(WeightsError, match=r"^row 1 of a probability table does not rise from 0 to 65536$"):
        CdfTables.from_tensor(cdf, torch.tensor([3, len(row)]), torch.tensor([0, 0]))


@given(st.floats(-12, 12), st.floats(-7, 10))
def test_the_row_is_the_nearest_on_a_logarithmic_scale(log2_sigma: float, log2_gain: float) -> None:
    a, b = round(log2_sigma * ONE), round(log2_gain * ONE)
    (row,) = sigma_index(torch.tensor([a]), torch.tensor([b])).tolist()
    wanted = SIGMAS_PER_OCTAVE * ((a + b) / ONE - math.log2(SIGMA_MIN))
    assert abs(row - min(max(wanted, 0), SIGMAS - 1)) <= 0.5 + 2.0**-FRACTION_BITS


def test_the_row_rises_with_sigma_over_all_rows() -> None:
    rows = sigma_index(torch.arange(-5 * ONE, 9 * ONE), torch.tensor(0))
    assert rows.dtype == torch.int64
    assert bool((rows.diff() >= 0).all())
    assert torch.unique(rows).tolist() == list(ROWS)


@pytest.mark.parametrize("row", ROWS)
def test_a_rows_own_sigma_is_found(row: int) -> None:
    log2 = torch.tensor([round(math.log2(sigma(row)) * ONE)])
    assert sigma_index(log2, torch.zeros(1, dtype=torch.int64)).tolist() == [row]


def test_extreme_scales_take_the_outer_rows() -> None:
    far = torch.tensor([-(2**24), 2**24])
    assert sigma_index(far, torch.tensor(0)).tolist() == [0, SIGMAS - 1]
