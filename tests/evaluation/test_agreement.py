"""Whether figures are those of their pictures, and whether two systems are one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from icm_made import made, of_pictures, pictured

from icm_core import build, build_registry, load, parse_spec
from icm_core.errors import InputError, SpecError
from icm_core.interfaces import TaskKind
from icm_core.pipeline.pipeline import Pipeline
from icm_evaluation.agreement import check_asked, read_agreeing, same_pipeline, same_system
from icm_evaluation.kinds import Kinds
from icm_evaluation.options import Options
from icm_evaluation.results import Result, write_result

SIZES = [(100, 60), (200, 90)]


def of(system: str, *psnr: tuple[float, float], keys: str = "ab", sizes: Any = SIZES, **more: Any) -> Result:
    rows = [pictured(key, sizes, of_pictures(own)) for key, own in zip(keys, psnr or [(30, 33), (28, 32)], strict=True)]
    return made(system, rows, **more)


def test_systems_are_one_if_all_bytes_and_answers_are_the_same() -> None:
    one = of("one")
    assert same_system(one, of("two"))
    assert not same_system(one, of("two", (30, 33), (28, 32.5)))  # one answer of four
    assert not same_system(one, of("two", sizes=[(100, 60), (201, 90)]))
    assert not same_system(one, of("two", keys="cd"))
    # Only what both were measured on counts.
    assert same_system(one, of("two", (30, 33), (1, 2), keys="ac"))


def test_systems_of_one_spec_and_weights_are_one_whatever_they_were_measured_on() -> None:
    one = of("one", weights="w")
    assert same_system(one, of("two", keys="cd", weights="w"))
    assert not same_system(one, of("two", keys="cd", weights="v"))


@pytest.mark.parametrize("more", [{"system": "one+search8", "effort": 8}, {"searched": ["seen"]}])
def test_a_pipeline_that_encodes_another_way_is_another_system(more: dict[str, Any]) -> None:
    one = of("one", weights="w")
    assert not same_system(one, one.model_copy(update=more))


def test_systems_with_other_tasks_are_not_one() -> None:
    tallies = [{**tally, "more": tally["seen"]} for tally in of_pictures((30, 33))]
    other = made("two", [pictured("a", SIZES, tallies)], {"seen": "reconstruction", "more": "reconstruction"})
    assert not same_system(of("one", (30, 33), keys="a"), other)


@pytest.mark.parametrize("what", ["bpp", "base_bpp", "encode_seconds", "decode_seconds", "psnr"])
def test_a_number_that_is_a_thousandth_off_is_told(tmp_path: Path, what: str) -> None:
    path = tmp_path / "one.json"
    write_result(path, of("one"))
    assert read_agreeing(path, Kinds()) == of("one")
    data = json.loads(path.read_text())
    point = data["points"][1]
    place = point["tasks"]["seen"] if what == "psnr" else point
    for factor, told in ((1 + 1e-6, False), (1.001, True)):
        right = place[what]
        place[what] *= factor
        path.write_text(json.dumps(data))
        place[what] = right
        if told:
            with pytest.raises(InputError, match=f"its point at quality 2 says .*{what} "):
                read_agreeing(path, Kinds())
        else:
            read_agreeing(path, Kinds())


def written(path: Path, change: Any) -> Path:
    """A result's file of which something was changed by hand."""
    write_result(path, of("one"))
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize("count", [1, 3])
def test_a_number_of_pictures_that_are_not_there_is_told(tmp_path: Path, count: int) -> None:
    path = written(tmp_path / "one.json", lambda data: data["data"].update(pictures=count, of=9))
    with pytest.raises(InputError, match=f"it says that it has {count} pictures, and has 2"):
        read_agreeing(path, Kinds())


def test_a_figure_that_was_taken_out_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "one.json", lambda data: data["points"][1]["tasks"]["seen"].update(psnr=None))
    with pytest.raises(InputError, match="its point at quality 2 says seen psnr nothing, and its own pictures give"):
        read_agreeing(path, Kinds())


