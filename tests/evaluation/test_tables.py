"""The Markdown page: each number in the column of its name."""

from __future__ import annotations

import pytest
from icm_made import made, of_pictures, pictured

from icm_evaluation.cli.evaluate import _print
from icm_evaluation.compare import compare
from icm_evaluation.results import Result
from icm_evaluation.tables import page_of_tables, table


def cells(text: str, start: str) -> dict[str, str]:
    """The row that begins so, by the titles above it."""
    lines = text.splitlines()
    number = next(number for number, line in enumerate(lines) if line.startswith(f"| {start} |"))
    head = max(above for above in range(number) if lines[above + 1].startswith("| ---"))
    titles, values = ([cell.strip() for cell in lines[at].strip("|").split("|")] for at in (head, number))
    return dict(zip(titles, values, strict=True))


def test_every_number_of_a_point_stands_under_its_name() -> None:
    rows = [pictured("a", [(50, 10), (100, 20)], of_pictures((30.126, 33)), 10, 10, seconds=(1.25, 3.5))]
    assert cells(page_of_tables([made("one", rows)]), "1") == {
        "quality": "1",
        "base bpp": "0.8000",
        "whole bpp": "4.0000",
        "seen psnr, dB": "30.13",
        "seen ms_ssim": "-",
        "encode s": "1.25",
        "decode s": "3.50",
    }


def test_what_is_of_clean_pictures_has_the_unit_of_the_figure_beside_it() -> None:
    clean = {"it": {"confusion": [9, 1, 1, 9]}}
    rows = [pictured("a", [(50, 10)], [{"it": {"confusion": [3, 1, 1, 3]}}], 10, 10, clean=clean)]
    found = cells(page_of_tables([made("one", rows, {"it": "segmentation"})]), "1")
    assert [*found][3:6] == ["it miou, %", "it clean", "it drop"]
    assert [found[title] for title in [*found][3:6]] == ["60.00", "81.82", "21.82"]


def test_each_data_set_has_a_part_of_its_own() -> None:
    rows = [pictured("a", [(50, 10)], of_pictures((30,)), 10, 10)]
    page = page_of_tables([made("one", rows), made("two", rows, split="test"), made("three", rows)])
    assert [line for line in page.splitlines() if line.startswith("#")] == [
        "# Results", "## made val, 1 pictures of 10x10", "### one", "### three",
        "## made test, 1 pictures of 10x10", "### two",
    ]  # fmt: skip


def test_a_table_says_which_bytes_count_and_what_was_left_out() -> None:
    rows = [pictured("a", [(50, 10)], of_pictures((30,)), 10, 10)]
    own = made("one", rows, counted="payload", skipped={"boxes": "there are none", "depth": "nor any"}, workers=3)
    page = page_of_tables([own])
    assert "Rates count the codec's own file. cpu, fp32, 3 at work, torch 2, weights weights of one:" in page
    assert page.endswith("`icm evaluate`. Not measured: boxes: there are none. Not measured: depth: nor any.\n")
    assert "Rates count the .icm file." in page_of_tables([made("one", rows)])


def test_a_comparison_says_how_much_fewer_bits_and_how_much_better() -> None:
    """Half of the bits for the same PSNR; 3 dB for each doubling, of the half that both ranges of rates cover."""
    sizes, psnr = [100, 200, 400], of_pictures((30, 33, 36))
    anchor = made("anchor", [pictured("a", [(size, size) for size in sizes], psnr, 10, 10)])
    test = made("test", [pictured("a", [(size // 2, size // 2) for size in sizes], psnr, 10, 10)])
    text = page_of_tables([anchor, test], compare([anchor, test], count=0))
    assert cells(text, "psnr") == {
        "figure": "psnr",
        "anchor": "anchor",
        "test": "test",
        "BD-rate": "-50.0 %",
        "BD of the figure": "+3 dB",
        "overlap": "100%",
        "note": "",
    }
    assert "- test uses 50 % of anchor's bits at PSNR 33 dB" in text


def test_a_table_has_a_line_between_head_and_rows_with_a_part_for_each_column() -> None:
    assert table(["a", "b", "c"], [["1", "2", "3"]]) == "| a | b | c |\n| --- | --- | --- |\n| 1 | 2 | 3 |"
    assert table(["a"], []) == "| a |\n| --- |"


def test_a_share_that_both_cover_is_in_percent() -> None:
    def of(system: str, *psnr: float) -> Result:
        return made(system, [pictured("a", [(100, 100), (200, 200)], of_pictures(psnr), 10, 10)])

    results = [of("one", 30, 40), of("other", 36, 46)]
    assert cells(page_of_tables(results, compare(results, count=0)), "psnr")["overlap"] == "25%"


def test_what_was_measured_is_printed_each_number_under_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [pictured("a", [(50, 10), (100, 20)], of_pictures((30.126, 33)), 10, 10, seconds=(1.25, 3.5))]
    _print(made("one", rows, skipped={"boxes": "there are none", "depth": "nor any"}))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "one on made val, 1 pictures of 10x10"
    assert "q bpp base bpp seen psnr seen ms_ssim encode s decode s" in lines
    assert "1 4.0000 0.8000 30.13 - 1.25 3.50" in lines and "2 8.0000 1.6000 33.00 - 1.25 3.50" in lines
    assert lines[-2:] == ["not measured: boxes: there are none", "not measured: depth: nor any"]
