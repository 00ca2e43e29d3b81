"""Files of results: what they say in a line, and what is wrong in one that was changed by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from icm_made import made, of_pictures, pictured

from icm_core.errors import InputError
from icm_core.types import Legend
from icm_core.validation.strict_json import MAX_BYTES
from icm_evaluation.figure_info import earlier_figures
from icm_evaluation.results import Coded, Result, TaskInfo, counted_bytes, describe_data, read_result, write_result

SIZES = [(100, 60), (200, 90), (300, 95)]
CLEAN = {"seen": {"psnr": 50.0, "ms_ssim": None}}


def two(**more: Any) -> Result:
    """Two pictures at three qualities."""
    rows = [pictured(key, SIZES, of_pictures((30, 33, 35)), clean=CLEAN, **more) for key in "ab"]
    return made("one", rows)


def test_a_base_layer_is_fixed_where_the_enhancement_alone_changes() -> None:
    assert two(fixed=2).fixed_base == 2
    assert two().fixed_base is None
    one = made("one", [pictured("a", SIZES[:1], of_pictures((30,)))])
    assert one.fixed_base is None  # a single quality, of both layers
    assert made("one", [pictured("a", SIZES[:1], of_pictures((30,)), fixed=1)]).fixed_base == 1


def test_whole_files_base_layers_and_the_codecs_own_bytes_are_three_numbers() -> None:
    coded = Coded(
        quality=1, bytes=100, base_bytes=60, payload_bytes=90, encode_seconds=0, decode_seconds=0, tasks={}
    )  # fmt: skip
    assert [counted_bytes(coded, whole, "file") for whole in (True, False)] == [100, 60]
    assert [counted_bytes(coded, whole, "payload") for whole in (True, False)] == [90, 90]


def test_columns_are_those_of_any_point_task_by_task() -> None:
    result = two()
    points = [
        result.points[0].model_copy(update={"tasks": {"b": {"x": 1.0}, "a": {"y": None}}}),
        result.points[1].model_copy(update={"tasks": {"a": {"z": 2.0, "y": 1.0}, "b": {"w": 1.0}}}),
    ]
    columns = result.model_copy(update={"points": points}).columns
    assert columns == [("b", "x"), ("b", "w"), ("a", "y"), ("a", "z")]


@pytest.mark.parametrize(
    ("sizes", "of", "said"),
    [
        ([(40, 20)], 1, "made val, 1 pictures of 40x20"),
        ([(40, 20), (40, 20)], 5, "made val, 2 of 5 pictures of 40x20"),
        ([(40, 20), (20, 40)], 2, "made val, 2 pictures of 40x20 and 20x40"),
        ([(40, 20), (20, 40), (9, 8)], 4, "made val, 3 of 4 pictures of 3 sizes"),
    ],
)
def test_data_are_described_by_number_and_size(sizes: list[tuple[int, int]], of: int, said: str) -> None:
    rows = [pictured(f"p{n}", SIZES[:1], of_pictures((30,)), *size) for n, size in enumerate(sizes)]
    assert describe_data(made("one", rows, of=of)) == said


def test_a_file_reads_back_as_it_was_and_has_a_line_for_each_picture(tmp_path: Path) -> None:
    for number, result in enumerate((two(), two(fixed=2))):
        path = tmp_path / f"{number}.json"
        write_result(path, result)
        assert read_result(path) == result
        lines = [line for line in path.read_text().splitlines() if '"key"' in line]
        assert len(lines) == 2 and ("enhancement_quality" in lines[0]) == bool(number)


def test_a_result_may_be_larger_than_a_spec(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    write_result(path, two())
    path.write_text(path.read_text() + " " * MAX_BYTES)
    assert read_result(path) == two()


def again(data: Any) -> None:
    """The third point has the first one's quality."""
    for one in (data, *data["pictures"]):
        one["points"][2]["quality"] = 1.0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (again, "two points have quality 1; each quality should have one point"),
        (lambda data: data["pictures"][1]["points"].pop(), "picture 'b' has points at quality 1, 2; like"),
        (lambda data: data["pictures"][1]["points"].clear(), "picture 'b' has points at quality none; like the"),
        (lambda data: data["pictures"][1]["clean"].clear(), "some pictures have 'seen' of the clean picture, and"),
        (lambda data: data["pictures"][0]["clean"].clear(), "some pictures have 'seen' of the clean picture, and"),
        (lambda data: data["pictures"][1]["points"][2]["tasks"].clear(), "picture 'b' has no 'seen' at quality 3"),
        (lambda data: data["points"][1]["tasks"].clear(), "the point at quality 2 has no figures of 'seen'"),
        (lambda data: data["points"][1]["tasks"].update(more={"psnr": 1}), "points have figures of 'more', which is"),
        (lambda data: data["points"][1]["tasks"]["seen"].update(mse=1), "points have the figure 'mse', which tasks"),
        (lambda data: data.pop("icm_evaluation"), "not a result of `icm evaluate`"),
    ],
)  # fmt: skip
def test_what_was_changed_in_a_file_is_told(tmp_path: Path, change: Callable[[Any], None], says: str) -> None:
    path = tmp_path / "one.json"
    write_result(path, two())
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=rf"one\.json: {says}"):
        read_result(path)


