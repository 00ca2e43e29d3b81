"""COCO's average precision of tallies that are written out: ties, crowds, how many answers count, how they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from icm_core.interfaces import Tally
from icm_tasks.kinds.coco import Measure, average_precision, figures, match

HERE, THERE = (10.0, 10.0, 30.0, 20.0), (50.0, 10.0, 70.0, 40.0)
Found = tuple[tuple[float, ...], float]


def tally(truth: Sequence[tuple[float, ...]], found: Sequence[Found], label: int = 0, **more: Any) -> Tally:
    """A picture with things of one class, and answers of it with their scores."""
    sides: dict[str, Any] = {
        "truth": {"boxes": [*map(list, truth)], "labels": [label] * len(truth), "iscrowd": [0] * len(truth), **more},
        "found": {
            "boxes": [list(box) for box, _ in found],
            "labels": [label] * len(found),
            "scores": [score for _, score in found],
        },
    }
    return sides


def points(place: float, visibility: float = 2.0) -> list[list[float]]:
    return [[place, place, visibility], [place, place + 1, visibility]]


def ap(tallies: list[Tally], measure: Measure = "bbox", sigmas: tuple[float, ...] = ()) -> float | None:
    return figures(match(tallies, measure, sigmas), len(tallies), "boxes")["ap"].value


def test_of_equal_scores_those_of_the_earlier_picture_come_first() -> None:
    right, wrong = tally([HERE], [(HERE, 0.5)]), tally([], [(HERE, 0.5)])
    assert ap([right, wrong]) == pytest.approx(100)
    assert ap([wrong, right]) == pytest.approx(50)  # of two answers that came until it was found


def test_of_equal_scores_in_one_picture_the_first_comes_first() -> None:
    assert ap([tally([HERE], [(HERE, 0.5), (THERE, 0.5)])]) == pytest.approx(100)
    assert ap([tally([HERE], [(THERE, 0.5), (HERE, 0.5)])]) == pytest.approx(50)


def test_a_thing_is_found_once() -> None:
    second = tally([HERE, THERE], [(HERE, 0.9), (HERE, 0.8), (THERE, 0.7)])
    # One of two at precision 1, the other at 2/3: 51 of 101 recalls and 50.
    assert ap([second]) == pytest.approx(100 * (51 + 50 * 2 / 3) / 101)


def test_each_class_counts_the_same_and_those_that_are_only_said_count_nowhere() -> None:
    tallies = [
        tally([HERE, THERE], [(HERE, 0.9), (THERE, 0.8)], label=3),
        tally([HERE], [(THERE, 0.9)], label=7),
        tally([], [(HERE, 0.9)], label=5),
    ]
    assert ap(tallies) == pytest.approx(50)
    assert [one.things.tolist() for one in match(tallies, "bbox")] == [[2, 0, 0], [0, 1, 0]]


def test_crowds_are_nothing_to_find_and_what_falls_on_them_counts_neither_way() -> None:
    (found,) = match([tally([HERE, THERE], [(HERE, 0.9), (THERE, 0.95), (THERE, 0.8)], iscrowd=[0, 1])], "bbox")
    assert found.things.tolist() == [1]
    assert found.hits.tolist() == [[False, True, False]] * 10
    assert not found.misses.any()


@pytest.mark.parametrize(("measure", "most"), [("bbox", 100), ("keypoints", 20)])
def test_as_many_answers_of_a_class_count_as_in_coco(measure: Measure, most: int) -> None:
    def picture(before: int) -> Tally:
        """A thing that is found by the last of answers."""
        made: dict[str, Any] = tally([HERE], [(THERE, 0.9)] * before + [(HERE, 0.5)], area=[200.0])
        made["truth"]["keypoints"] = [points(20)]
        made["found"]["keypoints"] = [points(90)] * before + [points(20)]
        return made

    assert ap([picture(most - 1)], measure, (0.05, 0.05)) == pytest.approx(100 / most)
    assert ap([picture(most)], measure, (0.05, 0.05)) == 0


def test_a_thing_without_a_labelled_point_is_nothing_to_find_and_hidden_points_count() -> None:
    def one(visibility: float, place: float) -> Tally:
        made: dict[str, Any] = tally([HERE], [(HERE, 0.9)], area=[200.0])
        made["truth"]["keypoints"], made["found"]["keypoints"] = [points(20, visibility)], [points(place)]
        return made

    assert ap([one(0, 20)], "keypoints", (0.05, 0.05)) is None
    for visibility in (1, 2):
        assert ap([one(visibility, 20)], "keypoints", (0.05, 0.05)) == pytest.approx(100)
        assert ap([one(visibility, 60)], "keypoints", (0.05, 0.05)) == 0


def test_points_are_as_near_as_sigmas_and_the_areas_of_their_own_things_say() -> None:
    """COCO's similarity: exp(-d^2 / (2 * area * (2 * sigma)^2)), the mean over points."""
    area, apart = 400.0, 2.0
    for sigma in (0.05, 0.1):
        made: dict[str, Any] = tally([THERE, HERE], [(HERE, 0.9)], area=[9e4, area])
        made["truth"]["keypoints"] = [points(200), points(20)]
        made["found"]["keypoints"] = [[[x + apart, y, 1] for x, y, _ in points(20)]]
        (found,) = match([made], "keypoints", (sigma, sigma))
        similarity = np.exp(-(apart**2) / (2 * area * (2 * sigma) ** 2))
        expected = [similarity >= 0.5 + 0.05 * number for number in range(10)]
        assert any(expected) and not all(expected)
        assert found.hits[:, 0].tolist() == expected


