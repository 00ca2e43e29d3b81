"""What is written of an ablation, from results whose every number is known."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from icm_made import made, of_pictures, pictured

from icm_evaluation.ablated import NAMES, page, panels, summary, write_summary
from icm_evaluation.ablation import Job
from icm_evaluation.results import Result
from icm_evaluation.variants import Variant

CLASSES = {"it": "segmentation"}


def jobs(names: Sequence[str], seeds: Sequence[int]) -> list[Job]:
    """Every variant with every seed; a variant says its own name."""
    return [
        Job(Variant(name, {"head": name}, None), seed, Path(name))  # type: ignore[arg-type]
        for name in names
        for seed in seeds
    ]


def of_psnr(*psnr: float, sizes: Sequence[tuple[int, int]] = ((50, 10), (100, 20)), **more: Any) -> Result:
    """One picture of 100 pixels: 4 and 8 bits a pixel, of which 0.8 and 1.6 are the base layer's."""
    return made("one", [pictured("a", sizes, of_pictures(psnr), 10, 10)], **more)


def of_classes(*right: int) -> Result:
    """So many of each ten pixels of two classes are right, at each quality, and nine of clean pictures."""
    tallies = [{"it": {"confusion": [own, 10 - own, 10 - own, own]}} for own in right]
    clean = {"it": {"confusion": [9, 1, 1, 9]}}
    sizes = [(99, 10 * (1 + number)) for number in range(len(right))]
    return made("one", [pictured("a", sizes, tallies, 10, 10, clean=clean)], CLASSES)


def as_file(found: dict[str, Any]) -> dict[str, Any]:
    """As it is read from ablation.json."""
    read: dict[str, Any] = json.loads(json.dumps(found))
    return read


def before(found: dict[str, Any]) -> dict[str, Any]:
    """As it was written before figures described themselves."""
    return {key: value for key, value in as_file(found).items() if key != "tasks"}


def test_all_five_files_are_written_and_the_table_of_rows_knows_the_seeds(tmp_path: Path) -> None:
    own = jobs(["one", "two"], [3, 5])
    results = [of_psnr(30 + number, 34) for number in range(4)]
    paths = write_summary(tmp_path, own, results, "icm ablate x")
    assert [path.name for path in paths] == list(NAMES)
    assert {path.name for path in tmp_path.iterdir()} == set(NAMES)
    found = summary(own, results, "icm ablate x")
    assert json.loads(paths[0].read_text()) == as_file(found) and paths[0].read_bytes().endswith(b"}\n")
    assert paths[1].read_text() == page(found)
    with paths[2].open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["figure"] == "psnr" and row["quality"] == "1.0"]
    assert [(row["system"], row["seed"], row["value"]) for row in rows] == [
        ("one", "3", "30.0"), ("one", "5", "31.0"), ("two", "3", "32.0"), ("two", "5", "33.0"),
    ]  # fmt: skip
    assert paths[3].read_bytes().startswith(b"\x89PNG") and paths[4].read_bytes().startswith(b"<?xml")


def test_a_page_says_data_seeds_device_and_command() -> None:
    result = of_psnr(30, 34, device="a big one")
    found = summary(jobs(["one", "two"], [5, 3]), [result] * 4, "icm ablate x")
    assert (found["seeds"], found["device"], found["command"]) == ([3, 5], "a big one", "icm ablate x")
    assert page(found).endswith("\n\nmade val, 1 pictures of 10x10; seeds 3, 5; a big one: `icm ablate x`.\n")


def test_seeds_that_agree_have_a_spread_of_nought_and_one_alone_has_none() -> None:
    same = page(summary(jobs(["one"], [1, 2]), [of_psnr(30, 34)] * 2, "how"))
    assert "| one | 1 | 0.8000 | 30.00 ± 0.00 | - |" in same
    apart = page(summary(jobs(["one"], [1, 2]), [of_psnr(30, 34), of_psnr(34, 34)], "how"))
    assert "| one | 1 | 0.8000 | 32.00 ± 2.83 | - |" in apart
    assert "| one | 1 | 0.8000 | 30.00 | - |" in page(summary(jobs(["one"], [1]), [of_psnr(30, 34)], "how"))


def test_the_head_on_clean_pictures_stands_behind_its_main_figure() -> None:
    text = page(summary(jobs(["one"], [1]), [of_classes(3, 8)], "how"))
    assert text.splitlines()[0] == "| variant | quality | base bpp | it mIoU % | it mIoU %, clean |"
    # Of each class, 8 of 12 pixels that are of it or were called so, and 9 of 11.
    assert text.splitlines()[3] == "| one | 2 | 1.6000 | 66.67 | 81.82 |"


def test_a_figure_that_is_nought_is_drawn_and_one_that_is_not_known_is_not() -> None:
    found = summary(jobs(["one"], [1]), [of_psnr(0, 3)], "how")
    (psnr,) = panels(found)
    assert psnr.axis == "PSNR in dB"
    ((line),) = psnr.lines
    assert (line.system, line.label) == ("one", "one seen")
    assert (line.rates, line.values) == ([0.8, 1.6], [0, 3])
    found["variants"]["one"]["points"][0]["tasks"]["seen"]["psnr"]["mean"] = None
    assert (panels(found)[0].lines[0].rates, panels(found)[0].lines[0].values) == ([1.6], [3])


def test_a_figure_that_is_known_at_a_higher_quality_alone_has_its_column() -> None:
    found = before(summary(jobs(["one", "two"], [1]), [of_psnr(30, 34)] * 2, "how"))
    for name, quality in (("one", 0), ("one", 1), ("two", 0)):
        del found["variants"][name]["points"][quality]["tasks"]["seen"]["ms_ssim"]
    head, _, *rows = page(found).splitlines()
    assert head == "| variant | quality | base bpp | seen PSNR dB | seen MS-SSIM |"
    assert rows[:4] == [
        "| one | 1 | 0.8000 | 30.00 | - |", "| one | 2 | 1.6000 | 34.00 | - |",
        "| two | 1 | 0.8000 | 30.00 | - |", "| two | 2 | 1.6000 | 34.00 | - |",
    ]  # fmt: skip


@pytest.mark.parametrize("earlier", [False, True])
def test_the_fine_picture_is_drawn_over_whole_files_in_earlier_ablations_too(earlier: bool) -> None:
    tallies = [{"coarse": own["seen"], "fine": own["seen"]} for own in of_pictures((30, 34))]
    kinds = dict.fromkeys(("coarse", "fine"), "reconstruction")
    row = pictured("a", [(50, 10), (100, 20)], tallies, 10, 10)
    found = summary(jobs(["one"], [1]), [made("one", [row], kinds, whole=("fine",))], "how")
    drawn = panels(before(found) if earlier else as_file(found))
    assert {panel.lines[0].label: panel.lines[0].rates for panel in drawn} == {
        "one coarse": [0.8, 1.6], "one fine": [4.0, 8.0],
    }  # fmt: skip


def test_an_earlier_ablation_has_the_columns_of_a_new_one() -> None:
    found = summary(jobs(["one", "two"], [1, 2]), [of_classes(3, 8)] * 4, "how")
    assert page(before(found)) == page(as_file(found))
