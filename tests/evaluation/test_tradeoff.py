"""Figure and page of Sec. 6.1."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from icm_made import made, of_pictures, pictured

from icm_core.errors import InputError
from icm_evaluation.papers import Tradeoff, paper
from icm_evaluation.reproduce import Material, draw
from icm_evaluation.results import Result
from icm_evaluation.tradeoff import page, panels_of_tasks, tradeoffs


@pytest.fixture
def wanted() -> Tradeoff:
    found = paper().figures["sec6.1"]
    assert isinstance(found, Tradeoff)
    return found


def tasks() -> list[Result]:
    """mIoU 60 and 80 % at 0.8 and 1.6 bpp, top-1 50 and 100 % at 1.2 and 2.4, of pictures of 100 pixels."""
    maps = [{"classes": {"confusion": [3, 1, 1, 3]}}, {"classes": {"confusion": [8, 1, 1, 8]}}]
    road = made(
        "ours", [pictured("a", [(99, 10), (99, 20)], maps, 10, 10)], {"classes": "segmentation"}, kind="segmentation"
    )
    hits = [[{"what": {"top1": hit, "top5": True}} for hit in own] for own in ((True, True), (False, True))]
    rows = [pictured(key, [(99, 15), (99, 30)], own, 10, 10) for key, own in zip("ab", hits, strict=True)]
    return [road, made("ours", rows, {"what": "classification"}, kind="classification", name="objects")]


def fixed(base: int, *points: tuple[int, float]) -> Result:
    """Fine pictures of so many bytes and PSNR over a base layer of 1000 pixels."""
    own = pictured("a", [(size, base) for size, _ in points], of_pictures([v for _, v in points]), 100, 10, fixed=2)
    return made(f"ours+base{base}", [own], whole=("seen",), name=f"road{base}")


def test_a_panel_has_our_figures_over_our_rates_and_the_papers_sets_as_marks(wanted: Tradeoff) -> None:
    road, objects = panels_of_tasks(wanted, tradeoffs("sec6.1", wanted, tasks()))
    (line,) = road.lines
    assert (line.rates, line.values) == (pytest.approx([0.8, 1.6]), pytest.approx([60, 80]))
    assert [(mark.rate, mark.value) for mark in road.marks] == [(0.08, 49), (0.18, 53), (0.3, 57)]
    (line,) = objects.lines
    assert (line.rates, line.values) == (pytest.approx([1.2, 2.4]), pytest.approx([50, 100]))
    assert [(mark.rate, mark.value) for mark in objects.marks] == [(0.08, 69), (0.18, 75), (0.3, 78)]
    assert ["Cityscapes" in road.marks[0].label, "ImageNet" in objects.marks[0].label] == [True, True]


def as_of(name: str, results: list[Result], **more: Any) -> list[Result]:
    """The same results of another system, in other bytes."""
    found = []
    for result in results:
        rows = [
            row.model_copy(update={"points": [one.model_copy(update={"payload_bytes": 7}) for one in row.points]})
            for row in result.pictures
        ]
        found.append(result.model_copy(update={"system": name, "weights": name, "pictures": rows, **more}))
    return found


def test_only_systems_that_were_measured_for_both_tasks_are_shown(wanted: Tradeoff) -> None:
    ours, theirs = tasks(), as_of("theirs", tasks())
    assert [one.model for one in tradeoffs("sec6.1", wanted, [*theirs, *ours])] == ["theirs", "ours"]
    assert [one.model for one in tradeoffs("sec6.1", wanted, [theirs[0], *ours])] == ["ours"]
    with pytest.raises(InputError, match="'ours' has segmentation alone; 'theirs' has classification alone"):
        tradeoffs("sec6.1", wanted, [ours[0], theirs[1]])
    with pytest.raises(InputError, match="there are none of either"):
        tradeoffs("sec6.1", wanted, [])


def test_fine_pictures_are_those_of_the_system(wanted: Tradeoff) -> None:
    theirs = as_of("theirs", tasks())
    both = tradeoffs("sec6.1", wanted, [fixed(10, (30, 20.0), (50, 31.0)), *tasks(), *theirs])
    assert [(one.model, len(one.fixed)) for one in both] == [("ours", 1), ("theirs", 0)]


def test_another_encoder_or_a_search_makes_another_system(wanted: Tradeoff) -> None:
    deep = as_of("ours+deep", tasks(), encoder="deep")
    searched = as_of("ours+search8", tasks(), effort=8, searched=["it"])
    found = tradeoffs("sec6.1", wanted, [*tasks(), *deep, *searched])
    assert [one.model for one in found] == ["ours", "ours+deep", "ours+search8"]


def test_tasks_are_taken_from_results_of_one_quality_and_fine_pictures_from_those_of_two(wanted: Tradeoff) -> None:
    maps = [{"classes": {"confusion": [9, 1, 1, 9]}}] * 2
    row = pictured("a", [(99, 10), (120, 10)], maps, 10, 10, fixed=2)
    own = made("ours+base2", [row], {"classes": "segmentation"}, kind="segmentation")
    fine = made("ours", [pictured("a", [(99, 10), (200, 20)], of_pictures((30, 33)), 10, 10)], whole=("seen",))
    (found,) = tradeoffs("sec6.1", wanted, [own, fine, *tasks()])
    assert found.curves["segmentation"].values == pytest.approx((60, 80)) and found.fixed == ()


def test_each_task_has_its_own_rate_at_a_quality(wanted: Tradeoff) -> None:
    text = page(wanted, tradeoffs("sec6.1", wanted, tasks()))
    assert "| 1 | 0.8000 | 60.00 % | 1.2000 | 50.00 % |\n| 2 | 1.6000 | 80.00 % | 2.4000 | 100.00 % |" in text
    assert "The fine picture at a fixed base layer was not measured." in text


def test_what_a_base_layer_leaves_is_told_by_rising_side_rates_and_nothing_is_extrapolated(wanted: Tradeoff) -> None:
    """Of 1000 pixels: bytes times 0.008 are bits per pixel."""
    three = [
        fixed(50, (75, 35.0), (100, 40.0)),  # base 0.4, measured from 0.6 to 0.8
        fixed(10, (30, 20.0), (50, 31.0)),  # base 0.08, measured from 0.24 to 0.4
        fixed(20, (40, 25.0), (200, 45.0)),  # base 0.16, measured from 0.32 to 1.6
    ]
    text = page(wanted, tradeoffs("sec6.1", wanted, [*tasks(), *three]))
    rows = [line.split(" | ")[1:] for line in text.splitlines() if "made" not in line and ", road" in line][-3:]
    between = 25 + 20 * (0.35 - 0.32) / 1.28, 25 + 20 * (0.75 - 0.32) / 1.28
    low = 20 + 11 * (0.35 - 0.24) / 0.16
    high = 35 + 5 * (0.75 - 0.6) / 0.2
    assert rows == [
        ["0.27", f"{low:.2f} dB", "0.67", "measured from 0.24 to 0.40 bpp |"],
        ["0.19", f"{between[0]:.2f} dB", "0.59", f"{between[1]:.2f} dB |"],
        ["none left", "measured from 0.60 to 0.80 bpp", "0.35", f"{high:.2f} dB |"],
    ]


def test_a_quality_that_one_task_alone_has_is_a_row_and_a_nought_is_a_number(wanted: Tradeoff) -> None:
    maps = [{"classes": {"confusion": found}} for found in ([0, 4, 4, 0], [8, 1, 1, 8], [9, 1, 1, 9])]
    road = made(
        "ours", [pictured("a", [(99, 10), (99, 20), (99, 30)], maps, 10, 10)], {"classes": "segmentation"},
        kind="segmentation",
    )  # fmt: skip
    text = page(wanted, tradeoffs("sec6.1", wanted, [road, tasks()[1]]))
    assert (
        "| 1 | 0.8000 | 0.00 % | 1.2000 | 50.00 % |\n| 2 | 1.6000 | 80.00 % | 2.4000 | 100.00 % |\n"
        "| 3 | 2.4000 | 81.82 % | - | - |"
    ) in text


def test_a_row_has_the_rate_of_its_own_quality_wherever_that_lies(wanted: Tradeoff) -> None:
    maps = [{"classes": {"confusion": found}} for found in ([8, 1, 1, 8], [3, 1, 1, 3])]
    falling = made(
        "ours", [pictured("a", [(99, 20), (99, 10)], maps, 10, 10)], {"classes": "segmentation"}, kind="segmentation"
    )
    text = page(wanted, tradeoffs("sec6.1", wanted, [falling, tasks()[1]]))
    assert "| 1 | 1.6000 | 80.00 % | 1.2000 | 50.00 % |\n| 2 | 0.8000 | 60.00 % | 2.4000 | 100.00 % |" in text


def test_a_fine_picture_at_either_end_of_its_curve_was_measured(wanted: Tradeoff) -> None:
    """Of 320 pixels: 14 bytes are 0.35 bits per pixel, 30 are 0.75."""
    own = pictured("a", [(14, 4), (30, 4)], of_pictures((20.0, 30.0)), 40, 8, fixed=2)
    fine = made("ours+base2", [own], whole=("seen",))
    text = page(wanted, tradeoffs("sec6.1", wanted, [*tasks(), fine]))
    assert "| 0.25 | 20.00 dB | 0.65 | 30.00 dB |" in text


def test_the_papers_sets_stand_in_a_table_of_their_own(wanted: Tradeoff) -> None:
    text = page(wanted, tradeoffs("sec6.1", wanted, tasks()))
    assert text.startswith(
        f"Paper, {wanted.paper_data}\n\n"
        "| side rate | mIoU | top-1 | enhancement at 0.35 bpp | enhancement at 0.75 bpp |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| 0.08 | 49 % | 69 % | 0.27 | 0.67 |\n"
        "| 0.18 | 53 % | 75 % | 0.17 | 0.57 |\n"
        "| 0.30 | 57 % | 78 % | 0.05 | 0.45 |\n\nHere: ours\n\n| quality | side rate, made val, "
    )


def test_every_system_is_on_the_page_and_its_data_in_the_title(
    wanted: Tradeoff, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, Any] = {}
    monkeypatch.setattr("icm_evaluation.reproduce.write_plot", lambda path, found: drawn.update({path.name: found}))
    road, objects = as_of("theirs", tasks())
    far = road.model_copy(update={"data": road.data.model_copy(update={"name": "far", "params": {"classes": "cars"}})})
    paths = draw("sec6.1", wanted, Material([*tasks(), far, objects], cast(Any, None), "the source"), tmp_path)
    assert [path.name for path in paths] == ["sec6.1.png", "sec6.1.svg", "sec6.1.md"]
    assert [*drawn] == ["sec6.1.png", "sec6.1.svg"]
    assert " ".join(drawn["sec6.1.svg"].get_suptitle().split()) == (
        f"{wanted.title}: made val, 1 pictures of 10x10 and objects val, 2 pictures of 10x10 and far (cars) val, 1 "
        f"pictures of 10x10, in place of the paper's {wanted.paper_data}"
    )
    text = (tmp_path / "sec6.1.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("Here: ")] == ["Here: ours", "Here: theirs"]
    road_axes, _ = drawn["sec6.1.svg"].axes
    labels = [line.get_label() for line in road_axes.get_lines()]
    assert labels[:2] == ["ours, made", "theirs, far"] and set(labels[2:]) == {"paper: SICMH, Cityscapes, 256x512"}
