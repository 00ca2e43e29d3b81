"""What plots draw: rates to the right, figures upwards, others' points and levels where they belong."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import pytest
from icm_made import made, of_pictures, pictured
from PIL import Image

from icm_core.errors import InputError
from icm_evaluation.curves import curves_of
from icm_evaluation.gallery import Shot
from icm_evaluation.plots import (
    Line,
    Mark,
    Panel,
    clean_levels,
    curves_plot,
    figure,
    panels_of,
    pictures_figure,
    write_plot,
)
from icm_evaluation.report import columns_of, report
from icm_evaluation.results import Result
from icm_evaluation.styles import styles


@pytest.fixture
def axes() -> Any:
    """The axes of a panel with everything on it."""
    panel = Panel(
        "PSNR in dB",
        [Line("one", "one", [0.1, 0.4], [30, 36]), Line("two", "two", [0.2, 0.8], [31, 33])],
        [Mark("exactly", 0.5, 34), Mark("nearly", 0.25, 32.5, "~"), Mark("above", 0.125, 35, ">")],
        [("clean", 38.0)],
    )
    (found,) = figure([panel], "A title").axes
    return found


def test_lines_have_rates_to_the_right_and_figures_upwards(axes: Any) -> None:
    drawn = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()}
    assert drawn["one"] == ([0.1, 0.4], [30, 36]) and drawn["two"] == ([0.2, 0.8], [31, 33])
    assert (drawn["nearly"], drawn["clean"][1]) == (([0.25], [32.5]), [38.0, 38.0])
    assert axes.get_xscale() == "log" and axes.get_yscale() == "linear"
    assert axes.get_xlabel().startswith("bits per pixel") and axes.get_ylabel() == "PSNR in dB"


def test_others_points_say_how_exact_they_are(axes: Any) -> None:
    assert {text.get_text(): text.xy for text in axes.texts} == {
        "34": (0.5, 34),
        "about 32.5": (0.25, 32.5),
        "more than 35": (0.125, 35),
    }


def test_every_line_has_a_look_of_its_own(axes: Any) -> None:
    looks = {(line.get_color(), line.get_marker()) for line in axes.get_lines() if line.get_label() != "clean"}
    assert len(looks) == 5
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "one", "two", "exactly", "nearly", "above", "clean",
    ]  # fmt: skip


def test_panels_stand_two_by_two_and_there_is_nothing_in_a_place_without_one() -> None:
    panels = [Panel(name, [Line("one", "one", [0.1, 0.4], [30, 36])]) for name in ("a", "b", "c")]
    for count, grid in ((1, (1, 1)), (2, (1, 2)), (3, (2, 2))):
        axes = figure(panels[:count], "A title").axes
        assert [ax.get_ylabel() for ax in axes] == ["a", "b", "c"][:count]
        assert axes[-1].get_gridspec().get_geometry() == grid


def test_five_and_thirty_systems_have_looks_of_their_own() -> None:
    found = styles([(f"s{number}", f"s{number}") for number in range(35)])
    assert len({(look.colour, look.marker) for look in found.values()}) == 35
    assert len({(look.colour, look.symbol) for look in found.values()}) == 35


def test_the_pages_lines_look_as_those_on_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    plots: list[Any] = []
    monkeypatch.setattr("icm_evaluation.report._script_json", lambda value: plots.extend(value) or "[]")
    tallies = [{"a": {"psnr": 30, "ms_ssim": None}, "b": {"psnr": 31, "ms_ssim": None}}]
    kinds = {"a": "reconstruction", "b": "reconstruction"}
    both = [made(name, [pictured("p", [(99, 10)], tallies, 10, 10)], kinds) for name in ("one", "two")]
    report(both)
    looks = styles([(name, f"{name} {task}") for name in ("one", "two") for task in "ab"])
    assert {trace["name"]: (trace["line"]["color"], trace["line"]["dash"], trace["marker"]["symbol"])
            for trace in plots[0]["data"]} == {
        label: (look.colour, look.dash, look.symbol) for label, look in looks.items()
    }  # fmt: skip
    assert [look.dash for look in looks.values()] == ["solid", "dot", "solid", "dot"]


def test_a_name_cannot_end_the_pages_script() -> None:
    page = report([of_classes("a</script><i>b", 9)])
    assert "</script><i>" not in page and r"a\u003c/script>\u003ci>b" in page


def test_levels_differ_in_their_dashes() -> None:
    (ax,) = figure([Panel("a", [Line("one", "one", [0.1], [30])], levels=[("x", 38.0), ("y", 39.0)])], "t").axes
    dashes = {line.get_label(): tuple(line._unscaled_dash_pattern[1]) for line in ax.get_lines()[1:]}
    assert dashes == {"x": (1, 2), "y": (4, 2)}


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.svg", "a.Svg"])
def test_a_plots_name_ends_in_small_or_large_letters(tmp_path: Path, name: str) -> None:
    drawn = figure([Panel("a", [Line("one", "one", [0.1], [30])])], "t")
    write_plot(tmp_path / name, drawn)
    start = b"\x89PNG" if name.lower().endswith("png") else b"<?xml"
    assert (tmp_path / name).read_bytes().startswith(start)
    with pytest.raises(InputError, match=r"a\.pdf is no plot's name; it should end in \.png or \.svg"):
        write_plot(tmp_path / "a.pdf", drawn)


def test_tall_pictures_have_a_tall_figure() -> None:
    def sides(*size: int) -> tuple[float, float]:
        width, height = pictures_figure([[("a", Image.new("RGB", size))] * 2], "t", "n").get_size_inches()
        return float(width), float(height)

    assert sides(20, 60) == (pytest.approx(6.8), pytest.approx(3 * 3.4 + 0.7 + 0.8))
    assert sides(60, 20) == (pytest.approx(6.8), pytest.approx(3.4 / 3 + 0.7 + 0.8))


def of_classes(system: str, clean: int) -> Result:
    """mIoU of 60 and 80 % at 0.8 and 1.6 bits per pixel, and of so many correct pixels of ten each way, clean."""
    tallies = [{"it": {"confusion": found}} for found in ([3, 1, 1, 3], [8, 1, 1, 8])]
    own = {"it": {"confusion": [clean, 10 - clean, 10 - clean, clean]}}
    return made(system, [pictured("a", [(99, 10), (99, 20)], tallies, 10, 10, clean=own)], {"it": "segmentation"})


def test_panels_have_the_levels_of_all_their_curves() -> None:
    one, other = of_classes("one", 9), of_classes("other", 10)
    (panel,) = panels_of([one, other])
    assert [(line.label, list(line.rates), list(line.values)) for line in panel.lines] == [
        (name, pytest.approx([0.8, 1.6]), pytest.approx([60, 80])) for name in ("one", "other")
    ]
    assert panel.levels == [
        ("clean pictures, head of one", pytest.approx(100 * 9 / 11)),
        ("clean pictures, head of other", pytest.approx(100)),
    ]
    assert clean_levels([]) == []


def test_figures_of_one_name_share_a_panel_if_kind_and_unit_are_the_same() -> None:
    one, other = of_classes("one", 9), of_classes("other", 9)

    def changed(**more: Any) -> Result:
        about = other.tasks["it"].model_copy(update=more)
        return other.model_copy(update={"tasks": {"it": about}})

    figures = {"miou": other.tasks["it"].figures["miou"].model_copy(update={"unit": "m"})}
    shared = [[len(panel.lines) for panel in panels_of([one, second])] for second in (
        other, changed(kind="other.kind"), changed(figures=figures),
    )]  # fmt: skip
    assert shared == [[2], [1, 1], [1, 1]]


def test_the_page_plots_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    plots: list[Any] = []
    monkeypatch.setattr("icm_evaluation.report._script_json", lambda value: plots.extend(value) or "[]")
    report([of_classes("one", 9)])
    ((trace,), layout) = plots[0]["data"], plots[0]["layout"]
    assert (trace["x"], trace["y"]) == (pytest.approx([0.8, 1.6]), pytest.approx([60, 80]))
    assert layout["xaxis"]["type"] == "log" and "type" not in layout["yaxis"]
    level = pytest.approx(100 * 9 / 11)
    assert [(shape["y0"], shape["y1"], shape["x0"], shape["x1"]) for shape in layout["shapes"]] == [
        (level, level, 0, 1)
    ]
    assert [(note["text"], note["y"]) for note in layout["annotations"]] == [("clean pictures", level)]


def test_the_page_shows_large_pictures_smaller_and_leaves_them_as_they_are() -> None:
    def shown(picture: Image.Image) -> tuple[tuple[int, int], bool]:
        text = report([of_classes("one", 9)], shots=[Shot("a", picture, None, [])])
        (data,) = re.findall(r'src="data:image/webp;base64,([^"]+)"', text)
        return Image.open(io.BytesIO(base64.b64decode(data))).size, "at most 1200 pixels" in text

    large = Image.new("RGB", (1300, 26), "red")
    assert shown(large) == ((1200, 24), True) and large.size == (1300, 26)
    assert shown(Image.new("RGB", (40, 20), "red")) == ((40, 20), False)


def test_pictures_stand_in_the_order_of_their_rows() -> None:
    colours = ["red", "lime", "blue"]
    pictures = {colour: Image.new("RGB", (8, 4), colour) for colour in colours}
    rows = [[("a", pictures["red"]), ("b", None)], [("c", pictures["lime"]), ("d", pictures["blue"])]]
    drawn = pictures_figure(rows, "title", "note")
    seen = {ax.get_title(): [tuple(image.get_array()[0, 0][:3]) for image in ax.get_images()] for ax in drawn.axes}
    assert seen == {"a": [(255, 0, 0)], "b": [], "c": [(0, 255, 0)], "d": [(0, 0, 255)]}


def test_points_of_a_fine_picture_count_the_whole_file() -> None:
    rows = [pictured("a", [(50, 10), (100, 20)], of_pictures((30, 33)), 10, 10)]
    for whole, rates in ((("seen",), [4.0, 8.0]), ((), [0.8, 1.6])):
        (panel,) = panels_of([made("one", rows, whole=whole)])
        assert list(panel.lines[0].rates) == pytest.approx(rates)


def test_a_line_rises_in_its_rates_and_has_the_best_of_each() -> None:
    row = pictured("a", [(50, 20), (50, 10), (50, 20)], of_pictures((30, 31, 33)), 10, 10)
    (panel,) = panels_of([made("one", [row])])
    assert (panel.lines[0].rates, panel.lines[0].values) == ([0.8, 1.6], [31, 33])


def test_a_head_that_sees_nothing_on_clean_pictures_has_its_level() -> None:
    (curve,) = curves_of(of_classes("one", 0))
    assert clean_levels([curve]) == [("clean pictures", 0.0)]


def test_curves_of_two_data_sets_have_both_in_their_title() -> None:
    row = pictured("a", [(50, 10)], of_pictures((30,)), 10, 10)
    drawn = curves_plot([made("one", [row]), made("two", [row]), made("three", [row], name="far")])
    said = " ".join(drawn.get_suptitle().split())
    assert said == "made val, 1 pictures of 10x10; far val, 1 pictures of 10x10"


def test_rates_are_written_as_plain_numbers_at_one_two_and_five(axes: Any) -> None:
    ticks = [value for value in axes.xaxis.get_major_locator().tick_values(0.04, 3) if 0.04 < value < 3]
    assert ticks == pytest.approx([0.05, 0.1, 0.2, 0.5, 1, 2])
    write = axes.xaxis.get_major_formatter()
    assert [write(value, 0) for value in (0.05, 0.1, 0.5, 2.0, 20.0)] == ["0.05", "0.1", "0.5", "2", "20"]
    assert axes.xaxis.get_minor_formatter()(0.07, 0) == ""


@pytest.mark.parametrize(("entries", "wide"), [(6, 5.6), (7, 8.0)])
def test_a_long_legend_stands_beside_its_panel_each_label_once(entries: int, wide: float) -> None:
    lines = [Line("one", f"line {number}", [0.1, 0.4], [30, 36]) for number in range(entries - 2)]
    drawn = figure([Panel("a", lines, [Mark("m", 0.1, 30), Mark("m", 0.4, 36)], [("l", 35.0)][: entries - 6])], "t")
    (found,) = drawn.axes
    texts = [text.get_text() for text in found.get_legend().get_texts()]
    assert texts == [*(line.label for line in lines), "m", *["l"][: entries - 6]]
    assert drawn.get_size_inches().tolist() == [pytest.approx(wide), pytest.approx(4.7)]


def test_a_note_stands_under_all_panels_and_nothing_to_draw_is_told() -> None:
    drawn = figure([Panel("a", [Line("one", "one", [0.1], [30])])], "word " * 30, "a note " * 30)
    assert " ".join(drawn.get_supxlabel().split()) == " ".join(["a note"] * 30)
    assert " ".join(drawn.get_suptitle().split()) == " ".join(["word"] * 30)
    assert max(map(len, drawn.get_suptitle().split("\n"))) <= 62
    with pytest.raises(InputError, match="there is nothing to draw: no result has a figure"):
        figure([], "t")


def test_columns_of_the_pages_table_go_task_by_task_the_main_figure_first() -> None:
    tallies = [{"b": {"psnr": 30, "ms_ssim": None}, "a": {"confusion": [3, 1, 1, 3]}}]
    own = {"a": {"confusion": [9, 1, 1, 9]}}
    result = made("one", [pictured("p", [(99, 10)], tallies, clean=own)], {"b": "reconstruction", "a": "segmentation"})
    columns = columns_of(result)
    assert [(task, name) for task, name, _ in columns] == [
        ("b", "psnr"), ("b", "ms_ssim"), ("a", "miou"), ("a", "clean"), ("a", "drop"),
    ]  # fmt: skip
    assert [about.unit for _, _, about in columns] == ["dB", "", "%", "%", "%"]
