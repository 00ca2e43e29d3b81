"""How a figure of merit is read."""

from __future__ import annotations

import pytest

from icm_core.interfaces import Figure
from icm_evaluation.figure_info import FigureInfo


def test_a_value_has_its_decimals_and_nothing_but_an_unknown_one_is_a_dash() -> None:
    about = FigureInfo(title="t", digits=3)
    assert [about.text(value) for value in (None, 0.0, -1.0, 12.34567)] == ["-", "0.000", "-1.000", "12.346"]
    assert FigureInfo(title="t").text(0.0) == "0.00" and FigureInfo(title="t", digits=0).text(0.0) == "0"


@pytest.mark.parametrize(
    ("unit", "better", "axis"),
    [("dB", True, "PSNR in dB"), ("", True, "PSNR"), ("px", False, "PSNR in px, less is better")],
)
def test_an_axis_says_unit_and_where_less_is_better(unit: str, better: bool, axis: str) -> None:
    assert FigureInfo(title="PSNR", unit=unit, higher_is_better=better).axis == axis


def test_a_value_in_a_sentence_has_four_figures_and_its_unit() -> None:
    assert FigureInfo(title="t", unit="dB").with_unit(31.2345) == "31.23 dB"
    assert FigureInfo(title="t").with_unit(0.012345) == "0.01235"


def test_a_figure_is_described_as_its_kind_says() -> None:
    assert FigureInfo.of("near", Figure(None, "px", "median distance", False, 3)) == FigureInfo(
        title="median distance", unit="px", higher_is_better=False, digits=3
    )
    assert FigureInfo.of("near", Figure(1.0)) == FigureInfo(title="near", unit="", higher_is_better=True, digits=2)
