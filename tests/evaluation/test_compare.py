"""Comparisons with known answers."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from icm_made import made, of_pictures, pictured
from scipy.interpolate import Akima1DInterpolator, PchipInterpolator

from icm_core.errors import InputError
from icm_core.interfaces import TaskKind
from icm_core.kinds import Reconstruction
from icm_core.kinds.segmentation import miou_of
from icm_evaluation.bd import NO_OVERLAP, NO_RATES, TOO_FEW, bd_rate, bd_value, bits_at, ratio_at
from icm_evaluation.bootstrap import Resampler, draws
from icm_evaluation.compare import by_data, compare, compare_by_data, sentence
from icm_evaluation.curves import Points, curves_of, same_head
from icm_evaluation.figure_info import FigureInfo
from icm_evaluation.kinds import Kinds
from icm_evaluation.results import Result, describe_data, read_result, write_result

RATES = [0.1, 0.2, 0.35, 0.6]
VALUES = [28.0, 31.0, 33.0, 34.5]
ANCHOR = Points.of(RATES, VALUES)


def scaled(result: Result, factor: float, name: str) -> Result:
    """A system that differs in its bytes alone."""
    data = result.model_dump()
    data["system"] = name
    for point in data["points"]:
        point["bpp"] *= factor
        point["base_bpp"] *= factor
    for row in data["pictures"]:
        for point in row["points"]:
            assert point["bytes"] * factor == int(point["bytes"] * factor)
            point["bytes"] = int(point["bytes"] * factor)
            point["base_bytes"] = int(point["base_bytes"] * factor)
    return Result.model_validate(data)


@pytest.fixture
def result(measured) -> Result:
    return read_result(measured["scalable"])


@pytest.mark.parametrize("method", ["pchip", "akima"])
def test_a_curve_and_itself_at_80_percent_of_the_bits_is_minus_20_percent(method) -> None:
    test = Points.of([0.8 * rate for rate in RATES], VALUES)
    assert bd_rate(ANCHOR, test, method).value == pytest.approx(-20, abs=1e-9)
    assert bd_rate(test, ANCHOR, method).value == pytest.approx(25, abs=1e-9)
    assert ratio_at(ANCHOR, test, 32.0, method).value == pytest.approx(80, abs=1e-9)


@pytest.mark.parametrize(("method", "scipys"), [("pchip", PchipInterpolator), ("akima", Akima1DInterpolator)])
def test_deltas_are_the_areas_between_scipys_curves(method, scipys) -> None:
    test = Points.of([0.13, 0.2, 0.45, 0.6, 1.3], [28, 31.5, 32.5, 35, 36])
    logs = [np.log10(points.rates) for points in (ANCHOR, test)]
    merits = [points.merits for points in (ANCHOR, test)]

    def area(places, heights) -> float:
        low, high = max(one[0] for one in places), min(one[-1] for one in places)
        one, other = (scipys(x, y).antiderivative() for x, y in zip(places, heights, strict=True))
        return float(other(high) - other(low) - one(high) + one(low)) / (high - low)

    assert bd_value(ANCHOR, test, method).value == pytest.approx(area(logs, merits), abs=1e-6)
    assert bd_rate(ANCHOR, test, method).value == pytest.approx(100 * (10 ** area(merits, logs) - 1), abs=1e-6)
    assert bits_at(test, 33.7, method) == pytest.approx(10 ** float(scipys(merits[1], logs[1])(33.7)))


def test_the_methods_differ_between_points() -> None:
    test = Points.of([0.13, 0.2, 0.45, 0.6, 1.3], [28, 31.5, 32.5, 35, 36])
    for measure in (bd_rate, bd_value):
        assert abs(measure(ANCHOR, test, "pchip").value - measure(ANCHOR, test, "akima").value) > 1e-3
    assert abs(bits_at(test, 33.7, "pchip") - bits_at(test, 33.7, "akima")) > 1e-3


def test_a_curve_two_decibels_higher_is_two_decibels() -> None:
    test = Points.of(RATES, [value + 2 for value in VALUES])
    assert bd_value(ANCHOR, test).value == pytest.approx(2, abs=1e-9)
    assert bd_value(test, ANCHOR).value == pytest.approx(-2, abs=1e-9)


def test_the_order_of_points_does_not_matter() -> None:
    test = Points.of([0.8 * rate for rate in reversed(RATES)], list(reversed(VALUES)))
    assert bd_rate(ANCHOR, test).value == pytest.approx(-20, abs=1e-9)


def test_curves_without_common_quality_have_no_overlap() -> None:
    found = bd_rate(ANCHOR, Points.of(RATES, [value + 10 for value in VALUES]))
    assert (found.value, found.overlap, found.note) == (None, 0.0, NO_OVERLAP)


def test_curves_without_common_rates_say_so() -> None:
    found = bd_value(ANCHOR, Points.of([10 * rate for rate in RATES], VALUES))
    assert (found.value, found.note) == (None, NO_RATES)


def test_curves_that_touch_in_a_point_have_no_overlap() -> None:
    assert bd_rate(ANCHOR, Points.of([1, 2], [34.5, 36])).note == NO_OVERLAP


def test_two_points_are_a_line() -> None:
    line = Points.of([0.1, 0.4], [30, 34])
    assert bd_rate(line, Points.of([0.05, 0.2], [30, 34])).value == pytest.approx(-50, abs=1e-9)
    assert bits_at(line, 32) == pytest.approx(0.2)


def test_one_point_is_no_curve() -> None:
    assert bd_rate(ANCHOR, Points.of([0.2], [31])).note == TOO_FEW
    assert ratio_at(ANCHOR, Points.of([0.2], [31]), 31).note == TOO_FEW


def test_a_point_that_another_beats_is_left_out_of_the_rate() -> None:
    bumpy = Points.of([*(0.8 * rate for rate in RATES), 0.3], [*VALUES, 29.0])
    assert len(bumpy) - len(bumpy.front()) == 1
    assert bd_rate(ANCHOR, bumpy).value == pytest.approx(-20, abs=1e-9)
    assert bd_value(ANCHOR, bumpy).value < bd_value(ANCHOR, bumpy.front()).value


def test_one_point_in_front_reaches_no_level() -> None:
    falling = Points.of(RATES, list(reversed(VALUES)))
    assert [bits_at(falling, level) for level in (34.5, 33.0, 28.0)] == [None] * 3


def test_values_that_fall_with_the_rate_leave_one_point() -> None:
    assert bd_rate(ANCHOR, Points.of(RATES, list(reversed(VALUES)))).note == TOO_FEW


def errors(rates, values) -> Points:
    return Points.of(rates, values, higher_is_better=False)


FALLING = [8.0, 5.0, 3.0, 1.5]


def test_errors_at_80_percent_of_the_bits_are_minus_20_percent() -> None:
    anchor, test = errors(RATES, FALLING), errors([0.8 * rate for rate in RATES], FALLING)
    found = bd_rate(anchor, test)
    assert found.value == pytest.approx(-20, abs=1e-9)
    assert (found.low, found.high) == (1.5, 8.0)
    assert ratio_at(anchor, test, 4.0).value == pytest.approx(80, abs=1e-9)


def test_errors_that_are_half_a_metre_smaller_are_half_a_metre_better() -> None:
    anchor, test = errors(RATES, FALLING), errors(RATES, [value - 0.5 for value in FALLING])
    assert bd_value(anchor, test).value == pytest.approx(0.5, abs=1e-9)
    assert bd_value(test, anchor).value == pytest.approx(-0.5, abs=1e-9)


def test_of_errors_the_smallest_stay_in_front() -> None:
    bumpy = errors([*RATES, 0.3, 0.1], [*FALLING, 6.0, 9.0])
    assert list(bumpy.values) == [8.0, 5.0, 6.0, 3.0, 1.5]
    assert list(bumpy.front().values) == FALLING
    assert bits_at(bumpy, 8.1) is None and bits_at(bumpy, 1.4) is None
    assert bits_at(bumpy, 5.0) == pytest.approx(0.2)


POINTS = st.lists(st.tuples(st.integers(1, 400), st.integers(-300, 300)), min_size=2, max_size=6)


@given(POINTS, POINTS, st.integers(-300, 300))
def test_a_figure_and_its_negative_compare_alike(one, other, level) -> None:
    up = [Points.of([r / 100 for r, _ in some], [float(v) for _, v in some]) for some in (one, other)]
    down = [errors([r / 100 for r, _ in some], [-float(v) for _, v in some]) for some in (one, other)]
    more, less = bd_rate(*up), bd_rate(*down)
    assert (more.value, more.overlap, more.note) == (less.value, less.overlap, less.note)
    assert more.low is None or (more.low, more.high) == (-less.high, -less.low)
    assert bd_value(*up) == bd_value(*down)
    assert bits_at(up[0], level) == bits_at(down[0], -level)
    assert ratio_at(*up, level).value == ratio_at(*down, -level).value


def monotone_cubic(x, y, at: float) -> float:
    """Value of the curve through points as the spreadsheets of JCT-VC draw it (Fritsch & Butland, 1984)."""
    steps = [b - a for a, b in pairwise(x)]
    rises = [(b - a) / step for (a, b), step in zip(pairwise(y), steps, strict=True)]

    def at_end(step, next_step, rise, next_rise):
        found = ((2 * step + next_step) * rise - step * next_rise) / (step + next_step)
        if found * rise <= 0:
            return 0.0
        return 3 * rise if rise * next_rise <= 0 and abs(found) > abs(3 * rise) else found

    slopes = [at_end(steps[0], steps[1], rises[0], rises[1])]
    for (h, k), (r, s) in zip(pairwise(steps), pairwise(rises), strict=True):
        slopes.append(0.0 if r * s <= 0 else 3 * (h + k) / ((h + 2 * k) / r + (2 * h + k) / s))
    slopes.append(at_end(steps[-1], steps[-2], rises[-1], rises[-2]))
    n = next(n for n, end in enumerate(x[1:]) if at <= end or n == len(x) - 2)
    h, u = steps[n], (at - x[n]) / steps[n]
    return (
        (1 + 2 * u) * (1 - u) ** 2 * y[n] + u * (1 - u) ** 2 * h * slopes[n]
        + u**2 * (3 - 2 * u) * y[n + 1] + u**2 * (u - 1) * h * slopes[n + 1]
    )  # fmt: skip


def mean_difference(one, other, low: float, high: float) -> float:
    """Of two curves over a range: a mean over the middles of many narrow parts."""
    places = low + (high - low) * (np.arange(2000) + 0.5) / 2000
    return float(np.mean([monotone_cubic(*other, place) - monotone_cubic(*one, place) for place in places]))


BENT = [0.07, 0.16, 0.3, 0.5, 1.1], [26.0, 31.5, 32.0, 35.0, 36.5]


@pytest.mark.parametrize("sign", [1, -1], ids=["more is better", "less is better"])
def test_deltas_are_those_of_the_formulas_written_out(sign) -> None:
    anchor = Points.of(RATES, [sign * value for value in VALUES], sign > 0)
    test = Points.of(BENT[0], [sign * value for value in BENT[1]], sign > 0)
    logs = np.log10(RATES), np.log10(BENT[0])
    bits = mean_difference((VALUES, logs[0]), (BENT[1], logs[1]), 28.0, 34.5)
    assert bd_rate(anchor, test).value == pytest.approx(100 * (10**bits - 1), abs=1e-3)
    gain = mean_difference((logs[0], VALUES), (logs[1], BENT[1]), logs[0][0], logs[0][-1])
    assert bd_value(anchor, test).value == pytest.approx(gain, abs=1e-4)
    assert bits_at(test, sign * 33.3) == pytest.approx(10 ** monotone_cubic(BENT[1], logs[1], 33.3))


def test_nothing_is_extrapolated() -> None:
    assert bits_at(ANCHOR, 27.9) is None
    assert bits_at(ANCHOR, 34.6) is None
    assert (bits_at(ANCHOR, 28.0), bits_at(ANCHOR, 34.5)) == (pytest.approx(0.1), pytest.approx(0.6))
    assert ratio_at(ANCHOR, Points.of(RATES, VALUES), 40).note == NO_OVERLAP


def test_a_ratio_is_of_one_level_and_needs_two_points_of_both_that_stay_in_front() -> None:
    line, falling = Points.of([0.1, 0.4], [30, 34]), Points.of(RATES, list(reversed(VALUES)))
    found = ratio_at(line, ANCHOR, 31.0)
    assert (found.overlap, found.low, found.high, found.note) == (1.0, 31.0, 31.0, "")
    assert ratio_at(line, line, 40).note == NO_OVERLAP
    assert ratio_at(falling, ANCHOR, 31).note == ratio_at(ANCHOR, falling, 31).note == TOO_FEW


def test_overlap_is_the_common_share_of_both_ranges() -> None:
    found = bd_rate(Points.of([1, 2], [0, 10]), Points.of([1, 2], [5, 20]))
    assert (found.overlap, found.low, found.high) == (pytest.approx(0.25), 5, 10)


def test_of_values_the_rates_overlap_in_their_logarithm() -> None:
    found = bd_value(Points.of([0.1, 1], [0, 10]), Points.of([0.01, 0.2, 0.4], [5, 20, 21]))
    whole = np.log10(1 / 0.01)
    assert found.overlap == pytest.approx(np.log10(0.4 / 0.1) / whole)
    assert (found.low, found.high) == (pytest.approx(0.1), pytest.approx(0.4))


@pytest.mark.parametrize(
    ("unit", "one", "other", "same"),
    [
        ("%", 50.0, 50.09, True), ("%", 50.0, 50.11, False), ("%", 0.5, 0.59, True),
        ("m", 50.0, 50.04, True), ("m", 50.0, 50.06, False), ("m", 0.5, 0.51, False), ("m", 0.0, 0.0, True),
        ("dB", -50.0, -50.04, True), ("dB", -50.0, -50.06, False),
    ],
)  # fmt: skip
def test_shares_differ_by_their_difference_and_other_figures_by_its_share(unit, one, other, same) -> None:
    about = FigureInfo(title="it", unit=unit)
    assert same_head(one, other, about) == same_head(other, one, about) == same


def test_clean_pictures_are_known_of_the_main_figure_alone(result) -> None:
    data = result.model_dump()
    data["tasks"]["segmentation"]["figures"]["other"] = {"title": "another figure", "unit": "%"}
    for point in data["points"]:
        point["tasks"]["segmentation"]["other"] = 12.5
    clean = {curve.metric: curve.clean for curve in curves_of(Result.model_validate(data)) if curve.task != "coarse"}
    known = data["points"][0]["tasks"]["segmentation"]["clean"]
    assert known is not None
    assert (clean["miou"], clean["other"]) == (known, None)


def test_bits_are_those_of_anchor_and_test_in_the_middle_of_what_both_cover(result) -> None:
    double = scaled(result, 2, "double")
    (found,) = (one for one in compare([double, result], count=0)
                if (one.anchor, one.test, one.metric) == ("double coarse", "scalable coarse", "psnr"))  # fmt: skip
    (at,) = found.at
    assert at.level == pytest.approx(sum(found.common) / 2)
    (curve,) = (curve for curve in curves_of(result) if (curve.task, curve.metric) == ("coarse", "psnr"))
    assert at.test_bpp == pytest.approx(bits_at(curve.points, at.level))
    assert at.anchor_bpp == pytest.approx(2 * at.test_bpp)


@pytest.mark.parametrize("lost", [{"psnr": None}, {}], ids=["no value", "no figure"])
def test_a_curve_has_the_points_whose_figure_is_known(result, lost) -> None:
    data = result.model_dump()
    del data["points"][0]["tasks"]["coarse"]["psnr"]
    data["points"][0]["tasks"]["coarse"].update(lost)
    found = {curve.task: curve for curve in curves_of(Result.model_validate(data)) if curve.metric == "psnr"}
    assert found["coarse"].rates == tuple(point.base_bpp for point in result.points[1:])
    assert found["coarse"].values == tuple(point.tasks["coarse"]["psnr"] for point in result.points[1:])
    assert len(found["fine"].rates) == len(result.points) > 1
    assert [curve.label for curve in found.values()] == ["scalable coarse", "scalable fine"]


def test_points_that_are_left_out_are_counted_on_both_curves(result) -> None:
    data = scaled(result, 2, "bumpy").model_dump()
    data["points"][1]["tasks"]["coarse"]["psnr"] = data["points"][0]["tasks"]["coarse"]["psnr"] - 1
    bumpy = Result.model_validate(data)
    for systems in ((result, bumpy), (bumpy, result)):
        found = [one for one in compare(systems, count=0) if one.metric == "psnr"]
        (both,) = (one for one in found if {one.anchor, one.test} == {"scalable coarse", "bumpy coarse"})
        assert both.left_out == 1


def test_systems_at_half_the_bytes_need_half_the_bits_whatever_pictures_are_drawn(result) -> None:
    double = scaled(result, 2, "double")
    said = set()
    for found in compare([double, result], anchor="double", count=50):
        if found.anchor.removeprefix("double") != found.test.removeprefix("scalable"):
            continue  # coarse against fine
        if found.bd_rate is None:
            assert found.note
            continue
        assert found.bd_rate == pytest.approx(-50, abs=1e-6)
        assert found.bd_rate_interval == (pytest.approx(-50, abs=1e-6), pytest.approx(-50, abs=1e-6))
        assert found.at[0].ratio == pytest.approx(50, abs=1e-6)
        said.add(found.metric)
    assert "psnr" in said


def test_results_are_grouped_by_what_they_were_measured_on(result) -> None:
    other = result.model_copy(update={"data": result.data.model_copy(update={"split": "test"})})
    assert by_data([result, other, result]) == {describe_data(result): [result, result], describe_data(other): [other]}


def test_results_are_compared_among_those_of_the_same_pictures(result) -> None:
    double = scaled(result, 2, "double")
    other = scaled(result, 1, "elsewhere")
    other = other.model_copy(update={"data": other.data.model_copy(update={"name": "other"}), "pictures": [
        row.model_copy(update={"key": f"other/{row.key}"}) for row in other.pictures]})  # fmt: skip
    found = compare_by_data([double, other, result], count=0)
    assert found == compare([double, result], count=0) != []
    assert compare_by_data([double, other, result], anchor="scalable", count=0) == compare(
        [double, result], anchor="scalable", count=0
    )
    with pytest.raises(InputError, match="unknown system 'scaleable'; did you mean 'scalable'"):
        compare_by_data([double, result], anchor="scaleable", count=0)


def test_a_draw_of_every_picture_once_is_the_curve_itself(result) -> None:
    for curve in curves_of(result):
        (drawn,) = Resampler(np.ones((1, len(result.pictures)))).points(curve)
        assert drawn.rates == pytest.approx(curve.points.rates)
        assert drawn.values == pytest.approx(curve.points.values, rel=1e-6)


def test_a_draw_of_one_picture_alone_has_its_rates_and_values(result) -> None:
    count = len(result.pictures)
    many = 24  # more draws than are made at once
    resampler = Resampler(np.tile(count * np.eye(count), (many, 1)))
    curves = [curve for curve in curves_of(result) if curve.metric == "psnr"]
    assert [curve.task for curve in curves] == ["coarse", "fine"]
    for curve in curves:
        for row, drawn in zip([*result.pictures] * many, resampler.points(curve), strict=True):
            sizes = [one.bytes if curve.task == "fine" else one.base_bytes for one in row.points]
            rates = [8 * size / (row.width * row.height) for size in sizes]
            expected = Points.of(rates, [one.tasks[curve.task]["psnr"] for one in row.points])
            assert drawn.rates == pytest.approx(expected.rates) and drawn.values == pytest.approx(expected.values)


class Slow(Reconstruction):
    """Makes the figures of every draw anew."""

    resampled = TaskKind.resampled


class Slowly(Kinds):
    """Where every kind is slow."""

    def get(self, name: str, where: str = "") -> TaskKind:
        return Slow()


def test_slow_kinds_are_drawn_less_often_and_of_many_pictures_not_at_all(result) -> None:
    curve = next(curve for curve in curves_of(result) if curve.metric == "psnr")
    few, quick = (Resampler(draws(len(result.pictures), 120, 0), kinds).points(curve) for kinds in (Slowly(), Kinds()))
    assert len(few) == 100 and len(quick) == 120
    for one, other in zip(few, quick, strict=False):
        assert one.rates == pytest.approx(other.rates) and one.values == pytest.approx(other.values)
    many = replace(curve, result=result.model_copy(update={"pictures": result.pictures * 60}))
    assert Resampler(draws(300, 120, 0), Slowly()).points(many) == (
        "no intervals: drawing so many pictures takes too long with the kind 'reconstruction'"
    )


@pytest.mark.parametrize("first", [True, False])
def test_tallies_that_cannot_be_drawn_cost_the_intervals_of_one_comparison(result, first) -> None:
    data = scaled(result, 2, "odd").model_dump()
    for point in data["pictures"][0]["points"]:
        point["tasks"]["coarse"]["psnr"] = "good"
    odd = Result.model_validate(data)
    both = [odd, result] if first else [result, odd]
    found = {(one.anchor, one.test): one for one in compare(both, count=8) if one.metric == "psnr"}
    names = ("odd", "scalable") if first else ("scalable", "odd")
    coarse, fine = (found[tuple(f"{name} {task}" for name in names)] for task in ("coarse", "fine"))
    assert "the kind 'reconstruction' cannot read these tallies (ValueError: could not convert" in coarse.note
    assert coarse.bd_rate is not None and coarse.bd_rate_interval is None and coarse.at[0].interval is None
    assert fine.bd_rate_interval is not None and "tallies" not in fine.note


def test_one_picture_can_be_drawn_too(result) -> None:
    alone = result.model_copy(update={"pictures": result.pictures[:1]})
    curve = next(curve for curve in curves_of(alone) if curve.metric == "psnr")
    one, two = Resampler(np.array([[1.0], [1.0]])).points(curve)
    assert one.rates.tolist() == two.rates.tolist() != []


def test_the_same_seed_draws_the_same_pictures() -> None:
    assert np.array_equal(draws(9, 20, 3), draws(9, 20, 3))
    assert not np.array_equal(draws(9, 20, 3), draws(9, 20, 4))
    assert (draws(9, 20, 3).sum(1) == 9).all()


def test_classes_that_do_not_occur_do_not_count() -> None:
    assert miou_of(np.array([2.0, 0, 0, 1, 1, 0, 0, 0, 0])) == pytest.approx(100 * (2 / 3 + 1 / 2) / 2)
    assert np.isnan(miou_of(np.zeros(4)))


def test_a_ratio_reads_as_a_sentence(result) -> None:
    double = scaled(result, 2, "double")
    (found,) = (one for one in compare([double, result], levels={"psnr": 23.6}, count=0) if "coarse" in one.anchor
                and "coarse" in one.test and one.metric == "psnr")  # fmt: skip
    assert sentence(found, found.at[0]) == "scalable coarse uses 50 % of double coarse's bits at PSNR 23.6 dB"


def uneven(system: str, seed: int) -> Result:
    """Ten pictures with rates and PSNR of their own."""
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(10):
        sizes = [(int(size), int(size)) for size in generator.integers(200, 400, 4).cumsum()]
        psnr = [25 + 4 * step + generator.uniform(0, 3) for step in range(4)]
        rows.append(pictured(f"p{number}", sizes, of_pictures(psnr)))
    return made(system, rows)


def test_intervals_are_those_of_the_seed_and_hold_the_value() -> None:
    both = [uneven("one", 3), uneven("other", 4)]
    first, again, second = (compare(both, count=60, seed=seed)[0] for seed in (1, 1, 2))
    assert first == again and first.bd_rate_interval != second.bd_rate_interval
    low, high = first.bd_rate_interval
    assert low < first.bd_rate < high
    level = first.at[0]
    assert level.interval[0] < level.ratio < level.interval[1]
    assert f"(95 %: {level.interval[0]:.0f} to {level.interval[1]:.0f} %)" in sentence(first, level)


def of_psnr(system: str, *points: tuple[int, float]) -> Result:
    """One picture at some sizes, each with its PSNR."""
    own = pictured("a", [(size, size) for size, _ in points], of_pictures([value for _, value in points]))
    return made(system, [own])


def test_the_anchor_is_the_first_or_the_one_that_is_named() -> None:
    three = [of_psnr(name, (100 * by, 30), (200 * by, 33)) for by, name in enumerate(("one", "two", "three"), 1)]
    assert [(one.anchor, one.test) for one in compare(three, count=0)] == [("one", "two"), ("one", "three")]
    found = compare(three, anchor="two", count=0)
    assert [(one.anchor, one.test) for one in found] == [("two", "one"), ("two", "three")]
    assert [one.bd_rate for one in found] == [pytest.approx(-50), pytest.approx(50)]


def test_intervals_are_made_by_the_method_of_the_value() -> None:
    """Of a single picture there is nothing else to draw."""
    one = of_psnr("one", (100, 28), (200, 31), (350, 33), (600, 34.5))
    other = of_psnr("other", (130, 28), (200, 31.5), (450, 32.5), (600, 35), (1300, 36))
    values = []
    for method in ("pchip", "akima"):
        (found,) = compare([one, other], method=method, levels={"psnr": 33.7}, count=3)
        assert found.bd_rate_interval == (pytest.approx(found.bd_rate),) * 2
        assert found.bd_value_interval == (pytest.approx(found.bd_value),) * 2
        assert found.at[0].interval == (pytest.approx(found.at[0].ratio),) * 2
        values.append((found.bd_rate, found.bd_value, found.at[0].ratio))
    assert all(abs(a - b) > 1e-3 for a, b in zip(*values, strict=True))


def test_draws_are_of_pictures_in_one_order() -> None:
    one = uneven("one", 3)
    other = uneven("other", 4)
    turned = other.model_copy(update={"pictures": other.pictures[::-1]})
    with pytest.raises(InputError, match="'other' was not measured on the pictures of 'one'"):
        compare([one, turned], count=0)


def test_a_drawn_curve_has_the_points_of_the_curve_where_one_layer_keeps_its_quality() -> None:
    own = pictured("a", [(100, 50), (200, 50), (300, 50)], of_pictures((30, 33, 35)), fixed=2)
    (curve,) = curves_of(made("fixed", [own], whole=("seen",)))
    assert curve.settings == ((2, 1), (2, 2), (2, 3))
    later = replace(curve, settings=curve.settings[1:], rates=curve.rates[1:], values=curve.values[1:])
    (drawn,) = Resampler(np.ones((1, 1))).points(later)
    assert drawn.rates.tolist() == list(later.rates) and drawn.values.tolist() == [33, 35]


def test_a_drawn_curve_of_errors_keeps_that_less_is_better() -> None:
    (curve,) = curves_of(of_psnr("errors", (100, 9.0), (200, 4.0)))
    errors = replace(curve, about=curve.about.model_copy(update={"higher_is_better": False}))
    assert [drawn.merits.tolist() for drawn in Resampler(np.ones((2, 1))).points(errors)] == [[-9.0, -4.0]] * 2


def test_figures_that_two_kinds_call_alike_are_of_one_output_each() -> None:
    tallies = [{"near": {"psnr": 30.0, "ms_ssim": None}, "far": {"psnr": 40.0, "ms_ssim": None}}]
    both = made("two", [pictured("a", [(90, 50)], tallies)], {"near": "reconstruction", "far": "reconstruction"})
    apart = {**both.tasks, "far": both.tasks["far"].model_copy(update={"kind": "sounds"})}
    found = curves_of(both.model_copy(update={"tasks": apart}))
    assert [(one.kind, one.task, one.label, one.values) for one in found] == [
        ("reconstruction", "near", "two", (30.0,)),
        ("sounds", "far", "two", (40.0,)),
    ]


def test_a_level_may_be_of_a_figure_that_another_than_the_first_has() -> None:
    more = {"seen": {"psnr": 33.0, "ms_ssim": None}, "said": {"top1": True, "top5": True}}
    kinds = {"seen": "reconstruction", "said": "classification"}
    other = made("other", [pictured("a", [(90, 50)], [more])], kinds)
    assert [one.metric for one in compare([of_psnr("one", (100, 30)), other], levels={"top5": 50}, count=0)] == ["psnr"]


def test_every_result_is_of_the_pictures_of_the_first() -> None:
    def of(name: str, key: str) -> Result:
        return made(name, [pictured(key, [(90, 50)], of_pictures((30.0,)))])

    with pytest.raises(InputError, match="'three' was not measured on the pictures of 'one'"):
        compare([of("one", "a"), of("two", "a"), of("three", "b")], count=0)


def test_a_reason_why_there_is_nothing_is_said_once() -> None:
    (found,) = compare([of_psnr("one", (100, 30)), of_psnr("other", (150, 31))], count=0)
    assert (found.note, found.bd_rate, found.bd_value, found.common, found.at) == (TOO_FEW, None, None, None, [])
    (found,) = compare([of_psnr("one", (100, 30), (200, 33)), of_psnr("other", (900, 31), (990, 32))], count=0)
    assert (found.note, found.bd_value) == (NO_RATES, None)


def test_heads_that_differ_on_clean_pictures_are_told_the_anchors_first() -> None:
    def of(system: str, hits: int) -> Result:
        tallies = [{"it": {"confusion": found}} for found in ([3, 1, 1, 3], [8, 1, 1, 8])]
        clean = {"it": {"confusion": [hits, 1, 1, hits]}}
        return made(system, [pictured("a", [(99, 10), (99, 20)], tallies, clean=clean)], {"it": "segmentation"})

    (found,) = compare([of("one", 18), of("other", 8)], count=0)
    assert found.note == "different heads: 90.0 and 80.0 on clean pictures"


def test_a_head_that_sees_nothing_is_another_head_than_one_that_does() -> None:
    def of(system: str, hits: int) -> Result:
        tallies = [{"it": {"confusion": found}} for found in ([3, 1, 1, 3], [8, 1, 1, 8])]
        clean = {"it": {"confusion": [hits, 9 - hits, 9 - hits, hits]}}
        return made(system, [pictured("a", [(99, 10), (99, 20)], tallies, clean=clean)], {"it": "segmentation"})

    for one, other, said in ((0, 9, "0.0 and 100.0"), (9, 0, "100.0 and 0.0")):
        (found,) = compare([of("one", one), of("other", other)], count=0)
        assert found.note == f"different heads: {said} on clean pictures"
    assert compare([of("one", 0), of("other", 0)], count=0)[0].note == ""


def test_systems_that_are_equally_good_have_an_interval_all_the_same() -> None:
    one = uneven("one", 3)
    (found,) = compare([one, one.model_copy(update={"system": "other"})], count=8)
    assert (found.bd_rate, found.bd_rate_interval) == (0.0, (0.0, 0.0))
    assert (found.bd_value, found.bd_value_interval) == (0.0, (0.0, 0.0))


def test_the_table_has_each_interval_beside_its_value(run, tmp_path) -> None:
    both = [uneven("one", 3), uneven("other", 4)]
    for result in both:
        write_result(tmp_path / f"{result.system}.json", result)
    (found,) = compare(both, count=30)
    rate, value = found.bd_rate_interval, found.bd_value_interval
    shown = run("compare", tmp_path / "one.json", tmp_path / "other.json", "--draws", 30)
    (row,) = (" ".join(line.split()) for line in shown.splitlines() if line.split()[:1] == ["psnr"])
    assert row == (
        f"psnr one other {found.bd_rate:+.1f} % [{rate[0]:+.1f}, {rate[1]:+.1f}] "
        f"{found.bd_value:+.3g} dB [{value[0]:+.3g}, {value[1]:+.3g}] {found.overlap:.0%} {found.left_out}"
    )
    shown = run("compare", tmp_path / "one.json", tmp_path / "other.json", "--draws", 0)
    (row,) = (" ".join(line.split()) for line in shown.splitlines() if line.split()[:1] == ["psnr"])
    assert row == (
        f"psnr one other {found.bd_rate:+.1f} % {found.bd_value:+.3g} dB {found.overlap:.0%} {found.left_out}"
    )


def test_results_of_other_pictures_are_not_compared(measure, result) -> None:
    fewer = measure("single", limit=2)
    with pytest.raises(InputError, match="'single' was not measured on the pictures of 'scalable'"):
        compare([result, fewer])


def test_unknown_names_are_said(result, measured) -> None:
    both = [result, read_result(measured["single"])]
    with pytest.raises(InputError, match="unknown system 'scaleable'; did you mean 'scalable'"):
        compare(both, anchor="scaleable")
    with pytest.raises(InputError, match="unknown metric 'mIoU'; did you mean 'miou'"):
        compare(both, levels={"mIoU": 50})
    with pytest.raises(InputError, match="takes two results or more"):
        compare([result])
    with pytest.raises(InputError, match="two results are of a system called 'scalable'"):
        compare([result, result])


def test_the_command_prints_json(run, measured) -> None:
    rows = json.loads(run("compare", measured["single"], measured["scalable"], "--draws", 20, "--json"))
    assert {row["metric"] for row in rows} == {"miou", "psnr"}
    assert all(row["anchor"].startswith("single") for row in rows)


@pytest.mark.parametrize(
    ("words", "more"),
    [
        ([], {}),
        (["--anchor", "other"], {"anchor": "other"}),
        (["--method", "akima"], {"method": "akima"}),
        (["--seed", "7"], {"seed": 7}),
        (["--at", "psnr=33.5"], {"levels": {"psnr": 33.5}}),
    ],
)
def test_the_command_compares_as_it_is_told(run, tmp_path, words, more) -> None:
    both = [uneven("one", 3), uneven("other", 4)]
    for result in both:
        write_result(tmp_path / f"{result.system}.json", result)
    shown = json.loads(run("compare", tmp_path / "one.json", tmp_path / "other.json", "--draws", 30, "--json", *words))
    assert shown == [one.model_dump(mode="json") for one in compare(both, count=30, **more)]
    assert not more or shown != [one.model_dump(mode="json") for one in compare(both, count=30)]


def test_the_command_prints_a_table_and_sentences(run, measured) -> None:
    shown = run("compare", measured["single"], measured["scalable"], "--draws", 0, "--at", "psnr=60")
    assert "BD-rate" in shown
    assert "do not both reach PSNR 60 dB: no overlap" in shown


def test_a_file_that_is_no_result_is_said(fail, tmp_path, measured) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}')
    assert "not a result of `icm evaluate`" in fail("compare", tmp_path / "a.json", measured["single"])
    assert "--at is 'psnr:3'" in fail("compare", measured["single"], measured["scalable"], "--at", "psnr:3")
