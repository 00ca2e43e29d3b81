"""CamVid's layout, and what is wrong with folders that nearly have it."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from PIL import Image

from icm_core import InputError
from icm_core.kinds import Segmentation
from icm_core.types import Legend
from icm_tasks.palettes import CAMVID


def test_samples_are_in_the_order_of_their_names(opened, camvid_tree: Path) -> None:
    data = opened("camvid", camvid_tree)
    assert [sample.key for sample in data] == ["val/a", "val/b"]
    sample = data[1]
    assert sample.picture.dtype == torch.uint8 and sample.picture.shape == (3, 4, 6)
    assert sample.picture[:, 0, 0].tolist() == [0, 0, 255]
    assert sample.target.dtype == torch.uint8 and sample.target.tolist() == [[0, 1, 2, 3, 4, 11]] * 4
    assert (data.kind, data.ignore_index, data.labels) == ("segmentation", 11, tuple(CAMVID))


def test_a_name_comes_before_the_names_that_go_on_from_it(opened, tmp_path: Path, picture, class_map) -> None:
    """As stems: "a.png" comes after "a-b.png"."""
    for name in ("a-b", "a"):
        picture(tmp_path / f"val/{name}.png")
        class_map(tmp_path / f"valannot/{name}.png", [[0] * 6] * 4)
    assert [sample.key for sample in opened("camvid", tmp_path)] == ["val/a", "val/a-b"]


def test_names_may_have_dots(opened, tmp_path: Path, picture, class_map) -> None:
    for number, name in enumerate(["0016E5.07959", "0016E5.07961"]):
        picture(tmp_path / f"val/{name}.png")
        class_map(tmp_path / f"valannot/{name}.png", [[number] * 6] * 4)
    data = opened("camvid", tmp_path)
    assert [(sample.key, int(sample.target[0, 0])) for sample in data] == [
        ("val/0016E5.07959", 0),
        ("val/0016E5.07961", 1),
    ]


def test_further_pictures_without_annotations_are_counted(opened, camvid_tree: Path, picture) -> None:
    for name in ("c", "d", "e"):
        picture(camvid_tree / f"val/{name}.png")
    with pytest.raises(InputError, match=r"for .*val/c\.png and 2 more; it found 5 pictures and 2 annotations"):
        opened("camvid", camvid_tree)


def test_the_legend_says_what_the_numbers_in_class_maps_mean(opened, camvid_tree: Path) -> None:
    data = opened("camvid", camvid_tree)
    assert data.legend == Legend(labels=tuple(CAMVID), ignore=11)
    Segmentation().check_target(data[0].target, (4, 6), data.legend)
    with pytest.raises(ValueError, match="has the class 11, and there are 11 labels"):
        Segmentation().check_target(data[0].target, (4, 6), Legend(labels=tuple(CAMVID)))


def test_worker_processes_can_be_given_a_data_set(opened, camvid_tree: Path) -> None:
    copy = pickle.loads(pickle.dumps(opened("camvid", camvid_tree)))
    assert len(copy) == 2 and copy[0].key == "val/a"


def test_the_end_is_an_index_error(opened, camvid_tree: Path) -> None:
    with pytest.raises(IndexError):
        opened("camvid", camvid_tree)[2]


def test_a_palette_is_not_applied_to_a_class_map(opened, camvid_tree: Path) -> None:
    path = camvid_tree / "valannot/a.png"
    with Image.open(path) as image:
        indexed = image.convert("L")
    indexed.putpalette([255, 255, 255] * 12)
    indexed.save(path)
    assert opened("camvid", camvid_tree)[0].target.unique().tolist() == [1, 2, 3, 4, 11]


def test_a_grey_picture_becomes_rgb(opened, camvid_tree: Path) -> None:
    Image.new("L", (6, 4), 77).save(camvid_tree / "val/a.png")
    assert opened("camvid", camvid_tree)[0].picture[:, 0, 0].tolist() == [77, 77, 77]


def _remove_annotations(root: Path) -> None:
    for path in (root / "valannot").iterdir():
        path.unlink()
    (root / "valannot").rmdir()


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.rename(path.with_suffix(".bak"))


LAYOUTS = {
    "no annotations": (_remove_annotations, r"expects the folder .*valannot; .* holds no 'valannot', but val$"),
    "no pictures": (lambda root: _empty(root / "val"), r"no pictures \(\.jpg, .* in .*val, but a\.bak, b\.bak"),
    "one annotation short": (
        lambda root: (root / "valannot/b.png").unlink(),
        r"no annotation in .*valannot for .*b\.png; it found 2 pictures and 1 annotations",
    ),
    "one picture short": (lambda root: (root / "val/b.png").unlink(), r"no picture for the annotation .*b\.png"),
    "a name twice": (
        lambda root: Image.new("RGB", (6, 4)).save(root / "val/a.bmp"),
        r"val/a\.(bmp|png) and .*val/a\.(bmp|png) would share one annotation",
    ),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_another_layout_is_answered_with_what_was_expected_and_found(opened, camvid_tree: Path, case: str) -> None:
    spoil, says = LAYOUTS[case]
    spoil(camvid_tree)
    with pytest.raises(InputError, match=says):
        opened("camvid", camvid_tree)


def test_a_wrong_split_names_the_nearest(opened, camvid_tree: Path) -> None:
    with pytest.raises(InputError, match=r"holds no 'valid', but val, valannot; did you mean 'val'\?"):
        opened("camvid", camvid_tree, "valid")


def test_a_missing_folder_names_the_nearest(opened, camvid_tree: Path) -> None:
    (camvid_tree / "camvid").mkdir()
    with pytest.raises(InputError, match=r"holds no 'camvit', but camvid, val, valannot; did you mean 'camvid'\?"):
        opened("camvid", camvid_tree / "camvit")


def test_the_split_given_as_the_folder_is_recognised(opened, camvid_tree: Path) -> None:
    with pytest.raises(InputError, match=f"give the folder above it, {camvid_tree}\\?"):
        opened("camvid", camvid_tree / "val")


def test_a_file_in_place_of_the_folder(opened, camvid_tree: Path) -> None:
    with pytest.raises(InputError, match=r"a\.png is a file"):
        opened("camvid", camvid_tree / "val/a.png")


def test_an_unreadable_split_folder_is_a_file(opened, camvid_tree: Path) -> None:
    (camvid_tree / "test").write_text("")
    with pytest.raises(InputError, match=r"expects a folder at .*test, and that is a file"):
        opened("camvid", camvid_tree, "test")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


BROKEN = {
    "cut picture": (lambda root: _cut(root / "val/a.png"), r"val/a\.png is cut or damaged"),
    "text": (lambda root: (root / "val/a.png").write_text("no picture"), r"val/a\.png is not a picture"),
    "cut annotation": (lambda root: _cut(root / "valannot/a.png"), r"valannot/a\.png is cut or damaged"),
    "empty annotation": (lambda root: (root / "valannot/a.png").write_bytes(b""), r"valannot/a\.png is empty"),
    "colour annotation": (
        lambda root: Image.new("RGB", (6, 4)).save(root / "valannot/a.png"),
        r"valannot/a\.png is a PNG picture of mode RGB; a class map is a PNG with one byte a pixel",
    ),
    "lossy annotation": (
        lambda root: Image.new("L", (6, 4)).save(root / "valannot/a.png", "JPEG"),
        r"valannot/a\.png is a JPEG picture",
    ),
    "another size": (
        lambda root: Image.new("L", (4, 6)).save(root / "valannot/a.png"),
        r"valannot/a\.png has 4x6 pixels and its picture .*val/a\.png 6x4",
    ),
    "unknown class": (
        lambda root: Image.new("L", (6, 4), 12).save(root / "valannot/a.png"),
        r"valannot/a\.png holds the value 12; the classes are 0 to 10 and 11, which is ignored",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_named(opened, camvid_tree: Path, case: str) -> None:
    spoil, says = BROKEN[case]
    spoil(camvid_tree)
    data = opened("camvid", camvid_tree)
    assert data[1].key == "val/b"
    with pytest.raises(InputError, match=says):
        data[0]


def test_the_real_one(opened, shared) -> None:
    root = shared("camvid")
    data = opened("camvid", root)
    assert (len(opened("camvid", root, "train")), len(data)) == (367, 101)
    sample = data[0]
    assert sample.picture.shape == (3, 360, 480) and sample.target.shape == (360, 480)
    assert {0, 3} <= {*sample.target.unique().tolist()} <= {*range(12)}
