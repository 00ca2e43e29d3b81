"""Fixed-point numbers against Python's integers and fractions."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from icm_core.coding import FRACTION_BITS, LIMIT, rescale, to_fixed, to_float

ONE = 2**FRACTION_BITS
numbers = st.lists(st.integers(-LIMIT, LIMIT), min_size=1, max_size=50)


@given(numbers)
def test_float32_holds_every_number(values: list[int]) -> None:
    n = torch.tensor(values)
    assert to_float(n).dtype == torch.float32
    assert torch.equal(to_fixed(to_float(n)), n)


def test_both_ends_survive_float32() -> None:
    n = torch.tensor([-LIMIT, -LIMIT + 1, -1, 0, 1, LIMIT - 1, LIMIT])
    assert torch.equal(to_fixed(to_float(n)), n)


@given(numbers)
def test_float64_numbers_are_read_like_int64(values: list[int]) -> None:
    n = torch.tensor(values)
    assert torch.equal(to_float(n.double()), to_float(n))


@given(st.floats(-2000, 2000, width=32))
def test_the_nearest_number_is_taken(value: float) -> None:
    (n,) = to_fixed(torch.tensor([value])).tolist()
    assert abs(Fraction(n, ONE) - Fraction(value)) <= Fraction(1, 2 * ONE)


def test_values_beyond_the_limit_are_clamped() -> None:
    x = torch.tensor([1e9, -1e9, float("inf"), -float("inf")])
    assert to_fixed(x).tolist() == [LIMIT, -LIMIT, LIMIT, -LIMIT]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_exactly(dtype: torch.dtype) -> None:
    x = torch.tensor([0.5, -1.25, 3.0, 2000.0], dtype=dtype)  # times 4096, the last one is beyond float16
    assert to_fixed(x).tolist() == [ONE // 2, -5 * ONE // 4, 3 * ONE, 2000 * ONE]


def test_numbers_have_12_binary_places_of_24_bits() -> None:
    """Every file that was ever written depends on it."""
    assert (FRACTION_BITS, LIMIT) == (12, 8_388_607)
    assert to_float(torch.tensor([1, -LIMIT])).tolist() == [2.0**-12, -(2048 - 2.0**-12)]


@given(st.integers(-(2**30), 2**30), st.integers(-(2**27), 2**27), st.integers(1, 30))
def test_rescale_rounds_halves_upwards(n: int, factor: int, bits: int) -> None:
    exact = Fraction(n * factor, 2**bits)
    expected = (exact + Fraction(1, 2)).__floor__()
    assert rescale(torch.tensor([n]), torch.tensor([factor]), bits).tolist() == [expected]


@pytest.mark.parametrize(("n", "expected"), [(1, 1), (-1, 0), (3, 2), (-3, -1)])
def test_halves_go_up_on_both_sides_of_zero(n: int, expected: int) -> None:
    assert rescale(torch.tensor([n]), torch.tensor([1]), 1).tolist() == [expected]
