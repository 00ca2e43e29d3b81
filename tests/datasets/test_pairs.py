"""Folders of pictures and folders of maps with the same names: classes and distances."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from icm_core import InputError
from icm_core.kinds import Segmentation
from icm_core.types import Legend
from icm_tasks.kinds import Depth
from icm_tasks.palettes import CITYSCAPES

LABELS = {"maps": "{split}_labels", "classes": ["wall", "floor", "door"]}
DEPTH = {"maps": "{split}_depth", "targets": "depth"}


@pytest.fixture
def tree(tmp_path: Path, picture, class_map) -> Path:
    """Two pictures of 6x4 with class maps, in two formats."""
    for number, name in enumerate(["b", "a"]):
        picture(tmp_path / f"val/{name}.jpg", colour=(number, 0, 255))
        class_map(tmp_path / f"val_labels/{name}.png", [[number, 1, 2, 255, 0, 0]] * 4)
    return tmp_path


def steps(path: Path, values: object, dtype: type = np.uint16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, dtype=dtype)).save(path)
    return path


def test_class_maps(opened, tree: Path) -> None:
    data = opened("pairs", tree, **LABELS)
    assert [sample.key for sample in data] == ["val/a", "val/b"]
    assert data.kind == "segmentation" and data.legend == Legend(("wall", "floor", "door"), ignore=255)
    assert data[0].target.dtype == torch.uint8 and data[0].target.tolist() == [[1, 1, 2, 255, 0, 0]] * 4
    for sample in data:
        Segmentation().check_target(sample.target, (4, 6), data.legend)


def test_values_without_names(opened, tree: Path) -> None:
    data = opened("pairs", tree, maps="{split}_labels", ignore=None)
    assert data.legend == Legend() and int(data[0].target.max()) == 255


def test_a_name_comes_before_the_names_that_go_on_from_it(opened, tree: Path, picture, class_map) -> None:
    """As stems: "a.jpg" comes after "a-b.jpg"."""
    picture(tree / "val/a-b.jpg")
    class_map(tree / "val_labels/a-b.png", [[0] * 6] * 4)
    assert [sample.key for sample in opened("pairs", tree, **LABELS)] == ["val/a", "val/a-b", "val/b"]


def test_only_the_value_that_is_named_counts_nowhere(opened, tree: Path) -> None:
    with pytest.raises(InputError, match=r"val_labels/a\.png holds the value 255; the classes are 0 to 2$"):
        opened("pairs", tree, **LABELS, ignore=None)[0]
    data = opened("pairs", tree, maps="{split}_labels", classes=["wall", "floor"], ignore=2)
    with pytest.raises(InputError, match=r"holds the value 255; the classes are 0 to 1 and 2, which is ignored"):
        data[0]


@pytest.mark.parametrize("ignore", [0, 255])
def test_any_value_of_a_byte_may_count_nowhere(opened, tree: Path, ignore: int) -> None:
    assert opened("pairs", tree, maps="{split}_labels", ignore=ignore).ignore_index == ignore


def test_a_jpeg_is_no_map(opened, tree: Path) -> None:
    (tree / "val_labels/a.png").unlink()
    _jpeg(tree / "val_labels/a.jpg")
    with pytest.raises(InputError, match=r"no annotation in .*val_labels for .*val/a\.jpg"):
        opened("pairs", tree, **LABELS)


def test_a_split_is_filled_in_wherever_it_stands(opened, tree: Path) -> None:
    (tree / "val_labels").rename(tree / "val_and_val")
    data = opened("pairs", tree, maps="{split}_and_{split}", classes=LABELS["classes"])
    assert [sample.key for sample in data] == ["val/a", "val/b"]


def test_an_ending_that_is_named_is_the_only_one(opened, tree: Path, picture) -> None:
    picture(tree / "val/a.png")
    assert len(opened("pairs", tree, pictures="{split}/*.jpg", **LABELS)) == 2


def test_the_classes_of_cityscapes_go_by_their_name(opened, tree: Path) -> None:
    data = opened("pairs", tree, maps="{split}_labels", classes="cityscapes")
    assert data.labels == tuple(CITYSCAPES) and data.ignore_index == 255


@pytest.mark.parametrize(
    ("pictures", "maps"),
    [
        ("rgb/{split}", "seg/{split}"),
        ("rgb/{split}/*", "seg/{split}/*.png"),
        ("rgb/{split}/*_rgb", "seg/{split}/*_seg"),
        ("rgb/{split}/*_rgb.jpg", "seg/{split}/*_seg.png"),
        ("rgb/{split}/s_*", "seg/{split}/m_*"),
        ("{split}/*_rgb", "{split}/*_seg"),
    ],
)
def test_patterns_say_what_names_have_in_common(opened, tmp_path: Path, picture, class_map, pictures, maps) -> None:
    for name in ("x", "deep/y"):
        for pattern, write in ((pictures, picture), (maps, class_map)):
            start = pattern.replace("{split}", "val")
            inner, _, last = (start if "*" in start else f"{start}/*").rpartition("/")
            above, _, file = name.rpartition("/")
            path = tmp_path / inner / above / last.replace("*", file)
            ending = "" if path.suffix else (".jpg" if write is picture else ".png")
            (picture if write is picture else class_map)(
                path.with_name(path.name + ending), *([] if write is picture else [[[0] * 6] * 4])
            )
    data = opened("pairs", tmp_path, pictures=pictures, maps=maps)
    assert [sample.key for sample in data] == ["val/deep/y", "val/x"]


def test_what_stands_before_and_behind_the_star_does_not_overlap(opened, tmp_path: Path, picture, class_map) -> None:
    """Of "on_off" nothing would be left in between, and the others have too little of one of the two."""
    for name in ("on_x_off", "on_off", "on__off", "on_y", "z_off"):
        picture(tmp_path / f"val/{name}.jpg")
    class_map(tmp_path / "val_labels/x.png", [[0] * 6] * 4)
    data = opened("pairs", tmp_path, pictures="{split}/on_*_off", **LABELS)
    assert [sample.key for sample in data] == ["val/x"]


def test_an_ending_may_be_named_in_capitals(opened, tree: Path, picture) -> None:
    picture(tree / "val/c.png")
    data = opened("pairs", tree, pictures="{split}/*.JPG", maps="{split}_labels/*.PNG", classes=LABELS["classes"])
    assert [sample.key for sample in data] == ["val/a", "val/b"]


def test_sixteen_bits_of_millimetres(opened, tmp_path: Path, picture) -> None:
    picture(tmp_path / "val/a.png")
    steps(tmp_path / "val_depth/a.png", [[0, 1, 1000, 65535, 256, 2]] * 4)
    data = opened("pairs", tmp_path, **DEPTH, scale=0.001)
    assert (data.kind, data.legend) == ("depth", Legend(unit="m"))
    target = data[0].target
    assert target.dtype == torch.float32 and target.shape == (4, 6) and bool(target[:, 0].isnan().all())
    assert target[0, 1:].tolist() == pytest.approx([0.001, 1.0, 65.535, 0.256, 0.002])
    Depth().check_target(target, (4, 6), data.legend)


def test_eight_bits_and_a_value_for_none(opened, tmp_path: Path, picture) -> None:
    picture(tmp_path / "val/a.png")
    steps(tmp_path / "val_depth/a.png", [[0, 1, 10, 255, 254, 2]] * 4, np.uint8)
    data = opened("pairs", tmp_path, **DEPTH, scale=2, unit="cm", invalid=255)
    assert data.unit == "cm"
    assert data[0].target[0].isnan().tolist() == [True, False, False, True, False, False]  # 0 is no distance either
    assert data[0].target[0, 4] == 508
    row = opened("pairs", tmp_path, **DEPTH, scale=2, invalid=None)[0].target[0]
    assert row[3] == 510 and row.isnan().tolist() == [True] + [False] * 5


@pytest.mark.parametrize("none", [1, 255, 256, 65535])
def test_any_value_of_sixteen_bits_may_stand_for_no_distance(
    opened: Callable[..., Any], tmp_path: Path, picture: Callable[..., Path], none: int
) -> None:
    picture(tmp_path / "val/a.png")
    row = [2, 1, 255, 256, 65535, 65534]
    steps(tmp_path / "val_depth/a.png", [row] * 4)
    target = opened("pairs", tmp_path, **DEPTH, scale=1, invalid=none)[0].target
    assert target[0].isnan().tolist() == [value == none for value in row]


def test_other_ways_to_write_sixteen_bits(opened, tmp_path: Path, picture) -> None:
    picture(tmp_path / "val/a.png")
    path = steps(tmp_path / "val_depth/a.png", [[300] * 6] * 4)
    path.unlink()
    steps(path.with_suffix(".tif"), [[300] * 6] * 4, np.int32)
    assert opened("pairs", tmp_path, **DEPTH, scale=0.5)[0].target.unique().tolist() == [150.0]
    steps(path.with_suffix(".tif"), [[70_000] * 6] * 4, np.int32)
    with pytest.raises(InputError, match=r"a\.tif holds values from 70000 to 70000; they should be 0 to 65535"):
        opened("pairs", tmp_path, **DEPTH, scale=0.5)[0]


def test_rooms(opened, tmp_path: Path, picture) -> None:
    picture(tmp_path / "train/0001.jpg")
    steps(tmp_path / "train_depth/0001.png", [[0, 51, 102, 255, 1, 2]] * 4, np.uint8)
    data = opened("nyu", tmp_path, "train")
    assert (data.name, data.kind, data.unit, data[0].key) == ("datasets.nyu", "depth", "m", "train/0001")
    assert data[0].target[0, 1:4].tolist() == pytest.approx([2.0, 4.0, 10.0]) and bool(data[0].target[0, 0].isnan())


def test_worker_processes_can_be_given_one(opened, tree: Path) -> None:
    data = pickle.loads(pickle.dumps(opened("pairs", tree, **LABELS)))
    assert data[1].target.tolist() == [[0, 1, 2, 255, 0, 0]] * 4


LAYOUTS = {
    "no maps": (
        lambda root: (root / "val_labels").rename(root / "val_label"),
        r"holds no 'val_labels', but val, val_label; did you mean 'val_label'\?",
    ),
    "a map short": (
        lambda root: (root / "val_labels/b.png").unlink(),
        r"no annotation in .*val_labels for .*val/b\.jpg; it found 2 pictures and 1 annotations",
    ),
    "a picture short": (
        lambda root: (root / "val/b.jpg").unlink(),
        r"no picture for the annotation .*val_labels/b\.png",
    ),
    "no pictures": (
        lambda root: [path.rename(path.with_suffix(".mp4")) for path in (root / "val").iterdir()],
        r"no pictures \(\.jpg, .*\) that match '\{split\}' in .*val, but a\.mp4, b\.mp4",
    ),
    "two of a name": (
        lambda root: Image.new("RGB", (6, 4)).save(root / "val/a.png"),
        r"val/a\.(jpg|png) and .*val/a\.(jpg|png) would share one annotation",
    ),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_another_layout_is_answered_with_what_was_expected_and_found(opened, tree: Path, case: str) -> None:
    spoil, says = LAYOUTS[case]
    spoil(tree)
    with pytest.raises(InputError, match=says):
        opened("pairs", tree, **LABELS)


PARAMS = {
    "no maps": ({}, "the field datasets.pairs.params.maps is missing"),
    "above the folder": ({"maps": "../labels"}, r"params\.maps is '\.\./labels'; it should be a path inside"),
    "anywhere": ({"maps": "/labels"}, r"params\.maps is '/labels'; it should be a path inside"),
    "two stars": ({"maps": "a/*_*.png"}, r"params\.maps is 'a/\*_\*\.png'; it should have '\*' once at most"),
    "a star in a folder": ({"maps": "*/{split}"}, "it should have '\\*' once at most, in its last part"),
    "other braces": ({"maps": "{spilt}_labels"}, r"it should have no other braces than \{split\}"),
    "no scale": ({**DEPTH}, "scale is needed for depth: the distance that one step stands for, such as 0.001"),
    "a scale of classes": ({**LABELS, "scale": 1}, "scale is for targets 'depth', and these are 'classes'"),
    "classes of depth": (
        {**DEPTH, "scale": 1, "classes": ["a"]},
        "classes is for targets 'classes', and these are 'depth'",
    ),
    "no scale said aloud": ({**DEPTH, "scale": None}, "scale is needed for depth"),
    "a unit of classes": ({**LABELS, "unit": "cm"}, "unit is for targets 'depth', and these are 'classes'"),
    "no value of classes": ({**LABELS, "invalid": 0}, "invalid is for targets 'depth', and these are 'classes'"),
    "what counts nowhere in depth": (
        {**DEPTH, "scale": 1, "ignore": 255},
        "ignore is for targets 'classes', and these are 'depth'",
    ),
    "a scale of nothing": ({**DEPTH, "scale": 0}, r"params\.scale is 0; it should be greater than or equal to 0"),
    "a class twice": ({"maps": "x", "classes": ["a", "a"]}, "classes should name each class once"),
    "an unknown field": ({"maps": "x", "clases": []}, "unknown field 'clases' .* did you mean 'classes'"),
}


@pytest.mark.parametrize("case", PARAMS)
def test_parameters_that_cannot_be_are_told(opened, tree: Path, case: str) -> None:
    params, says = PARAMS[case]
    with pytest.raises(InputError, match=says):
        opened("pairs", tree, **params)


def _jpeg(path: Path) -> None:
    Image.new("L", (6, 4)).save(path, "JPEG")


BROKEN = {
    "colours": (
        lambda path: Image.new("RGB", (6, 4)).save(path),
        r"is a PNG picture of mode RGB; a map of whole numbers",
    ),
    "a palette": (
        lambda path: Image.new("P", (6, 4)).save(path),
        r"is a PNG picture of mode P; a map of whole numbers",
    ),
    "lossy": (_jpeg, r"is a JPEG picture of mode L; a map of whole numbers is a PNG"),
    "another size": (lambda path: steps(path, [[1] * 5] * 4), r"has 5x4 pixels and its picture .*val/a\.png 6x4"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:50]), "is cut or damaged"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "text": (lambda path: path.write_text("no map"), "is not a picture that Pillow can read"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_map_of_distances_is_named(opened, tmp_path: Path, picture, case: str) -> None:
    spoil, says = BROKEN[case]
    picture(tmp_path / "val/a.png")
    spoil(steps(tmp_path / "val_depth/a.png", [[1] * 6] * 4))
    with pytest.raises(InputError, match=rf"val_depth/a\.png {says}"):
        opened("pairs", tmp_path, **DEPTH, scale=0.001)[0]


def test_a_class_that_has_no_name_is_named(opened, tree: Path) -> None:
    with pytest.raises(InputError, match=r"val_labels/a\.png holds the value 2; the classes are 0 to 0 and 255"):
        opened("pairs", tree, maps="{split}_labels", classes=["wall"])[0]
    with pytest.raises(InputError, match=r"val_labels/a\.png holds the value 2; the classes are 0 to 1 and 255"):
        opened("pairs", tree, maps="{split}_labels", classes=["wall", "floor"])[0]


@pytest.mark.parametrize(
    ("name", "counts", "shape"), [("cityscapes256", (1487, 250), (256, 256)), ("cityscapes1024", (60, 5), (512, 1024))]
)
def test_the_real_streets(opened, shared, name: str, counts: tuple[int, int], shape: tuple[int, int]) -> None:
    params = {"maps": "{split}_labels", "classes": "cityscapes"}
    data = opened("pairs", shared(name), **params)
    assert (len(opened("pairs", shared(name), "train", **params)), len(data)) == counts
    seen = set()
    for number in range(min(5, len(data))):
        sample = data[number]
        assert sample.picture.shape[1:] == shape
        Segmentation().check_target(sample.target, shape, data.legend)
        seen |= {*sample.target.unique().tolist()}
    assert {0, 2, 8, 13, 255} <= seen  # road, building, vegetation, car, ignored


def test_the_real_rooms(opened, shared) -> None:
    root = shared("nyu")
    data = opened("nyu", root)
    assert (len(opened("nyu", root, "train")), len(data)) == (290, 73)
    for number in range(5):
        sample = data[number]
        assert sample.picture.shape == (3, 240, 320)
        Depth().check_target(sample.target, (240, 320), data.legend)
        known = sample.target[~sample.target.isnan()]
        assert float(known.min()) > 0.4 and float(known.max()) <= 10 and 1 < float(known.median()) < 8
    small = opened("nyu", root, size=120)[0]
    assert small.picture.shape == (3, 120, 160) and small.target.shape == (120, 160)
