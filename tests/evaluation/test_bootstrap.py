"""Intervals of draws whose values are known, and draws themselves."""

from __future__ import annotations

import numpy as np
import pytest

from icm_core.interfaces import TaskKind
from icm_core.kinds import Regression
from icm_evaluation.bootstrap import draws, draws_of, interval
from icm_evaluation.curves import Points


def at(*values: float) -> list[Points]:
    """A curve of one point for each value."""
    return [Points.of([1.0], [value]) for value in values]


def difference(one: Points, other: Points) -> float | None:
    """Of two values; None where the first one is negative."""
    return None if one.values[0] < 0 else float(other.values[0] - one.values[0])


def test_an_interval_leaves_two_and_a_half_percent_of_the_draws_on_each_side() -> None:
    order = np.random.default_rng(0).permutation(201)
    found = interval(at(*[0.0] * 201), at(*map(float, order)), difference)
    assert found == (pytest.approx(5), pytest.approx(195))


def test_both_systems_are_compared_draw_by_draw() -> None:
    anchor = np.random.default_rng(1).normal(20, 9, 50).clip(0)
    found = interval(at(*anchor), at(*(anchor + 3)), difference)
    assert found == (pytest.approx(3), pytest.approx(3))


@pytest.mark.parametrize(("unknown", "has"), [(0, True), (10, True), (11, False), (100, False)])
def test_nine_draws_of_ten_need_a_value(unknown: int, has: bool) -> None:
    anchor = at(*[-1.0] * unknown, *[0.0] * (100 - unknown))
    found = interval(anchor, at(*[7.0] * 100), difference)
    assert found == ((7, 7) if has else None)


def test_without_draws_there_is_no_interval() -> None:
    assert interval([], [], difference) is None


class Slow(Regression):
    """Makes the figures of every draw anew."""

    resampled = TaskKind.resampled


@pytest.mark.parametrize(
    ("pictures", "asked", "made"),
    [(10, 1000, 100), (100, 1000, 100), (101, 1000, 99), (250, 1000, 40), (251, 1000, 0), (10, 30, 30), (250, 30, 30)],
)
def test_a_kind_without_draws_of_its_own_looks_at_so_many_tallies(pictures: int, asked: int, made: int) -> None:
    assert draws_of(Slow(), asked, pictures) == made
    assert draws_of(Regression(), asked, pictures) == asked


def test_draws_count_how_often_each_picture_came_with_replacement() -> None:
    found = draws(20, 4000, 0)
    assert found.shape == (4000, 20) and bool((found.sum(1) == 20).all())
    # Each picture comes once on average, and not at all in (1 - 1/20)^20 of the draws.
    assert found.mean(0) == pytest.approx(np.ones(20), abs=0.08)
    assert float((found == 0).mean()) == pytest.approx(0.95**20, abs=0.01)
