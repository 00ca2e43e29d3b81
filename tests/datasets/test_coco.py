"""COCO's format: boxes, outlines, keypoints, and what is wrong with files that are nearly of it."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from pycocotools.coco import COCO

from icm_core import InputError
from icm_core.types import Legend
from icm_tasks.kinds import Detection, Instances, Keypoints

POINTS = ["nose", "left_eye", "right_eye"]
THINGS: dict[str, Any] = {
    "images": [
        {"id": 30, "file_name": "b.png", "width": 6, "height": 4},
        {"id": 10, "file_name": "c.png", "width": 6, "height": 4},
        {"id": 20, "file_name": "a.png", "width": 8, "height": 5},
    ],
    "annotations": [
        {"id": 1, "image_id": 30, "category_id": 18, "bbox": [1, 1, 2, 2], "area": 3.5, "iscrowd": 0,
         "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]], "keypoints": [1, 1, 2, 2, 2, 1, 0, 0, 0]},
        {"id": 2, "image_id": 20, "category_id": 2, "bbox": [-2, 3.5, 30, 10], "area": 120, "iscrowd": 1,
         "segmentation": {"size": [5, 8], "counts": [3, 2, 3, 2, 30]}},
        {"id": 3, "image_id": 30, "category_id": 90, "bbox": [0.5, 0, 5, 4], "area": 20, "iscrowd": 0,
         "segmentation": [[0.5, 0, 5.5, 0, 5.5, 4, 0.5, 4]]},
    ],
    "categories": [
        {"id": 90, "name": "toothbrush"},
        {"id": 2, "name": "bicycle"},
        {"id": 18, "name": "dog", "keypoints": POINTS, "skeleton": [[1, 2]]},
    ],
}  # fmt: skip

Change = Callable[[dict[str, Any]], object]


def written(root: Path, picture: Callable[..., Path], change: Change = lambda _: None, flat: bool = True) -> Path:
    """The things above with something changed, in one of two layouts, and their pictures."""
    things = copy.deepcopy(THINGS)
    change(things)
    for number, name in enumerate(["a", "b", "c"]):
        size = (8, 5) if name == "a" else (6, 4)
        picture(root / ("val" if flat else "val2017") / f"{name}.png", size, (number, 0, 0))
    folder = root if flat else root / "annotations"
    folder.mkdir(exist_ok=True)
    end = "val" if flat else "val2017"
    for start in ("instances", "person_keypoints"):
        (folder / f"{start}_{end}.json").write_text(json.dumps(things))
    return root


@pytest.fixture
def things(tmp_path: Path, picture) -> Callable[..., Path]:
    """Writes the things above."""
    return lambda change=lambda _: None, **more: written(tmp_path, picture, change, **more)


@pytest.mark.parametrize("flat", [True, False])
def test_boxes_in_both_layouts(opened, things, flat: bool) -> None:
    data = opened("coco", things(flat=flat))
    assert [sample.key for sample in data] == ["val/a", "val/b", "val/c"]  # by file name, whatever the ids
    assert (data.kind, data.labels, data.legend) == ("detection", ("bicycle", "dog", "toothbrush"), Legend(data.labels))
    assert [int(sample.picture[0, 0, 0]) for sample in data] == [0, 1, 2]
    crowd, dogs, nothing = (sample.target for sample in data)
    assert crowd["boxes"].tolist() == [[0.0, 3.5, 8.0, 5.0]]  # cut at the borders of 8x5
    assert (crowd["labels"].tolist(), crowd["iscrowd"].tolist(), crowd["area"].tolist()) == ([0], [1], [120.0])
    assert dogs["boxes"].tolist() == [[1.0, 1.0, 3.0, 3.0], [0.5, 0.0, 5.5, 4.0]]
    assert (dogs["labels"].tolist(), dogs["iscrowd"].tolist()) == ([1, 2], [0, 0])
    assert (
        nothing["boxes"].shape == (0, 4) and nothing["labels"].shape == (0,) and nothing["labels"].dtype == torch.int64
    )


def test_ids_of_pictures_may_be_text(opened, things) -> None:
    def words(found: dict[str, Any]) -> None:
        for image in found["images"]:
            image["id"] = f"x{image['id']}"
        for annotation in found["annotations"]:
            annotation["image_id"] = f"x{annotation['image_id']}"

    data = opened("coco", things(words))
    assert [sample.target["labels"].tolist() for sample in data] == [[0], [1, 2], []]


def test_a_split_may_be_named_as_its_folder_is(opened, things) -> None:
    data = opened("coco", things(flat=False), "val2017")
    assert [sample.key for sample in data] == ["val2017/a", "val2017/b", "val2017/c"]


def test_the_file_in_the_folder_of_annotations_counts_before_one_beside_it(opened, things) -> None:
    root = things()
    (root / "annotations").mkdir()
    own = {**THINGS, "annotations": THINGS["annotations"][2:]}
    (root / "annotations/instances_val.json").write_text(json.dumps(own))
    assert [len(sample.target["labels"]) for sample in opened("coco", root)] == [0, 1, 0]
    (root / "instances_val.json").rename(root / "instances_val2017.json")
    assert [len(sample.target["labels"]) for sample in opened("coco", root)] == [0, 1, 0]


def test_the_file_of_2017_counts_before_one_of_no_year(opened, things) -> None:
    root = things(flat=False)
    own = {**THINGS, "annotations": THINGS["annotations"][2:]}
    (root / "annotations/instances_val.json").write_text(json.dumps(own))
    assert [len(sample.target["labels"]) for sample in opened("coco", root)] == [1, 2, 0]


def test_a_file_of_2017_has_its_pictures_in_a_folder_of_2017(opened, things, picture) -> None:
    root = things(flat=False)
    for name in ("a", "b", "c"):
        picture(root / f"val/{name}.png", (3, 3), (200, 0, 0))
    assert [int(sample.picture[0, 0, 0]) for sample in opened("coco", root)] == [0, 1, 2]


def test_a_file_of_ones_own_has_its_pictures_in_the_folder_of_the_split(opened, things, picture) -> None:
    root = things()
    (root / "instances_val.json").rename(root / "drafts.json")
    for name in ("a", "b", "c"):
        picture(root / f"drafts/{name}.png", (3, 3), (200, 0, 0))
    data = opened("coco", root, annotations="drafts.json")
    assert [int(sample.picture[0, 0, 0]) for sample in data] == [0, 1, 2]


def test_outlines_become_masks_as_pycocotools_makes_them(opened, things, capsys) -> None:
    root = things()
    data = opened("coco", root, targets="masks")
    assert data.kind == "instances" and data.labels == ("bicycle", "dog", "toothbrush")
    capsys.readouterr()
    reader = COCO(str(root / "instances_val.json"))
    for sample, identity in zip(data, (20, 30, 10), strict=True):
        expected = [reader.annToMask(entry) for entry in reader.imgToAnns[identity]]
        assert sample.target["masks"].dtype == torch.uint8
        assert sample.target["masks"].tolist() == [mask.tolist() for mask in expected]
        Instances().check_target(sample.target, tuple(sample.picture.shape[1:]), data.legend)
    # In columns: three pixels without, two with, three without, two with, and so on.
    assert data[0].target["masks"][0].tolist() == [[0, 0, *[0] * 6]] * 3 + [[1, 1, *[0] * 6]] * 2


def test_run_lengths_packed_into_text(opened, things) -> None:
    root = things(lambda found: found["annotations"][1]["segmentation"].update(counts="3230k0"))
    (mask,) = opened("coco", root, targets="masks")[0].target["masks"]
    assert mask.sum() == 4 and mask[3:, :2].all()


def test_a_crowd_without_an_outline_has_its_box(opened, things) -> None:
    root = things(lambda found: found["annotations"][1].pop("segmentation"))
    (mask,) = opened("coco", root, targets="masks")[0].target["masks"]
    assert mask.tolist() == [[0] * 8] * 4 + [[1] * 8]


def test_the_box_of_a_crowd_without_an_outline_ends_before_its_last_sides(
    opened: Callable[..., Any], things: Callable[..., Path]
) -> None:
    """A box from (2, 1) to (5, 3) has three columns of two rows."""

    def boxed(found: dict[str, Any]) -> None:
        del found["annotations"][1]["segmentation"]
        found["annotations"][1]["bbox"] = [2, 1, 3, 2]

    (mask,) = opened("coco", things(boxed), targets="masks")[0].target["masks"]
    assert mask.nonzero().tolist() == [[row, column] for row in (1, 2) for column in (2, 3, 4)]


def test_things_of_a_picture_are_in_the_order_of_the_file(
    opened: Callable[..., Any], things: Callable[..., Path]
) -> None:
    """Whatever their classes."""

    def turned(found: dict[str, Any]) -> None:
        found["annotations"][0]["category_id"], found["annotations"][2]["category_id"] = 90, 18

    target = opened("coco", things(turned))[1].target
    assert target["labels"].tolist() == [2, 1] and target["area"].tolist() == [3.5, 20.0]


def test_an_outline_without_a_pixel_is_left_out(opened, things) -> None:
    root = things(lambda found: found["annotations"][0].update(segmentation=[[1, 1, 1, 1, 1, 1]]))
    target = opened("coco", root, targets="masks")[1].target
    assert target["labels"].tolist() == [2] and target["masks"].shape == (1, 4, 6) and target["boxes"].shape == (1, 4)


def test_keypoints_of_the_class_that_has_some(opened, things) -> None:
    data = opened("coco", things(), targets="keypoints")
    assert (data.kind, data.labels) == ("keypoints", tuple(POINTS))
    target = data[1].target
    assert target["labels"].tolist() == [0]  # dogs are the only class with points
    assert target["keypoints"].tolist() == [[[1.0, 1.0, 2.0], [2.0, 2.0, 1.0], [0.0, 0.0, 0.0]]]
    assert [len(sample.target["labels"]) for sample in data] == [0, 1, 0]
    for sample in data:
        Keypoints().check_target(sample.target, tuple(sample.picture.shape[1:]), data.legend)


@pytest.mark.parametrize("place", [[6, 1], [-0.1, 1], [2, 4], [2, -0.1]], ids=["right", "left", "below", "above"])
def test_points_outside_of_the_picture_are_not_labelled(opened, things, place) -> None:
    def beyond(found: dict[str, Any]) -> None:
        found["annotations"][0]["keypoints"] = [*place, 2, 5.9, 3.9, 2, 0, 0, 1]

    points = opened("coco", things(beyond), targets="keypoints")[1].target["keypoints"][0]
    assert points[:, 2].tolist() == [0.0, 2.0, 1.0] and points[0].tolist() == [0, 0, 0]


def test_a_point_without_a_label_has_no_place(opened, things) -> None:
    def unlabelled(found: dict[str, Any]) -> None:
        found["annotations"][0]["keypoints"] = [3, 2, 0, 2, 2, 1, 5, 1, 2]

    points = opened("coco", things(unlabelled), targets="keypoints")[1].target["keypoints"][0]
    assert points.tolist() == [[0, 0, 0], [2, 2, 1], [5, 1, 2]]


def test_classes_with_points_are_numbered_in_the_order_of_their_ids(opened, things) -> None:
    """The toothbrush comes first in the file, and its id is the largest."""

    def both(found: dict[str, Any]) -> None:
        found["categories"][0]["keypoints"] = POINTS
        found["annotations"][2]["keypoints"] = [1, 1, 2] * 3

    assert opened("coco", things(both), targets="keypoints")[1].target["labels"].tolist() == [0, 1]


@pytest.mark.parametrize("points", [None, [], [0] * 9], ids=str)
def test_a_thing_without_any_points_is_kept(opened, things, points: list[int] | None) -> None:
    data = opened("coco", things(lambda found: found["annotations"][0].update(keypoints=points)), targets="keypoints")
    assert data[1].target["keypoints"].tolist() == [[[0.0] * 3] * 3]
    data = opened("coco", things(lambda found: found["annotations"][0].pop("keypoints")), targets="keypoints")
    assert data[1].target["keypoints"].tolist() == [[[0.0] * 3] * 3]


@pytest.mark.parametrize(
    "box", [[1, 1, 0, 2], [1, 1, 2, 0], [1, 1, -2, 2], [6, 1, 2, 2], [-3, 1, 3, 2], [1, 1, 1e-12, 2]]
)
def test_boxes_without_a_size_in_the_picture_are_left_out(opened, things, box: list[float]) -> None:
    data = opened("coco", things(lambda found: found["annotations"][0].update(bbox=box)))
    assert data[1].target["labels"].tolist() == [2]
    Detection().check_target(data[1].target, (4, 6), data.legend)


def test_pictures_without_annotations_can_be_left_out(opened, things) -> None:
    assert [sample.key for sample in opened("coco", things(), empty=False)] == ["val/a", "val/b"]
    data = opened("coco", things(lambda found: found["annotations"][1].update(bbox=[0, 0, 0, 0])), empty=False)
    assert [sample.key for sample in data] == ["val/b"] and data[0].target["labels"].tolist() == [1, 2]
    with pytest.raises(InputError, match=r"no pictures with annotations in .*instances_val\.json"):
        opened("coco", things(lambda found: found.update(annotations=[])), empty=False)


def test_areas_are_told_where_all_are_known(opened, things) -> None:
    data = opened("coco", things(lambda found: found["annotations"][2].pop("area")))
    assert "area" not in data[0].target and "area" not in data[1].target
    data = opened("coco", things(lambda found: found["annotations"][2].update(area=0)))
    assert data[1].target["area"].tolist() == [3.5, 0.0]


def test_what_is_not_called_a_crowd_is_none(opened, things) -> None:
    data = opened("coco", things(lambda found: [entry.pop("iscrowd") for entry in found["annotations"]]))
    assert [sample.target["iscrowd"].tolist() for sample in data] == [[0], [0, 0], []]


def test_files_and_folders_of_another_layout(opened, things, tmp_path: Path) -> None:
    root = things()
    (root / "val").rename(root / "pics")
    (root / "instances_val.json").rename(root / "_annotations.val.coco.json")
    data = opened("coco", root, annotations="_annotations.{split}.coco.json", pictures="pics")
    assert [sample.key for sample in data] == ["val/a", "val/b", "val/c"]


def test_a_file_that_is_not_where_the_pattern_says_gets_the_nearest(opened, things) -> None:
    with pytest.raises(
        InputError,
        match=r"expects the file .*/instance_val\.json, and found instances_val\.json, .*; did you mean",
    ):
        opened("coco", things(), annotations="instance_{split}.json")


def test_pictures_in_a_folder_called_images(opened, things) -> None:
    root = things(flat=False)
    (root / "images").mkdir()
    (root / "val2017").rename(root / "images/val2017")
    assert len(opened("coco", root)) == 3


def test_pictures_in_folders_of_their_own(opened, things) -> None:
    root = things(lambda found: found["images"][0].update(file_name="deep/b.png"))
    (root / "val/deep").mkdir()
    (root / "val/b.png").rename(root / "val/deep/b.png")
    assert [sample.key for sample in opened("coco", root)] == ["val/a", "val/c", "val/deep/b"]


def test_worker_processes_can_be_given_one(opened, things) -> None:
    for targets in ("boxes", "masks", "keypoints"):
        data = opened("coco", things(), targets=targets)
        other = pickle.loads(pickle.dumps(data))
        assert all(torch.equal(other[1].target[name], value) for name, value in data[1].target.items())


@pytest.mark.parametrize("targets", ["boxes", "masks", "keypoints"])
def test_targets_are_nobody_elses(opened, things, targets: str) -> None:
    data = opened("coco", things(), targets=targets)
    before = {name: value.clone() for name, value in data[1].target.items()}
    assert {"boxes", "labels", "iscrowd", "area"} <= before.keys()
    for value in data[1].target.values():
        value.fill_(1)
        value.view(-1)[0] = 7
    assert all(torch.equal(value, before[name]) for name, value in data[1].target.items())


def test_the_end_is_an_index_error(opened, things) -> None:
    data = opened("coco", things())
    assert data[-1].key == "val/c"
    for number in (3, -4):
        with pytest.raises(IndexError):
            data[number]


def _set(path: str, value: object) -> Change:
    """Puts a value at a place such as ``annotations.0.bbox``."""

    def change(found: dict[str, Any]) -> None:
        *above, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        where: Any = found
        for part in above:
            where = where[part]
        where[last] = value

    return change


def _without(path: str) -> Change:
    def change(found: dict[str, Any]) -> None:
        *above, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        where: Any = found
        for part in above:
            where = where[part]
        del where[last]

    return change


WRONG: dict[str, tuple[Change, str]] = {
    "no images": (_without("images"), "images is missing; an annotation file has lists of images"),
    "no list": (_set("annotations", {}), r"annotations is \{\}; an annotation file has lists"),
    "no object": (_set("images.1", 3), r"images\[1\] is 3; it should be"),
    "no id": (_without("images.1.id"), r"images\[1\] has no id"),
    "a list for an id": (_set("images.1.id", [1]), r"images\[1\]\.id is \[1\]; it should be a number or text"),
    "an id twice": (_set("images.1.id", 30), "two of its images have the same id"),
    "a picture twice": (_set("images.1.file_name", "b.png"), r"images\[1\] has the file_name 'b\.png', and so has"),
    "no size": (_without("images.0.width"), r"images\[0\] has no width"),
    "no side": (_set("images.0.height", 0), r"images\[0\]\.height is 0; it should be 1 to 65535"),
    "a large side": (_set("images.0.width", 65536), r"images\[0\]\.width is 65536; it should be 1 to 65535"),
    "a file elsewhere": (_set("images.0.file_name", "../b.png"), r"file_name is '\.\./b\.png'; it should be a path in"),
    "a file anywhere": (_set("images.0.file_name", "/etc/b.png"), r"file_name is '/etc/b\.png'; it should be a path"),
    "a strange name": (_set("images.0.file_name", "b\0.png"), r"file_name is 'b\\x00\.png'; it should be a path in"),
    "a class twice": (_set("categories.1.name", "dog"), r"categories\[2\] has the id 18 and the name 'dog'"),
    "a class's id twice": (_set("categories.1.id", 90), r"categories\[1\] has the id 90 and the name 'bicycle'"),
    "no class": (_set("annotations.0.category_id", 3), r"annotations\[0\] is of 3, .* none of the categories"),
    "true for a class": (_set("annotations.0.category_id", True), r"annotations\[0\]\.category_id is True"),
    "no picture": (_set("annotations.2.image_id", 31), r"annotations\[2\] is of 31, .* none of the images"),
    "no box": (_without("annotations.0.bbox"), r"annotations\[0\] has no bbox"),
    "three numbers": (_set("annotations.0.bbox", [1, 2, 3]), r"annotations\[0\]\.bbox is \[1, 2, 3\]; it should"),
    "words": (_set("annotations.0.bbox", ["1", 2, 3, 4]), r"annotations\[0\]\.bbox is \['1', 2, 3, 4\]"),
    "not a number": (_set("annotations.0.bbox", [float("nan"), 2, 3, 4]), "NaN is not a JSON number"),
    "infinite": (_set("annotations.0.area", float("inf")), "Infinity is not a JSON number"),
    "a negative area": (_set("annotations.0.area", -1), r"annotations\[0\]\.area is -1; it should be a number from 0"),
    "half a crowd": (_set("annotations.0.iscrowd", 2), r"annotations\[0\]\.iscrowd is 2; it should be 0 or 1"),
    "true for an id": (_set("images.1.id", True), r"images\[1\]\.id is True; it should be a number or text"),
    "true for a number": (_set("annotations.0.bbox", [True, 1, 2, 2]), r"annotations\[0\]\.bbox is \[True, 1, 2, 2\]"),
    "five numbers": (_set("annotations.0.bbox", [1, 2, 3, 4, 5]), r"annotations\[0\]\.bbox is .* x, y, width"),
    "a word for a crowd": (_set("annotations.0.iscrowd", "0"), r"annotations\[0\]\.iscrowd is '0'; it should be 0"),
    "a class of blanks": (_set("categories.0.name", " "), r"categories\[0\]\.name is ' '; it should be a name"),
    "a file above": (_set("images.0.file_name", "deep/../../b.png"), r"file_name is 'deep/\.\./\.\./b\.png'; it"),
    "a file of blanks": (_set("images.0.file_name", " "), r"file_name is ' '; it should be a path inside"),
    "a file with backslashes": (_set("images.0.file_name", "d\\b.png"), r"file_name is .*; it should be a path inside"),
    "a side of text": (_set("images.0.width", "6"), r"images\[0\]\.width is '6'; it should be 1 to 65535"),
    "a huge number": (_set("annotations.0.bbox", [10**400, 2, 3, 4]), r"annotations\[0\]\.bbox is \[1000.*; it"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_named_with_its_place(opened, things, case: str) -> None:
    change, says = WRONG[case]
    with pytest.raises(InputError, match=rf"instances_val\.json[: ].*{says}"):
        opened("coco", things(change))


def test_a_number_that_only_json_can_write_is_named(opened, things) -> None:
    path = things() / "instances_val.json"
    path.write_text(path.read_text().replace('"area": 3.5', '"area": 1e999'))
    with pytest.raises(InputError, match=r"annotations\[0\]\.area is inf; it should be a number from 0"):
        opened("coco", path.parent)


OUTLINES: dict[str, tuple[object, str]] = {
    "a number": (3, "it should be a list of polygons or a dict of run lengths"),
    "no points": ([[]], "a polygon should be a list of at least three points"),
    "a box": ([[1, 1, 2, 2]], "a polygon should be a list of at least three points"),
    "half a point": ([[1, 1, 2, 2, 3, 3, 4]], "a polygon should be a list of at least three points"),
    "no list of lists": ([1, 1, 2, 2, 3, 3], "a polygon should be a list of at least three points"),
    "far outside": ([[1, 1, 2, 2, 1e9, 3]], r"a polygon has 1000000000\.0, which is no place in or near 6x4 pixels"),
    "a word": ([[1, 1, 2, 2, "3", 3]], "a polygon has '3'"),
    "another size": ({"size": [6, 4], "counts": [24]}, r"are of the size \[6, 4\], and the picture is \[4, 6\]"),
    "no size": ({"counts": [24]}, "are of the size None"),
    "no counts": ({"size": [4, 6]}, "its counts should be a list of numbers, or text"),
    "too many": ({"size": [4, 6], "counts": [20, 5]}, "its run lengths cover 25 pixels, and the picture has 24"),
    "too few": ({"size": [4, 6], "counts": [20]}, "its run lengths cover 20 pixels"),
    "negative": ({"size": [4, 6], "counts": [30, -6]}, "it has the run length -6"),
    "fractions": ({"size": [4, 6], "counts": [23.5, 0.5]}, r"it has the run length 23\.5"),
    "packed too many": ({"size": [4, 6], "counts": "PPPPPPP4"}, "its run lengths cover"),
    "packed negative": ({"size": [4, 6], "counts": "@"}, "it has the run length -16"),
    "packed and cut": ({"size": [4, 6], "counts": "P"}, "its counts end in the middle of a number"),
    "packed without end": ({"size": [4, 6], "counts": "P" * 99}, "its counts are no run lengths"),
    "not packed": ({"size": [4, 6], "counts": "5 2 2"}, "its counts are no run lengths"),
}


@pytest.mark.parametrize("case", OUTLINES)
def test_an_outline_that_is_none_is_named_before_pycocotools_sees_it(opened, things, case: str) -> None:
    outline, says = OUTLINES[case]
    data = opened("coco", things(_set("annotations.2.segmentation", outline)), targets="masks")
    assert data[0].target["masks"].shape == (1, 5, 8)
    with pytest.raises(
        InputError, match=rf"instances_val\.json: annotations\[2\]\.segmentation is no outline: .*{says}"
    ):
        data[1]


def test_an_outline_is_named_by_its_place_in_the_file(opened, things) -> None:
    """Its box left out, the first annotation is none of the data."""

    def spoil(found: dict[str, Any]) -> None:
        found["annotations"][0]["bbox"] = [1, 1, 0, 0]
        found["annotations"][2]["segmentation"] = 3

    with pytest.raises(InputError, match=r"annotations\[2\]\.segmentation is no outline"):
        opened("coco", things(spoil), targets="masks")[1]


def test_masks_beyond_the_memory_of_one_picture_are_refused(opened, things, monkeypatch) -> None:
    """Two outlines in a picture of 6x4 take 48 bytes."""
    monkeypatch.setattr("icm_datasets.coco._MOST", 48)
    assert opened("coco", things(), targets="masks")[1].target["masks"].shape == (2, 4, 6)
    monkeypatch.setattr("icm_datasets.coco._MOST", 47)
    with pytest.raises(InputError, match=r"has 2 outlines for a picture of 6x4 pixels: too many"):
        opened("coco", things(), targets="masks")[1]


def test_boxes_alone_are_no_outlines(opened, things) -> None:
    for spoil in (_without("annotations.0.segmentation"), _set("annotations.0.segmentation", [])):
        with pytest.raises(
            InputError, match=r"annotations\[0\] has no segmentation; .* only boxes \('targets': 'boxes'\)"
        ):
            opened("coco", things(spoil), targets="masks")
        assert len(opened("coco", things(spoil))) == 3


KEYPOINTS: dict[str, tuple[Change, str]] = {
    "none": (_without("categories.2.keypoints"), "none of its categories names keypoints; those of persons"),
    "others": (_set("categories.0.keypoints", ["tip"]), "its categories name different keypoints"),
    "a name twice": (_set("categories.2.keypoints", ["a", "a"]), r"categories\[2\]\.keypoints is \['a', 'a'\]; it"),
    "a name of another type": (_set("categories.2.keypoints", [[1]]), r"categories\[2\]\.keypoints is \[\[1\]\]; it"),
    "too few": (_set("annotations.0.keypoints", [1, 2, 2]), r"annotations\[0\]\.keypoints is \[1, 2, 2\]; .* of 3"),
    "no list": (_set("annotations.0.keypoints", {"a": 1}), r"annotations\[0\]\.keypoints is \{'a': 1\}"),
    "visibility": (_set("annotations.0.keypoints.2", 3), r"annotations\[0\]\.keypoints has the visibility 3;"),
}  # fmt: skip


@pytest.mark.parametrize("case", KEYPOINTS)
def test_points_that_cannot_be_are_named(opened, things, case: str) -> None:
    change, says = KEYPOINTS[case]
    with pytest.raises(InputError, match=rf"person_keypoints_val\.json: .*{says}"):
        opened("coco", things(change), targets="keypoints")


TEXTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", r"is not JSON: Expecting value \(line 1, column 1\)"),
    "cut": (b'{"images": [', r"is not JSON: Expecting value \(line 1, column 13\)"),
    "a list": (b"[]", r"it holds \[\]; it should be an object with images, annotations and categories"),
    "binary": (b"\xff\xfe\x00", r"is not a text file \(UTF-8\): byte 0"),
    "deep": (b"[" * 1_000_000, "its JSON is nested too deeply"),
    "a long number": (b"[" + b"9" * 10_000 + b"]", "is not JSON: Exceeds the limit"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_damaged_file_is_named(opened, things, case: str) -> None:
    root = things()
    text, says = TEXTS[case]
    (root / "instances_val.json").write_bytes(text)
    with pytest.raises(InputError, match=rf"instances_val\.json[: ].*{says}"):
        opened("coco", root)


def test_a_byte_order_mark_is_none_of_it(opened, things) -> None:
    path = things() / "instances_val.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(opened("coco", path.parent)) == 3


def test_pictures_that_are_not_there_are_counted_and_named(opened, things) -> None:
    root = things()
    (root / "val/b.png").unlink()
    (root / "val/c.png").unlink()
    with pytest.raises(InputError, match=r"names 3 pictures, of which 2 are not in .*val: b\.png, c\.png"):
        opened("coco", root)


def test_a_picture_of_another_size_is_named(opened, things, picture) -> None:
    root = things()
    picture(root / "val/b.png", (4, 6))
    with pytest.raises(InputError, match=r"val/b\.png has 4x6 pixels, and .*instances_val\.json says 6x4"):
        opened("coco", root)[1]


def test_another_split_gets_the_nearest_file(opened, things) -> None:
    with pytest.raises(
        InputError,
        match=r"expects annotations/instances_vale2017\.json or instances_vale\.json in .*, and found "
        r"instances_val\.json, person_keypoints_val\.json; did you mean 'instances_val\.json'\?",
    ):
        opened("coco", things(), "vale")
    with pytest.raises(InputError, match=r"holds no 'val', but "):
        root = things()
        (root / "val").rename(root / "valid")
        opened("coco", root)


def test_a_folder_without_any_file_says_what_is_there(opened, tmp_path: Path, picture) -> None:
    picture(tmp_path / "train/1.png")
    with pytest.raises(InputError, match=r"instances_train\.json in .*, and found train"):
        opened("coco", tmp_path, "train")


@pytest.mark.parametrize("pattern", [
    "../x.json", "a/../x.json", "a/..", "/x.json", "a\\x.json", "a\0.json", "", ".", "a{b}.json", "a}.json", "{a.json",
    "{split.__class__}", "*/a", "a/**", "a*b*",
])  # fmt: skip
def test_patterns_stay_inside_of_the_folder(opened, things, pattern: str) -> None:
    with pytest.raises(InputError, match=r"datasets\.coco\.params\.annotations is .*; it should"):
        opened("coco", things(), annotations=pattern)


def test_outlines_say_what_they_need(opened, things, monkeypatch) -> None:
    root = things()
    for broken in (None, ModuleType("pycocotools.coco")):  # not there, and of another version
        monkeypatch.setitem(sys.modules, "pycocotools.coco", broken)
        with pytest.raises(InputError, match=r"datasets\.coco needs the package pycocotools .* pip install 'icm-frame"):
            opened("coco", root, targets="masks")
    assert len(opened("coco", root)) == 3


def test_the_real_one(opened, shared) -> None:
    root = shared("coco")
    data = opened("coco", root)
    assert (len(opened("coco", root, "train")), len(data), len(data.labels)) == (209, 98, 80)
    assert (data.labels[0], data.labels[-1]) == ("person", "toothbrush")
    file = json.loads((root / "instances_val.json").read_text())
    assert sum(len(sample.target["labels"]) for sample in data) == len(file["annotations"])
    assert sum(int(sample.target["iscrowd"].sum()) for sample in data) == 12
    for sample in data:
        Detection().check_target(sample.target, tuple(sample.picture.shape[1:]), data.legend)


def test_the_real_outlines_are_as_large_as_their_file_says(opened, shared) -> None:
    data = opened("coco", shared("coco"), targets="masks")
    for sample in (data[0], data[40], data[97]):
        Instances().check_target(sample.target, tuple(sample.picture.shape[1:]), data.legend)
        single = sample.target["iscrowd"] == 0
        pixels, areas = sample.target["masks"].flatten(1).sum(1)[single], sample.target["area"][single]
        assert torch.allclose(pixels.float(), areas, rtol=0.2, atol=20)
