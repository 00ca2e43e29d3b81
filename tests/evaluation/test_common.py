"""Systems that were measured on different numbers of pictures stand in one plot over those that they have in common."""

from __future__ import annotations

import re

import pytest
from icm_made import made, of_pictures, pictured

from icm_evaluation.common import by_pictures, in_common
from icm_evaluation.compare import compare, compare_by_data
from icm_evaluation.report import report
from icm_evaluation.results import Result, read_result, write_result


@pytest.fixture
def results(measure, measured):
    """Five pictures of one system, two of the other."""
    return [read_result(measured["scalable"]), measure("single", qualities=None, limit=2)]


def test_figures_over_common_pictures_are_those_of_measuring_these_alone(results, measure) -> None:
    ours, other = in_common(results)
    alone = measure("scalable", qualities=None, limit=2)
    assert [row.key for row in ours.pictures] == [row.key for row in other.pictures]
    assert ours.data == alone.data
    for point, same in zip(ours.points, alone.points, strict=True):
        assert (point.bpp, point.base_bpp) == pytest.approx((same.bpp, same.base_bpp))
        for task, figures in same.tasks.items():
            assert point.tasks[task] == pytest.approx(figures)
    assert other is results[1]


def test_times_are_means_of_the_common_pictures(results) -> None:
    ours = in_common(results)[0]
    assert len(ours.pictures) == 2
    for index, point in enumerate(ours.points):
        first, second = (row.points[index] for row in ours.pictures)
        assert point.encode_seconds == pytest.approx((first.encode_seconds + second.encode_seconds) / 2)
        assert point.decode_seconds == pytest.approx((first.decode_seconds + second.decode_seconds) / 2)
        assert point.encode_seconds != point.decode_seconds


def test_results_of_the_same_pictures_stay_what_they_are(measured) -> None:
    same = [read_result(path) for path in measured.values()]
    assert all(one is other for one, other in zip(in_common(same), same, strict=True))


def test_they_share_a_group_and_are_compared_in_it(results) -> None:
    ((data, group),) = by_pictures(results).items()
    assert "2 of 5 pictures" in data and [result.system for result in group] == ["scalable", "single"]
    found, expected = compare_by_data(results, count=0), compare(in_common(results), count=0)
    assert found == expected and found


def test_they_share_the_reports_plots(results) -> None:
    page = report(results)
    assert len(re.findall(r"<h2", page)) == 1 and "2 of 5 pictures" in page


def test_without_a_picture_in_common_they_stay_apart(measure, results) -> None:
    first, other = results
    apart = first.model_copy(update={"pictures": [row for row in first.pictures if row.key != other.pictures[0].key
                                                  and row.key != other.pictures[1].key]})  # fmt: skip
    assert in_common([apart, other]) == []
    assert sum(map(len, by_pictures([apart, other]).values())) == 2


def test_another_size_or_split_is_another_group(results) -> None:
    first, other = results
    split = other.model_copy(update={"data": other.data.model_copy(update={"split": "test"})})
    assert len(by_pictures([first, split])) == 2
    params = other.model_copy(update={"data": other.data.model_copy(update={"params": {"size": 16}})})
    assert len(by_pictures([first, params])) == 2


def test_a_picture_is_in_common_at_one_size_alone() -> None:
    def of(system: str, *sizes: tuple[int, int]) -> Result:
        rows = [pictured(f"p{at}", [(50, 10)], of_pictures((30.0 + at,)), *size) for at, size in enumerate(sizes)]
        return made(system, rows)

    one, other = of("one", (10, 20), (10, 20), (30, 20)), of("other", (10, 20), (20, 10), (30, 20))
    found = in_common([one, other])
    assert [[own.key for own in result.pictures] for result in found] == [["p0", "p2"]] * 2
    assert found[0].points[0].tasks["seen"]["psnr"] == pytest.approx(31.0)
    assert found[0].data.sizes == {"10x20": 1, "30x20": 1}
    # Pictures of one size and of several are two data sets, whatever they have in common.
    apart = by_pictures([of("one", (10, 20), (10, 20)), of("other", (10, 20), (20, 10))])
    assert [len(result.pictures) for some in apart.values() for result in some] == [2, 2] and len(apart) == 2
    # Of one size each, they are two data sets.
    assert len(by_pictures([of("one", (10, 20)), of("other", (20, 10))])) == 2


def test_common_pictures_are_counted_by_their_size() -> None:
    def of(system: str, *keys: str) -> Result:
        sizes = {"a": (10, 20), "b": (10, 20), "c": (30, 20), "d": (10, 20)}
        return made(system, [pictured(key, [(50, 10)], of_pictures((30.0,)), *sizes[key]) for key in keys])

    found = in_common([of("one", *"abcd"), of("other", *"abc")])
    assert [result.data.sizes for result in found] == [{"10x20": 2, "30x20": 1}] * 2


def test_the_papers_figures_are_drawn_over_common_pictures(results, run, tmp_path) -> None:
    paths = []
    for result in results:
        paths += ["--results", tmp_path / f"{result.system}-result.json"]
        write_result(paths[-1], result)
    run("reproduce", "fig13", *paths, "-o", tmp_path / "figures")
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"fig13.png", "fig13.svg"}
    assert "2 of 5 pictures" in " ".join((tmp_path / "figures" / "fig13.svg").read_text().split())
