"""A kind of somebody else's package: its answers are decoded, written and drawn as its own code says."""

from __future__ import annotations

import json
import types
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from icm_core import Prediction, build_registry, hookimpl, load

Run = Callable[..., str]


def test_a_file_from_before_is_answered_in_json_and_drawn_on_the_decoded_picture(
    run: Run, boxed: Path, coded: Path, tmp_path: Path
) -> None:
    (row,) = json.loads(run("decode", coded, "-m", boxed, "-t", "boxes,fine", "-o", tmp_path / "out", "--json"))
    found = row["tasks"]["boxes"]
    assert found["kind"] == "boxed.rectangles" and found["text"] == "2 boxes"
    assert found["boxes"] == [[4.0, 4.0, 35.0, 19.0], [8.0, 8.0, 31.0, 15.0]]
    with Image.open(found["drawing"]) as drawing, Image.open(row["tasks"]["fine"]["picture"]) as picture:
        assert drawing.getpixel((4, 4)) == drawing.getpixel((8, 12)) == (255, 0, 0)
        assert drawing.getpixel((20, 12)) == picture.getpixel((20, 12))


def test_a_prediction_that_tells_more_passes_through(boxed: Path, coded: Path) -> None:
    found = load(boxed, device="cpu").decode(coded.read_bytes(), tasks=["boxes"])["boxes"]
    assert type(found) is not Prediction and getattr(found, "source") == "corners"  # noqa: B009
    assert found.output[0]["boxes"].dtype == torch.float32


def test_without_a_picture_among_the_tasks_it_is_drawn_on_one_that_is_decoded_for_it(
    run: Run, boxed: Path, coded: Path, tmp_path: Path
) -> None:
    run("decode", coded, "-m", boxed, "-t", "boxes", "-o", tmp_path / "out")
    (only,) = (tmp_path / "out").iterdir()
    with Image.open(only) as drawing:
        assert len(set(drawing.convert("RGB").get_flattened_data())) > 4


def test_every_answer_can_be_drawn(run: Run, boxed: Path, coded: Path, tmp_path: Path) -> None:
    run("decode", coded, "-m", boxed, "-t", "boxes,segmentation,classification", "--draw", "-o", tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [
        "photo.boxes.drawn.png",
        "photo.classification.drawn.png",
        "photo.segmentation.drawn.png",
        "photo.segmentation.png",
    ]


def test_graph_and_check_name_a_nests_tensors(run: Run, boxed: Path, tmp_path: Path) -> None:
    assert "boxes[0] 2x4" in run("check", boxed, "--size", "24x40")
    run("graph", boxed, "-o", tmp_path / "drawn.svg")
    assert "boxed.rectangles" in (tmp_path / "drawn.svg").read_text()


def test_a_search_for_answers_that_are_not_compared_is_refused(boxed: Path, fail: Run, photo: Path) -> None:
    spec = json.loads(boxed.read_text())
    spec["tasks"]["boxes"]["search"] = [1, 2]
    boxed.write_text(json.dumps(spec))
    message = fail("encode", photo, "-m", boxed, "--effort", "2", "--for", "boxes")
    assert "no search" in message


def test_plugins_names_the_kind_and_its_package(run: Run, boxed: Path) -> None:
    rows = json.loads(run("plugins", "--json"))
    assert {
        "kind": "kind",
        "name": "boxed.rectangles",
        "distribution": "icm-boxed",
        "version": "1.0",
        "status": "ok",
    } in rows


def test_a_kind_that_is_not_registered_is_told_with_the_nearest_name() -> None:
    from icm_tiny import Picture

    registry = build_registry(
        path=[], extra={"new": _plugin([type("New", (Picture,), {"name": "n.x", "kind": "reconstructoin"})])}
    )
    (row,) = [row for row in registry.status() if row["name"] == "n.x"]
    assert "its kind is 'reconstructoin'" in row["status"] and "did you mean 'reconstruction'?" in row["status"]


def test_a_plugin_that_says_interface_1_is_not_loaded_and_told_what_to_change() -> None:
    from icm_tiny import Picture

    module = _plugin([Picture])
    module.icm_interface = 1  # type: ignore[attr-defined]
    registry = build_registry(path=[], extra={"old": module})
    (row,) = [row for row in registry.status() if row["name"] == "old"]
    assert row["status"].startswith("is not loaded: it was written for interface 1")


def test_a_head_for_interface_1_is_reported_with_what_to_change() -> None:
    from icm_tiny import Picture

    old = type("Old", (Picture,), {"name": "old.picture", "metric": lambda _: None, "draw": lambda *_: None})
    registry = build_registry(path=[], extra={"old": _plugin([old])})
    (row,) = [row for row in registry.status() if row["name"] == "old.picture"]
    assert row["status"].startswith(
        "it was written for interface 1 of icm, and this one has 2: a head's loss gives one"
    )
    assert row["status"].endswith("(docs/extending.md, From 1 to 2) and say icm_interface = 2")


def _plugin(heads: list[object]) -> object:
    module = types.ModuleType("old")
    module.icm_heads = hookimpl(specname="icm_heads")(lambda: heads)  # type: ignore[attr-defined]
    return module
