"""Qualities: what both sides of a file mean by one."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_core import InputError, Pipeline, Quality

LOWEST, HIGHEST = 1.0, 255 / 16


@given(st.floats(LOWEST, HIGHEST))
def test_the_nearest_sixteenth_is_taken(value: float) -> None:
    quality = Quality.of(value)
    assert Fraction(quality.value) == Fraction(quality.step, 16)
    assert abs(Fraction(quality.value) - Fraction(value)) <= Fraction(1, 32)


@pytest.mark.parametrize(
    ("value", "step", "index"), [(1, 16, 0), (1.0625, 17, 1), (2.5, 40, 24), (4, 64, 48), (15.9375, 255, 239)]
)
def test_a_quality_is_a_step_and_the_row_of_a_table_that_begins_at_1(value: float, step: int, index: int) -> None:
    quality = Quality.of(value)
    assert (quality.step, quality.value, quality.index) == (step, value, index)
    assert quality == Quality(step)


@pytest.mark.parametrize("value", [0, 0.99, math.nextafter(1, 0), math.nextafter(HIGHEST, 16), 16, -2.5, 1e9])
def test_what_no_file_can_hold_is_refused_with_the_range(value: float) -> None:
    with pytest.raises(InputError) as caught:
        Quality.of(value)
    assert str(caught.value) == (
        f"quality {value:g} is out of range; it runs from 1 to the codec's highest, 15.9375 at most"
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(InputError, match=f"quality {value:g} is out of range"):
        Quality.of(value)


@pytest.mark.parametrize("step", [15, 256, 0, -1])
def test_steps_are_those_of_one_byte_from_16_on(step: int) -> None:
    with pytest.raises(InputError, match=f"quality {step / 16:g} is out of range"):
        Quality(step)


def test_qualities_are_ordered() -> None:
    assert sorted([Quality.of(3), Quality.of(1.5), Quality.of(2)]) == [Quality(24), Quality(32), Quality(48)]


@pytest.mark.parametrize("value", [0, 4.5, 99, float("nan"), float("inf")])
def test_a_pipeline_says_which_qualities_it_has(pipeline: Pipeline, value: float) -> None:
    with pytest.raises(InputError, match=rf"quality {value:g} is out of range; pipeline '[a-z-]+' has 1 to 4$"):
        pipeline.quality(value)
