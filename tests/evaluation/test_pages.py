"""Pages and figures from the command line: what is read, measured, shown, and handed on."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from icm_made import made, of_pictures, pictured
from PIL import Image

from icm_evaluation.compare import compare
from icm_evaluation.gallery import Cell, Shot, Step
from icm_evaluation.options import Options
from icm_evaluation.report import report
from icm_evaluation.results import Result, write_result

Run = Callable[..., str]


def of(system: str, *sizes: int, psnr: Sequence[float] = (30, 33, 36), **more: Any) -> Result:
    """One picture of 100 pixels, whose base layer has half of the bytes."""
    row = pictured("a", [(size, size // 2) for size in sizes], of_pictures(psnr), 10, 10, seconds=(1.25, 3.5))
    return made(system, [row], **{"whole": ("seen",), **more})


ANCHOR, TEST = of("anchor", 100, 200, 400), of("test", 50, 100, 200, weights="other")


def rows_of(page: str) -> list[list[str]]:
    """Cells of the page's tables, row by row."""
    return [
        [re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    ]


def test_the_page_has_every_number_under_its_name() -> None:
    shown = report([of("one", 40, 80, 160, workers=3, skipped={"boxes": "there are none"})])
    head, first, *_ = rows_of(shown)
    assert dict(zip(head, first, strict=True)) == {
        "quality": "1",
        "base bpp": "1.6000",
        "whole bpp": "3.2000",
        "seen psnr, dB": "30.00",
        "seen ms_ssim": "-",
        "encode": "1.25 s",
        "decode": "3.50 s",
    }
    words = " ".join(shown.split())
    assert "<h2>made val, 1 pictures of 10x10</h2>" in words and "<h3>one</h3>" in words
    assert "cpu, fp32, 3 processes; weights weights of one; torch 2." in words
    assert "Not measured: boxes: there are none." in words and "<h2>Comparison</h2>" not in words
    assert "1 process;" in " ".join(report([ANCHOR]).split())


def test_the_page_has_each_interval_beside_its_value_and_a_sentence() -> None:
    comparisons = compare([ANCHOR, TEST], count=5)
    shown = report([ANCHOR, TEST], comparisons)
    number = next(number for number, row in enumerate(rows_of(shown)) if row[:2] == ["figure", "anchor"])
    assert rows_of(shown)[number + 1] == [
        "psnr", "anchor", "test", "-50.0 %", "-50.0 to -50.0", "+3 dB", "+3 to +3", "100 %", "",
    ]  # fmt: skip
    assert "<p>test uses 50 % of anchor&#39;s bits at PSNR 33 dB (95 %: 50 to 50 %).</p>" in shown
    without = rows_of(report([ANCHOR, TEST], compare([ANCHOR, TEST], count=0)))[number + 1]
    assert without == ["psnr", "anchor", "test", "-50.0 %", "", "+3 dB", "", "100 %", ""]


def test_the_page_shows_each_step_with_its_bytes_and_what_cannot_be_so_small() -> None:
    original = Image.new("RGB", (40, 20), "red")
    cells = [Cell("one: fine", "reconstruction", original, "quality 2"), Cell("two", "", None, "cannot be so small")]
    steps = [Step("few", 1000, 10.0, cells), Step("many", 2500, 25.0, cells[:1])]
    shown = report([ANCHOR], shots=[Shot("a", original, original, steps)])
    titles = re.findall(r'<div class="step( shown)?" data-title="([^"]*)"', shown)
    assert titles == [(" shown", "1,000 bytes, 10.000 bpp: few"), ("", "2,500 bytes, 25.000 bpp: many")]
    assert re.findall(r'alt="([^"]*)"', shown) == ["a, the original", "a, its annotation", *["one: fine of a"] * 2]
    assert shown.count("quality 2<") == 2 and shown.count(">cannot be so small</div>") == 1
    assert 'max="1"' in shown and "its annotation" not in report([ANCHOR], shots=[Shot("a", original, None, [])])


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Files of two results; the second system searches."""
    found = []
    for result in (ANCHOR, of("test+search3", 50, 100, 200, weights="other", effort=3)):
        found.append(tmp_path / f"{result.model}.json")
        write_result(found[-1], result)
    return found


def test_a_markdown_page_compares_with_the_anchor_that_is_named(run: Run, paths: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "page.MD"
    assert run("report", *paths, "--draws", 0, "-o", page) == f"page: {page}\n"
    assert "| psnr | anchor | test+search3 | -50.0 % |" in page.read_text()
    run("report", *paths, "--draws", 0, "--anchor", "test+search3", "-o", page)
    assert "| psnr | test+search3 | anchor | +100.0 % |" in page.read_text()


@pytest.mark.parametrize("models", [(), ("-m", "b,a", "-m", "c")])
def test_pictures_of_the_page_are_spread_and_of_the_models_that_are_named_else_of_the_results(
    run: Run, paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: tuple[str, ...]
) -> None:
    asked: list[Any] = []

    def opened(data: str, split: str, registry: object, params: object) -> Any:
        asked.append((data, split, params))
        return range(10)

    def loaded(name: str, *, device: str, registry: object) -> Any:
        asked.append((name, device))
        return SimpleNamespace(name=name)

    def shoot(pipes: Any, data: Any, number: int, **more: Any) -> Shot:
        asked.append(([pipe.name for pipe in pipes], number))
        return Shot(f"picture {number}", Image.new("RGB", (4, 4)), None, [])

    monkeypatch.setattr("icm_core.load", loaded)
    monkeypatch.setattr("icm_core.plugins.datasets.open_dataset", opened)
    monkeypatch.setattr("icm_evaluation.gallery.shoot", shoot)
    data = ("--data", "made:folder", "--split", "test", "--data-params", '{"size": 3}', "--pictures", 4)
    run("report", *paths, "--draws", 0, *data, *models, "--device", "cpu", "-o", tmp_path / "page.html")
    names = ["b", "a", "c"] if models else ["anchor", "test"]
    assert asked == [
        ("made:folder", "test", {"size": 3}),
        *((name, "cpu") for name in names),
        *((names, number) for number in (0, 2, 5, 7)),
    ]
    keys = re.findall(r"<h3>(picture \d)", (tmp_path / "page.html").read_text())
    assert keys == [f"picture {number}" for number in (0, 2, 5, 7)]


def test_a_page_compares_with_the_anchor_that_is_named_over_so_many_draws(
    run: Run, paths: list[Path], tmp_path: Path
) -> None:
    for draws, interval in ((0, ""), (5, "+100.0 to +100.0")):
        run("report", *paths, "--draws", draws, "--anchor", "test+search3", "-o", tmp_path / "page.html")
        rows = [row for row in rows_of((tmp_path / "page.html").read_text()) if row[:1] == ["psnr"]]
        assert [row[:5] for row in rows] == [["psnr", "test+search3", "anchor", "+100.0 %", interval]]


def test_what_is_missing_for_a_figure_is_measured_as_it_was_asked_for(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Options, Path]] = []
    drawn: list[Any] = []

    def measured(options: Options, path: Path, **_: Any) -> Result:
        asked.append((options, path))
        result = of(Path(options.model).stem, 10 + len(asked), 50, 90, weights=options.model)
        write_result(path, result)
        return result

    def draws(name: str, figure: Any, material: Any, folder: Path) -> list[Path]:
        drawn.append((name, [result.system for result in material.results], material.models, folder))
        return [folder / f"{name}.png"]

    monkeypatch.setattr("icm_evaluation.run.evaluate", measured)
    monkeypatch.setattr("icm_evaluation.reproduce.draw", draws)
    given = tmp_path / "given.json"
    write_result(given, ANCHOR)
    out = tmp_path / "out"
    words = ("--results", given, "--data", "made:folder", "--split", "test", "--limit", 7, "--workers", 2)
    more = ("-m", "dir/own.json,b", "--data-params", '{"size": 3}', "--device", "cpu", "-o", out)
    said = run("reproduce", "fig16", "sec6.2", *words, *more)
    about = {"params": '{"size": 3}', "split": "test", "limit": 7, "workers": 2, "device": "cpu"}
    assert asked == [
        (Options("dir/own.json", "made:folder", **about), out / "own.made.json"),  # type: ignore[arg-type]
        (Options("b", "made:folder", **about), out / "b.made.json"),  # type: ignore[arg-type]
    ]
    systems = ["anchor", "own", "b"]
    assert drawn == [(name, systems, ["dir/own.json", "b"], out) for name in ("fig16", "sec6.2")]
    assert said == f"fig16: {out / 'fig16.png'}\nsec6.2: {out / 'sec6.2.png'}\n"


def test_costs_alone_measure_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def draws(name: str, *_: object) -> list[Path]:
        drawn.append(name)
        return []

    monkeypatch.setattr("icm_evaluation.run.evaluate", lambda *_, **__: pytest.fail("nothing is to be measured"))
    monkeypatch.setattr("icm_evaluation.reproduce.draw", draws)
    run("reproduce", "sec6.2", "--data", "made:folder", "-m", "b", "-o", tmp_path / "out")
    assert drawn == ["sec6.2"] and not (tmp_path / "out").exists()
