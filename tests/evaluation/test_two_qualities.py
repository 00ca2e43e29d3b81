"""`evaluate` with a quality of its own for the enhancement: one layer stays, the other changes."""

from __future__ import annotations

import json

import pytest

from icm_core.bitstream.container import read
from icm_core.errors import InputError
from icm_evaluation.measure import file_name
from icm_evaluation.results import read_result, write_result


def test_the_base_layer_stays_while_the_fine_picture_changes(measure, tmp_path) -> None:
    result = measure(qualities=(2.0,), enhancement=(4.0, 1.0, 3.0), keep=tmp_path / "files")
    assert [point.setting for point in result.points] == [(2.0, 1.0), (2.0, 3.0), (2.0, 4.0)]
    assert (result.system, result.model, result.fixed_base) == ("scalable+base2", "scalable", 2.0)
    assert len({point.base_bpp for point in result.points}) == 1
    assert len({point.tasks["segmentation"]["miou"] for point in result.points}) == 1
    psnr = [point.tasks["fine"]["psnr"] for point in result.points]
    assert psnr == sorted(psnr) and psnr[0] < psnr[-1]
    key = result.pictures[0].key
    file = read((tmp_path / "files" / file_name(key, 2.0, 3.0)).read_bytes())
    assert (file.quality.value, file.enhancement_quality.value) == (2.0, 3.0)
    assert "-q 2 --enhancement-quality 1,3,4" in result.command


def test_the_enhancement_can_stay_as_well(measure) -> None:
    result = measure(qualities=(1.0, 3.0), enhancement=(2.0,))
    assert [point.setting for point in result.points] == [(1.0, 2.0), (3.0, 2.0)]
    assert (result.system, result.fixed_base) == ("scalable+enhancement2", None)


def test_results_with_two_qualities_are_read_as_they_were_written(measure, tmp_path) -> None:
    result = measure(qualities=(2.0,), enhancement=(1.0, 3.0))
    write_result(tmp_path / "again.json", result)
    assert read_result(tmp_path / "again.json") == result


def test_a_result_with_one_quality_has_one_field_for_it(measure, tmp_path) -> None:
    result = measure()
    data = json.loads((tmp_path / "scalable.json").read_text())
    assert "enhancement_quality" not in json.dumps(data)
    assert result.fixed_base is None and result.system == "scalable"


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        ("scalable", {"qualities": (1.0, 2.0), "enhancement": (1.0, 2.0)}, "one of the layers should keep one"),
        ("scalable", {"qualities": (2.0,), "enhancement": (9.0,)}, "quality 9 is out of range"),
        ("single", {"qualities": (2.0,), "enhancement": (2.0,)}, "pipeline 'single' has no enhancement layer"),
    ],
)
def test_what_makes_no_curve_is_refused(measure, model, options, says) -> None:
    with pytest.raises(InputError, match=says):
        measure(model, **options)


def test_the_command_measures_and_prints_both_qualities(run, folder, tmp_path) -> None:
    out = tmp_path / "two.json"
    data = ("--data", f"maps:{folder}", "--workers", 1, "--limit", 2)
    shown = run("evaluate", "scalable", *data, "-q", 1, "--enhancement-quality", "2,4", "--json", out)
    assert "scalable+base1" in shown and "1 + 2" in shown and "1 + 4" in shown
    assert read_result(out).fixed_base == 1.0
