"""Results as a table of one row for each system, quality, task and figure; and results of some tasks alone."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from icm_made import made, of_pictures, pictured

from icm_core.errors import InputError
from icm_evaluation.results import read_result
from icm_evaluation.tidy import COLUMNS, tidy, write_tidy

DEPTHS = Path(__file__).parents[2] / "benchmarks/results/scenes/nyu/sicmh-scenes.json"


def number(cell: str) -> float | None:
    return float(cell) if cell else None


def test_compare_writes_every_figure_of_every_system(run, measured, tmp_path) -> None:
    run("compare", *measured.values(), "--draws", 0, "--csv", tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    expected = []
    for path in measured.values():
        result = read_result(path)
        for point in result.points:
            for task, figures in point.tasks.items():
                rate = point.bpp if result.tasks[task].whole else point.base_bpp
                for figure, value in figures.items():
                    own = None if figure == "clean" else rate
                    expected.append((result.system, point.quality, task, figure, own, value))
    seen = [
        (row["system"], float(row["quality"]), row["task"], row["figure"], number(row["bpp"]), number(row["value"]))
        for row in rows
    ]
    assert seen == expected  # numbers read back as the same
    assert {row["higher_is_better"] for row in rows if row["figure"] == "drop"} == {"false"}
    assert {row["seed"] for row in rows} == {""}


def test_a_table_says_both_qualities(run, measure, measured, tmp_path) -> None:
    measure("scalable", qualities=(1.0,), enhancement=(2.0, 4.0))
    run("compare", tmp_path / "scalable.json", measured["single"], "--draws", 0, "--csv", tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["system"] == "scalable+base1"]
    assert {(row["quality"], row["enhancement_quality"]) for row in rows} == {("1.0", "2.0"), ("1.0", "4.0")}


def test_only_the_tasks_that_were_asked_for_are_measured(measure) -> None:
    whole, some = measure(), measure(tasks=("fine", "segmentation"))
    assert set(some.tasks) == {"segmentation", "fine"} and not set(some.skipped) & {"coarse"}
    for point, same in zip(some.points, whole.points, strict=True):
        assert point.tasks == {name: same.tasks[name] for name in point.tasks}
    assert "--tasks fine,segmentation" in some.command


def test_a_task_that_the_pipeline_has_not_is_named_with_the_nearest(measure) -> None:
    with pytest.raises(InputError, match="unknown task 'segmentaton'; did you mean 'segmentation'"):
        measure(tasks=("segmentaton",))


def test_a_nought_is_no_empty_cell() -> None:
    rows = [pictured("a", [(50, 10)], of_pictures((0.0,)), 10, 10)]
    (psnr, ms_ssim) = csv.DictReader(io.StringIO(tidy([("ours", 0, made("ours", rows))])))
    assert (psnr["figure"], psnr["seed"], psnr["value"], psnr["bpp"]) == ("psnr", "0", "0.0", "0.8")
    assert (ms_ssim["figure"], ms_ssim["value"], ms_ssim["unit"]) == ("ms_ssim", "", "")


def test_a_table_says_of_each_figure_whether_more_is_better_and_of_each_system_its_seed() -> None:
    result = read_result(DEPTHS)
    rows = list(csv.DictReader(io.StringIO(tidy([("ours", 7, result), ("theirs", None, result)]))))
    said = {row["figure"]: row["higher_is_better"] for row in rows}
    assert (said["abs_rel"], said["rmse"], said["delta1"]) == ("false", "false", "true")
    assert {(row["system"], row["seed"]) for row in rows} == {("ours", "7"), ("theirs", "")}


def test_a_table_that_cannot_be_written_is_told_and_an_earlier_one_stays(tmp_path: Path) -> None:
    rows = [pictured("a", [(50, 10)], of_pictures((30.0,)))]
    named = [("oürs", 0, made("ours", rows))]
    with pytest.raises(InputError, match=r"^cannot write .*a\.csv: No such file or directory$"):
        write_tidy(tmp_path / "none" / "a.csv", named)
    path = tmp_path / "a.csv"
    path.write_text("earlier")
    path.chmod(0o400)  # it is replaced, not written over
    write_tidy(path, named)
    assert path.read_bytes() == tidy(named).encode() and b"o\xc3\xbcrs,0,made" in path.read_bytes()
    assert [one.name for one in tmp_path.iterdir()] == ["a.csv"]
