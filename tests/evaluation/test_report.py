"""Plots and the page: what they hold, and how the page looks in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icm_evaluation.curves import curves_of
from icm_evaluation.plots import Line, Panel, clean_levels, curves_plot, figure, plot_bytes
from icm_evaluation.results import read_result
from icm_evaluation.styles import styles

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), "")


@pytest.fixture(scope="module")
def page(site, measured, folder, tmp_path_factory) -> Path:
    """A page with two systems and one picture."""
    from typer.testing import CliRunner

    from icm_core.cli import app

    path = tmp_path_factory.mktemp("page") / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        arguments = ["report", *map(str, measured.values()), "-o", str(path), "--data", f"maps:{folder}"]
        result = CliRunner().invoke(app, [*arguments, "--pictures", "1", "--draws", "20", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    return path


def test_the_page_needs_nothing_else(page) -> None:
    body = re.sub(r"<script>/\*\*.*?</script>", "", page.read_text(), flags=re.DOTALL)  # plotly names addresses
    assert "<script>/**" in page.read_text()
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", body)


def test_the_page_holds_every_point_of_the_results(page, measured) -> None:
    (text,) = re.findall(r'<script type="application/json" id="plots">(.*?)</script>', page.read_text(), re.DOTALL)
    shown = {(trace["name"], x, y) for plot in json.loads(text) for trace in plot["data"]
             for x, y in zip(trace["x"], trace["y"], strict=True)}  # fmt: skip
    for path in measured.values():
        result = read_result(path)
        label = f"{result.system} coarse" if "fine" in result.tasks else result.system
        assert {(label, point.base_bpp, point.tasks["coarse"]["psnr"]) for point in result.points} <= shown


def test_pictures_are_within_the_bytes_of_their_step(page) -> None:
    text = page.read_text()
    steps = re.split(r'<div class="step', text)[1:]
    assert len(steps) == 4
    for step in steps:
        limit = int(re.search(r'data-title="([\d,]+) bytes', step)[1].replace(",", ""))
        sizes = [int(size.replace(",", "")) for size in re.findall(r"quality [\d.]+, ([\d,]+) bytes", step)]
        assert len(sizes) >= 3
        assert max(sizes) <= limit


@pytest.mark.skipif(not BROWSER, reason="no Chromium is on the PATH")
def test_a_browser_shows_the_page_without_complaint(page, tmp_path) -> None:
    shot = tmp_path / "page.png"
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
               "--virtual-time-budget=5000", "--window-size=1200,2400", f"--user-data-dir={tmp_path / 'profile'}",
               f"--screenshot={shot}", page.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert shot.exists(), done.stderr
    assert "CONSOLE" not in done.stderr
    with Image.open(shot) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    colours = set(map(tuple, pixels[::7].tolist()))
    assert len(colours) > 200
    # The colours of both systems' curves: plotly has drawn.
    assert {(0, 0x72, 0xB2), (0xD5, 0x5E, 0)} <= colours


def test_systems_differ_in_colour_and_marker_and_outputs_in_line() -> None:
    looks = styles([("a", "a"), ("b", "b coarse"), ("b", "b fine"), ("a", "a")])
    assert list(looks) == ["a", "b coarse", "b fine"]
    assert looks["a"].colour != looks["b fine"].colour
    assert looks["a"].marker != looks["b fine"].marker
    assert looks["b coarse"].colour == looks["b fine"].colour
    assert looks["b coarse"].line != looks["b fine"].line


def test_plots_are_drawn_and_the_same_each_time(measured) -> None:
    results = [read_result(path) for path in measured.values()]
    for suffix, start in ((".png", b"\x89PNG"), (".svg", b"<?xml")):
        blob = plot_bytes(curves_plot(results), suffix)
        assert blob.startswith(start)
        assert blob == plot_bytes(curves_plot(results), suffix)


def test_a_plot_names_its_axes_and_systems() -> None:
    drawn = figure([Panel("PSNR in dB", [Line("one", "one", [0.1, 0.2], [30, 31])], levels=[("clean", 33)])], "A title")
    text = plot_bytes(drawn, ".svg").decode()
    for words in ("A title", "PSNR in dB", "bits per pixel", "one"):
        assert f"<!-- {words}" in text


def test_figures_on_clean_pictures_are_levels_those_of_one_head_once(measured) -> None:
    (curve,) = (one for one in curves_of(read_result(measured["single"])) if one.metric == "miou")
    known = {"a": 0.0, "b": 0.04, "c": 50.0, "d": None}
    curves = [replace(curve, label=label, clean=clean) for label, clean in known.items()]
    assert clean_levels(curves[:2]) == [("clean pictures", 0.0)]
    assert clean_levels(curves) == [("clean pictures, head of a, b", 0.0), ("clean pictures, head of c", 50.0)]
    assert clean_levels(curves[3:]) == []


def test_a_plot_of_another_kind_is_refused(fail, measured, tmp_path) -> None:
    two = (measured["single"], measured["scalable"])
    assert "should end in .png or .svg" in fail("compare", *two, "--draws", 0, "--plot", tmp_path / "a.pdf")


def test_a_page_of_another_kind_is_refused(fail, measured, tmp_path) -> None:
    page = tmp_path / "page.txt"
    assert "should end with .html or .md" in fail("report", measured["single"], "--draws", 0, "-o", page)
    assert not page.exists()


def test_a_missing_package_is_answered_with_how_to_get_it(monkeypatch) -> None:
    import sys

    from icm_core.errors import InputError
    from icm_evaluation.extras import need

    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(
        InputError, match=r"plotly is not installed; get it with: pip install 'icm-framework\[evaluate\]'"
    ):
        need("plotly")


def test_a_markdown_page_holds_every_point_and_results_of_other_data(run, measured, measure, tmp_path) -> None:
    measure("single", kind="named")
    other = tmp_path / "single.json"
    run("report", *measured.values(), other, "-o", tmp_path / "results.md", "--draws", 0)
    text = (tmp_path / "results.md").read_text()
    assert text.count("### single") == 2
    assert "## named val, 5 pictures of 3 sizes" in text
    for point in read_result(measured["scalable"]).points:
        figures = point.tasks["segmentation"]
        cells = (f"{point.base_bpp:.4f} | {point.bpp:.4f} | ", f"{figures['miou']:.2f}", f"{point.quality:g}")
        assert any(all(cell in line for cell in cells) for line in text.splitlines())
    assert "| psnr | scalable coarse | single |" in text
    head = (
        "| quality | base bpp | whole bpp | segmentation miou, % | segmentation clean | segmentation drop | coarse psnr"
    )
    assert f"{head}, dB | coarse ms_ssim |" in text and text.endswith("\n") and not text.endswith("\n\n")
