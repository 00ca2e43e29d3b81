"""Length and pace of a stage."""

from __future__ import annotations

import pytest

from icm_training.recipe import ScheduleSpec
from icm_training.schedule import Schedule


def schedule(epoch: float = 10.0, **fields: object) -> Schedule:
    return Schedule(ScheduleSpec.model_validate(fields), epoch)


def test_phases_have_their_own_lengths_and_factors() -> None:
    found = schedule(7.5, phases=[{"epochs": 2}, {"steps": 3, "factor": 0.1}, {"epochs": 0.01, "factor": 0.5}])
    assert found.steps == 15 + 3 + 1
    assert [found.factor(step) for step in (0, 14, 15, 17, 18)] == [1.0, 1.0, 0.1, 0.1, 0.5]


def test_phases_rise_as_well() -> None:
    found = schedule(phases=[{"steps": 2}, {"steps": 4, "factor": 0.5}], warmup=4)
    assert [found.factor(step) for step in range(6)] == [0.25, 0.5, 0.375, 0.5, 0.5, 0.5]


def test_beyond_its_end_the_last_phase_goes_on() -> None:
    phases = [{"steps": 1}, {"steps": 1, "factor": 0.5}, {"steps": 1, "factor": 0.25}]
    assert schedule(phases=phases).factor(50) == 0.25
    assert schedule(phases=phases, warmup=8).factor(3) == 0.125


def test_a_cosine_falls_from_one_to_its_floor() -> None:
    found = schedule(steps=100, floor=0.2)
    factors = [found.factor(step) for step in range(101)]
    assert factors[0] == 1.0
    assert factors[50] == pytest.approx(0.6)
    assert factors[100] == pytest.approx(0.2)
    assert factors == sorted(factors, reverse=True)
    assert found.factor(150) == pytest.approx(0.2)


def test_a_warm_up_rises_in_a_line_and_the_cosine_begins_after_it() -> None:
    found = schedule(steps=20, warmup=4)
    assert [found.factor(step) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert found.factor(5) < 1.0
    assert (found.factor(12), found.factor(20)) == (pytest.approx(0.505), pytest.approx(0.01))


@pytest.mark.parametrize(("steps", "last"), [(4, 1.0), (5, 0.01)])
def test_after_a_warm_up_there_may_be_no_time_for_a_cosine(steps: int, last: float) -> None:
    found = schedule(steps=steps, warmup=4)
    assert [found.factor(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert found.factor(steps) == pytest.approx(last)


def test_a_constant_stays() -> None:
    assert [schedule(steps=20, shape="constant", warmup=2).factor(step) for step in range(4)] == [0.5, 1.0, 1.0, 1.0]
    assert {schedule(steps=20, shape="constant").factor(step) for step in range(20)} == {1.0}


@pytest.mark.parametrize(("epochs", "steps"), [(1, 8), (0.5, 4), (0.001, 1), (2.25, 17)])
def test_epochs_are_of_the_pictures_of_the_first_feed(epochs: float, steps: int) -> None:
    assert schedule(30 / 4, epochs=epochs).steps == steps