def test_a_figure_that_there_is_not_is_null_in_the_file(tmp_path: Path) -> None:
    write_result(tmp_path / "r.json", two())
    points = json.loads((tmp_path / "r.json").read_text())["points"]
    assert [point["tasks"]["seen"]["ms_ssim"] for point in points] == [None] * 3


def test_the_usual_encoder_is_null_in_the_file(tmp_path: Path) -> None:
    write_result(tmp_path / "r.json", two())
    assert json.loads((tmp_path / "r.json").read_text()).get("encoder", "left out") is None


def test_a_quality_of_its_own_is_one_even_where_it_is_the_same_or_nought(tmp_path: Path) -> None:
    shown = {}
    for own in (None, 2.0, 0.0):
        coded = Coded(
            quality=2, enhancement_quality=own, bytes=9, base_bytes=9, payload_bytes=9, encode_seconds=0,
            decode_seconds=0, tasks={},
        )  # fmt: skip
        shown[own] = (coded.shown, coded.setting, coded.model_dump().get("enhancement_quality", "none"))
    assert shown == {None: ("2", (2, None), "none"), 2.0: ("2 + 2", (2, 2), 2), 0.0: ("2 + 0", (2, 0), 0)}


def test_a_task_says_its_figures_and_nothing_of_others() -> None:
    about = {"kind": "segmentation", "head": "h", "adapter": "a", "whole": False, "labels": ["x", "y"], "unit": "m"}
    before = TaskInfo.model_validate(about)
    assert before.figures == earlier_figures()["segmentation"] and before.main == "miou"
    assert before.legend == Legend(("x", "y"), unit="m")
    assert before.figure("clean") == before.figure("drop") == before.figure("miou") == before.figures["miou"]
    with pytest.raises(KeyError):
        before.figure("psnr")
    none = TaskInfo.model_validate({**about, "figures": {}})  # it was measured, and nothing could be said
    assert none.figures == {} and none.main is None
    with pytest.raises(ValueError, match="figures"):
        TaskInfo.model_validate({**about, "kind": "far.away"})


def test_earlier_figures_are_those_of_three_kinds() -> None:
    said = {
        kind: {name: (about.title, about.unit, about.digits) for name, about in figures.items()}
        for kind, figures in earlier_figures().items()
    }
    assert said == {
        "segmentation": {"miou": ("mIoU", "%", 2)},
        "classification": {"top1": ("top-1 accuracy", "%", 2), "top5": ("top-5 accuracy", "%", 2)},
        "reconstruction": {"psnr": ("PSNR", "dB", 2), "ms_ssim": ("MS-SSIM", "", 4)},
    }