def test_figures_of_a_kind_that_is_not_installed_stay_unchecked(tmp_path: Path) -> None:
    def change(data: Any) -> None:
        data["tasks"]["seen"]["kind"] = "far.away"
        data["points"][1]["tasks"]["seen"]["psnr"] = 99.0

    path = written(tmp_path / "one.json", change)
    assert read_agreeing(path, Kinds()).points[1].tasks["seen"]["psnr"] == 99.0
    data = json.loads(path.read_text())
    data["points"][1]["bpp"] *= 2
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match="its point at quality 2 says bpp"):  # which is made of bytes alone
        read_agreeing(path, Kinds())


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"params": '{"size": 3}'}, r"has parameters \{\}, and \{'size': 3\} should be measured"),
        ({"split": "test"}, "has split val, and test should be measured"),
    ],
)
def test_other_data_than_asked_for_is_told(more: dict[str, str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        check_asked(Path("one.json"), of("one"), Options("one", "made:.", **more))


def test_more_pictures_than_there_are_asks_for_all_of_them() -> None:
    result = of("one")
    for limit in (None, 2, 9):
        check_asked(Path("one.json"), result, Options("one", "made:.", limit=limit))
    with pytest.raises(InputError, match=r"one\.json has pictures 2, and 1 should be measured"):
        check_asked(Path("one.json"), result, Options("one", "made:.", limit=1))


def test_pipelines_are_one_if_components_and_weights_are() -> None:
    registry = build_registry()
    pipe = load("scalable", device="cpu", registry=registry)

    def changed(**more: Any) -> Pipeline:
        found = build(parse_spec({**pipe.spec.to_json(), **more}), registry)
        found.load_state_dict(pipe.state_dict(), strict=False)
        return found

    assert same_pipeline(pipe, changed(name="other", description="the same"))
    assert not same_pipeline(pipe, changed(codec={"use": "tiny.thumbnail", "params": {"steps": 9}}))
    told = {"data": "streets of elsewhere", "pictures": "streets"}
    tasks = {name: {**task, "trained_on": told} for name, task in pipe.spec.to_json()["tasks"].items()}
    assert same_pipeline(pipe, changed(tasks=tasks))
    fewer = {name: task for name, task in pipe.spec.to_json()["tasks"].items() if name != "classification"}
    assert not same_pipeline(pipe, changed(tasks=fewer))

    def behind(of: str) -> Pipeline:
        seen = {"adapter": {"use": "core.decoded_picture", "params": {"of": of}}, "head": {"use": "shown.labels"}}
        found = changed(tasks={**pipe.spec.to_json()["tasks"], "seen": seen})
        for parameter in found.parameters():
            parameter.data.zero_()
        return found

    assert same_pipeline(behind("fine"), behind("fine"))
    assert not same_pipeline(behind("fine"), behind("coarse"))  # whose weights are the same
    other = changed()
    with torch.no_grad():
        next(other.codec.parameters()).add_(1e-3)
    assert not same_pipeline(pipe, other)


def test_settings_of_both_layers_are_told_apart() -> None:
    def of_fixed(system: str, *psnr: float) -> Result:
        row = pictured("a", [(100, 60), (200, 60)], of_pictures(psnr), fixed=2)
        return made(system, [row], whole=("seen",))

    assert same_system(of_fixed("one", 30, 33), of_fixed("two", 30, 33))
    assert not same_system(of_fixed("one", 30, 33), of_fixed("two", 31, 33))
    assert not same_system(of_fixed("one", 30, 33), of_fixed("two", 30, 34))


def test_a_longer_header_makes_no_other_system() -> None:
    """Names of a pipeline stand in the files' headers."""
    one = of("one")
    longer = [
        row.model_copy(update={"points": [own.model_copy(update={"bytes": own.bytes + 4}) for own in row.points]})
        for row in one.pictures
    ]
    assert same_system(one, one.model_copy(update={"system": "longer", "weights": "w", "pictures": longer}))


@pytest.mark.parametrize("counted", ["file", "payload"])
def test_rates_are_made_of_the_bytes_that_count(tmp_path: Path, counted: str) -> None:
    """Payloads are 10 bytes less than whole files here, whatever the layer."""
    result = of("one", counted=counted)
    rates = {"file": [(1.0, 0.6), (2.0, 0.9)], "payload": [(0.9, 0.9), (1.9, 1.9)]}[counted]
    assert [(point.bpp, point.base_bpp) for point in result.points] == [pytest.approx(pair) for pair in rates]
    path = tmp_path / "one.json"
    write_result(path, result)
    assert read_agreeing(path, Kinds()) == result


@pytest.mark.parametrize(
    ("sizes", "said"),
    [({"9x9": 1, "40x20": 1}, "1 of 40x20, 1 of 9x9"), ({"20x40": 2}, "2 of 20x40"), ({}, "none")],
)
def test_pictures_of_other_sizes_than_those_that_are_there_are_told(
    tmp_path: Path, sizes: dict[str, int], said: str
) -> None:
    path = written(tmp_path / "one.json", lambda data: data["data"].update(sizes=sizes))
    with pytest.raises(InputError, match=f"it says that its pictures are {said}, and they are 2 of 40x20$"):
        read_agreeing(path, Kinds())


class Nothing(Kinds):
    """Where no kind is installed."""

    def get(self, name: str, where: str = "") -> TaskKind:
        raise SpecError(f"{where}unknown kind {name!r}")


def test_whether_a_kind_is_installed_is_asked_of_those_that_are_given(tmp_path: Path) -> None:
    path = written(tmp_path / "one.json", lambda data: data["points"][0]["tasks"]["seen"].update(psnr=29.0312))
    assert read_agreeing(path, Nothing()).points[0].tasks["seen"]["psnr"] == 29.0312
    with pytest.raises(InputError, match=r"says seen psnr 29\.0312, and its own pictures give 29; it was changed"):
        read_agreeing(path, Kinds())