@pytest.mark.parametrize("overlap", [0.52, 0.74, 0.76, 0.96])
def test_boxes_are_matched_by_intersection_over_union_without_borders(overlap: float) -> None:
    x0, y0, x1, y1 = HERE
    (found,) = match([tally([HERE], [((x0, y0, x0 + overlap * (x1 - x0), y1), 0.9)])], "bbox")
    assert found.hits[:, 0].tolist() == [overlap >= 0.5 + 0.05 * number for number in range(10)]
    # However small or large they are.
    for factor in (0.01, 1000.0):
        small = tuple(factor * side for side in HERE)
        assert ap([tally([small], [(small, 0.9)])]) == pytest.approx(100)


def test_precisions_of_draws_are_those_of_pictures_in_a_list() -> None:
    """A picture drawn twice stands twice in the list; one that is not drawn stands nowhere."""
    pictures = [
        tally([HERE], [(HERE, 0.9), (THERE, 0.3)]),
        tally([HERE, THERE], [(THERE, 0.8)]),
        tally([THERE], [(HERE, 0.7)]),
        tally([], [(HERE, 0.2)], label=4),
    ]
    weights = np.array([[1, 1, 1, 1], [2, 0, 1, 0], [0, 3, 0, 2], [0, 0, 0, 4]], dtype=np.float64)
    drawn = average_precision(match(pictures, "bbox"), weights)
    for row, times in enumerate(weights):
        listed = [one for one, count in zip(pictures, times, strict=True) for _ in range(int(count))]
        alone = figures(match(listed, "bbox"), len(listed), "boxes")
        for name, values in drawn.items():
            expected = alone[name].value
            assert np.isnan(values[row]) if expected is None else values[row] == pytest.approx(expected)


def test_titles_say_what_was_matched_and_values_are_percents() -> None:
    found = figures(match([tally([HERE], [(HERE, 0.9)])], "bbox"), 1, "dots")
    titles = {"ap": "AP (dots)", "ap50": "AP50 (dots)", "ap75": "AP75 (dots)"}
    assert {name: one.title for name, one in found.items()} == titles
    assert all(one.unit == "%" and one.value == pytest.approx(100) for one in found.values())
    assert {one.value for one in figures(match([tally([], [(HERE, 0.9)])], "bbox"), 1, "dots").values()} == {None}
