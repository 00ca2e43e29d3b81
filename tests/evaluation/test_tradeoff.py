"""Figure and page of Sec. 6.1."""

from __future__ import annotations

from typing import Any

import pytest
from icm_made import made, of_pictures, pictured

from icm_core.errors import InputError
from icm_evaluation.papers import Tradeoff, paper
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
