"""Rows of pictures as points: means over pictures, and what figures are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import pytest
from icm_made import of_pictures, pictured

from icm_core.errors import SpecError
from icm_core.interfaces import Figure, Tally, TaskKind
from icm_core.kinds import Reconstruction
from icm_core.types import Legend
from icm_evaluation.figure_info import FigureInfo
from icm_evaluation.kinds import Kinds
from icm_evaluation.results import PictureRow, TaskInfo
from icm_evaluation.summary import points_of, summary_of

SIZES = [(50, 10), (100, 20)]


class Errors(Reconstruction):
    """Figures are the sums of what tallies hold by name; less is better, and the first one is the main one."""

    name: ClassVar[str] = "summed.errors"

    def figures(self, tallies: Sequence[Tally], legend: Legend) -> dict[str, Figure]:
        names = dict.fromkeys(name for tally in tallies for name in tally)
        return {
            name: Figure(sum(float(str(tally.get(name, 0))) for tally in tallies), legend.unit, "", False)
            for name in names
        }


class Summed(Kinds):
    """Where there are errors."""

    def get(self, name: str, where: str = "") -> TaskKind:
        return Errors() if name == "summed.errors" else super().get(name, where)


def task(kind: str = "reconstruction", **figures: FigureInfo) -> Mapping[str, TaskInfo]:
    return {"seen": TaskInfo(kind=kind, head="h", adapter="a", whole=False, unit="px", figures=figures)}


def of_errors(*tallies: Tally, clean: Tally | None = None) -> list[PictureRow]:
    own = {} if clean is None else {"seen": clean}
    return [pictured("a", SIZES[: len(tallies)], [{"seen": tally} for tally in tallies], clean=own)]


def test_rates_and_times_are_means_over_pictures_of_any_size_and_a_nought_counts() -> None:
    small = pictured("a", SIZES, of_pictures((30, 33)), 10, 10, seconds=(0.0, 0.5))
    large = pictured("b", [(400, 300), (800, 700)], of_pictures((31, 34)), 40, 20, seconds=(3.0, 2.5))
    points = points_of([small, large], task(), "file")
    assert [point.bpp for point in points] == pytest.approx([(4 + 4) / 2, (8 + 8) / 2])
    assert [point.base_bpp for point in points] == pytest.approx([(0.8 + 3) / 2, (1.6 + 7) / 2])
    assert [(point.encode_seconds, point.decode_seconds) for point in points] == [(1.5, 1.5), (1.5, 1.5)]
    only = points_of([pictured("a", SIZES, of_pictures((30, 33)), seconds=(0.25, 2.0))], task(), "file")[0]
    assert (only.encode_seconds, only.decode_seconds) == (0.25, 2.0)


def test_the_codecs_own_bytes_count_for_both_layers_alike() -> None:
    (point,) = points_of([pictured("a", SIZES[:1], of_pictures((30,)), 10, 10)], task(), "payload")
    assert point.bpp == point.base_bpp == pytest.approx(8 * 40 / 100)


def test_points_have_the_qualities_of_both_layers() -> None:
    points = points_of([pictured("a", SIZES, of_pictures((30, 33)), fixed=3)], task(), "file")
    assert [point.setting for point in points] == [(3, 1), (3, 2)]


def test_kinds_are_looked_up_where_they_are_given() -> None:
    rows = of_errors({"far": 2.5})
    assert points_of(rows, task("summed.errors"), "file", Summed())[0].tasks == {"seen": {"far": 2.5}}
    with pytest.raises(SpecError, match=r"unknown kind 'summed\.errors'"):
        points_of(rows, task("summed.errors"), "file", Kinds())


def test_a_figure_may_be_there_at_some_qualities_alone_and_is_described_all_the_same() -> None:
    rows = of_errors({"far": 2.5}, {"far": 2.0, "farther": 7.0})
    points, told = summary_of(rows, task("summed.errors"), "file", Summed())
    assert [point.tasks["seen"] for point in points] == [{"far": 2.5}, {"far": 2.0, "farther": 7.0}]
    assert [*told["seen"].figures] == ["far", "farther"]
    assert told["seen"].figures["farther"] == FigureInfo(title="farther", unit="px", higher_is_better=False)


def test_what_figures_are_is_said_by_the_kind_and_not_by_what_was_said_before() -> None:
    before = task("summed.errors", other=FigureInfo(title="another"))
    told = summary_of(of_errors({"far": 2.5}), before, "file", Summed())[1]
    assert [*told["seen"].figures] == ["far"]
    assert told["seen"] == before["seen"].model_copy(update={"figures": told["seen"].figures})


@pytest.mark.parametrize(("coded", "drop"), [(5.0, 2.0), (2.0, -1.0), (3.0, 0.0)])
def test_a_drop_of_errors_is_by_how_much_the_coded_ones_are_larger(coded: float, drop: float) -> None:
    rows = of_errors({"far": coded, "more": 1.0}, {"more": 1.0}, clean={"far": 3.0})
    first, second = points_of(rows, task("summed.errors"), "file", Summed())
    assert first.tasks["seen"] == {"far": coded, "more": 1.0, "clean": 3.0, "drop": drop}
    assert second.tasks["seen"] == {"more": 1.0, "clean": 3.0, "drop": None}


@pytest.mark.parametrize(("coded", "drop"), [(30.0, 3.0), (34.0, -1.0)])
def test_a_drop_is_by_how_much_less_there_is_where_more_is_better(coded: float, drop: float) -> None:
    row = pictured("a", SIZES[:1], of_pictures((coded,)), clean={"seen": {"psnr": 33.0, "ms_ssim": None}})
    (point,) = points_of([row], task(), "file")
    assert point.tasks["seen"] == {"psnr": coded, "ms_ssim": None, "clean": 33.0, "drop": drop}
