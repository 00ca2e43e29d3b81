"""Pascal VOC's layout, its XML, and XML that is none of it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from icm_core import InputError
from icm_core.types import Legend
from icm_tasks.kinds import Detection

HOME = "VOCdevkit/VOC2012"
XML = """<annotation>
  <folder>VOC2012</folder>
  <size><width>20</width><height>10</height><depth>3</depth></size>
  <object><name>dog</name><difficult>0</difficult><bndbox><xmax>8</xmax><xmin>3</xmin><ymax>10</ymax><ymin>2</ymin></bndbox>
    <part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part></object>
  <object><name>person</name><difficult>1</difficult><bndbox><xmin>20</xmin><ymin>1</ymin><xmax>20</xmax><ymax>1</ymax></bndbox></object>
  <object><name>cat</name><bndbox><xmin>-3</xmin><ymin>4.5</ymin><xmax>99</xmax><ymax>7.25</ymax></bndbox></object>
</annotation>"""


@pytest.fixture
def tree(tmp_path: Path, picture, class_map) -> Path:
    """Two pictures of 20x10 in the order b, a; the first has three things, the second none."""
    home = tmp_path / HOME
    for number, name in enumerate(["a", "b", "c"]):
        picture(home / f"JPEGImages/{name}.jpg", (20, 10), (number * 100, 0, 0))
        class_map(home / f"SegmentationClass/{name}.png", [[0, 12, 20, 255] * 5] * 10)
    for sets in ("Main", "Segmentation"):
        (home / "ImageSets" / sets).mkdir(parents=True)
        (home / "ImageSets" / sets / "val.txt").write_text("b\na\n")
    (home / "ImageSets/Main/dog_val.txt").write_text("a  1\nb -1\n")
    (home / "Annotations").mkdir()
    (home / "Annotations/a.xml").write_text(XML)
    (home / "Annotations/b.xml").write_text("<annotation></annotation>")
    return tmp_path


def annotation(tree: Path, text: str | bytes) -> None:
    path = tree / HOME / "Annotations/a.xml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def test_boxes_reach_from_the_first_pixel_to_the_last(opened, tree: Path) -> None:
    data = opened("voc", tree)
    assert [sample.key for sample in data] == ["val/a", "val/b"]
    assert (data.kind, len(data.labels), data.labels[0], data.labels[-1]) == ("detection", 20, "aeroplane", "tvmonitor")
    target = data[0].target
    assert target["boxes"].tolist() == [[2.0, 1.0, 8.0, 10.0], [19.0, 0.0, 20.0, 1.0], [0.0, 3.5, 20.0, 7.25]]
    assert [data.labels[label] for label in target["labels"].tolist()] == ["dog", "person", "cat"]
    assert target["iscrowd"].tolist() == [0, 1, 0]  # what is difficult
    for sample in data:
        Detection().check_target(sample.target, (10, 20), data.legend)
    assert data[1].target["boxes"].shape == (0, 4)


def test_classes_are_in_alphabetical_order(opened, tree: Path) -> None:
    """As VOC numbers them in its class maps."""
    labels = opened("voc", tree).labels
    assert len(labels) == 20 and [*labels] == sorted(labels)
    assert {"aeroplane", "cow", "diningtable", "pottedplant", "sheep", "sofa", "tvmonitor"} <= {*labels}


def test_maps_have_the_background_first(opened, tree: Path) -> None:
    data = opened("voc", tree, targets="maps")
    assert (data.kind, data.labels[:2], len(data.labels)) == ("segmentation", ("background", "aeroplane"), 21)
    assert data.ignore_index == 255
    assert data[0].target.dtype == torch.uint8 and data[0].target[0, :4].tolist() == [0, 12, 20, 255]
    assert data.labels[12] == "dog"


def test_among_boxes_no_class_counts_nowhere(opened, tree: Path) -> None:
    data = opened("voc", tree)
    assert data.ignore_index is None and data.legend == Legend(data.labels)


def test_boxes_and_maps_have_lists_of_their_own(opened, tree: Path) -> None:
    (tree / HOME / "ImageSets/Segmentation/val.txt").write_text("c\n")
    assert [sample.key for sample in opened("voc", tree, targets="maps")] == ["val/c"]
    assert [sample.key for sample in opened("voc", tree)] == ["val/a", "val/b"]


def test_a_list_may_have_a_byte_order_mark_and_empty_lines(opened, tree: Path) -> None:
    (tree / HOME / "ImageSets/Main/val.txt").write_text("\ufeff  b \n\n a\n")
    assert [sample.key for sample in opened("voc", tree)] == ["val/a", "val/b"]


@pytest.mark.parametrize("inner", ["", "VOCdevkit", HOME])
def test_the_folder_may_be_one_above(opened, tree: Path, inner: str) -> None:
    assert len(opened("voc", tree / inner)) == 2


def test_the_list_of_a_class_is_a_split_too(opened, tree: Path) -> None:
    """Behind each name it says whether the class is in the picture."""
    assert [sample.key for sample in opened("voc", tree, "dog_val")] == ["dog_val/a", "dog_val/b"]


def test_several_years_are_told_apart_by_the_user(opened, tree: Path) -> None:
    (tree / "VOCdevkit/VOC2007/JPEGImages").mkdir(parents=True)
    with pytest.raises(InputError, match=r"found .*VOC2007, .*VOC2012 in .*; give the folder of one of them"):
        opened("voc", tree)
    assert len(opened("voc", tree / HOME)) == 2


def test_a_year_may_lie_beside_the_development_kit(opened: Callable[..., Any], tree: Path) -> None:
    """The kit alone has code and no pictures."""
    (tree / HOME).rename(tree / "VOC2012")
    (tree / "VOCdevkit/VOCcode").mkdir()
    assert [sample.key for sample in opened("voc", tree)] == ["val/a", "val/b"]
    (tree / "VOCdevkit/VOC2007/JPEGImages").mkdir(parents=True)
    with pytest.raises(InputError, match=r"found .*VOC2012, .*VOC2007 in .*; give the folder of one of them"):
        opened("voc", tree)


def test_classes_of_ones_own(opened, tree: Path) -> None:
    data = opened("voc", tree, classes=["person", "cat", "dog"])
    assert data[0].target["labels"].tolist() == [2, 0, 1]
    assert opened("voc", tree, classes=["x"] * 1, targets="maps").labels == ("background", "x")
    with pytest.raises(InputError, match=r"params\.classes is \['a', 'a'\]; it should name each class once"):
        opened("voc", tree, classes=["a", "a"])


def test_a_class_that_there_is_not_gets_the_nearest(opened, tree: Path) -> None:
    annotation(tree, XML.replace("dog", "dogg"))
    with pytest.raises(
        InputError, match=r"a\.xml is .*: object 1 has the name 'dogg', .* none of the 20 classes; did you mean 'dog'\?"
    ):
        opened("voc", tree)[0]


def test_a_class_that_a_map_may_not_hold(opened, tree: Path, class_map) -> None:
    class_map(tree / HOME / "SegmentationClass/a.png", [[21] * 20] * 10)
    with pytest.raises(InputError, match=r"a\.png holds the value 21; the classes are 0 to 20 and 255"):
        opened("voc", tree, targets="maps")[0]


def test_worker_processes_can_be_given_one(opened, tree: Path) -> None:
    data = pickle.loads(pickle.dumps(opened("voc", tree)))
    assert data[0].target["labels"].tolist() == [11, 14, 7]


@pytest.mark.parametrize("sides", [("<width>0", "<height>0"), ("<width>20", "<height>0"), ("<width>0", "<height>7")])
def test_a_size_left_at_0_says_nothing(opened, tree: Path, sides: tuple[str, str]) -> None:
    annotation(tree, XML.replace("<width>20", sides[0]).replace("<height>10", sides[1]))
    assert len(opened("voc", tree)[0].target["boxes"]) == 3


def test_boxes_are_cut_at_every_border_and_names_may_stand_between_blanks(opened, tree: Path) -> None:
    sides = "<xmin>-1</xmin><ymin>-5</ymin><xmax>21</xmax><ymax>{}</ymax>"
    thing = "<object><name>\n dog </name><difficult> 1 </difficult><bndbox>{}</bndbox></object>"
    annotation(tree, f"<annotation>{''.join(thing.format(sides.format(y)) for y in (' 4 ', 11))}</annotation>")
    target = opened("voc", tree)[0].target
    assert target["boxes"].tolist() == [[0.0, 0.0, 20.0, 4.0], [0.0, 0.0, 20.0, 10.0]]
    assert target["labels"].tolist() == [11, 11] and target["iscrowd"].tolist() == [1, 1]


def test_boxes_without_a_size_in_the_picture_are_left_out(opened, tree: Path) -> None:
    annotation(tree, XML.replace("<xmin>3<", "<xmin>9<").replace("<xmax>99<", "<xmax>0<"))
    assert opened("voc", tree)[0].target["labels"].tolist() == [14]
    annotation(tree, XML.replace("<ymin>2<", "<ymin>11<").replace("<ymax>7.25<", "<ymax>3.5<"))
    assert opened("voc", tree)[0].target["labels"].tolist() == [14]


BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "{a}"><!ENTITY c "{b}">]><annotation>&c;</annotation>'.format(
    a="&a;" * 100, b="&b;" * 100
)
WRONG = {
    "no XML": ("no picture", "it is not XML: syntax error: line 1"),
    "empty": ("", "it is not XML: no element found"),
    "cut": (XML[:-20], "it is not XML: unclosed token"),
    "another root": ("<html/>", "its root is <html>; it should be <annotation>"),
    "entities": (BOMB, "it has a document type, and annotations have none"),
    "entities in another encoding": (BOMB.encode("utf-16"), "it has a document type"),
    "a file elsewhere": ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "it has a document type"),
    "an entity that is none": ("<annotation>&x;</annotation>", "it is not XML: undefined entity"),
    "an encoding that is none": (
        '<?xml version="1.0" encoding="nope"?><annotation/>',
        "it is not XML: unknown encoding",
    ),
    "too large": ("<annotation>" + " " * 4_000_000, "it has 4000012 bytes, and the limit is 4000000"),
    "another height": (XML.replace("<height>10", "<height>11"), "it is of 20x11 pixels, and the picture has 20x10"),
    "another picture": (XML.replace("<width>20", "<width>21"), "it is of 21x10 pixels, and the picture has 20x10"),
    "no box": ("<annotation><object><name>dog</name></object></annotation>", "object 1 has no <bndbox>"),
    "no name": (XML.replace("<name>dog</name>", ""), "object 1 has the name ''"),
    "no side": (
        XML.replace("<xmin>3</xmin>", ""),
        "xmin in <bndbox> of object 1 is ''; it should be a number of pixels",
    ),
    "no number": (XML.replace("<xmin>3<", "<xmin>nan<"), "xmin in <bndbox> of object 1 is 'nan'"),
    "no end": (XML.replace("<xmax>8<", "<xmax>inf<"), "xmax in <bndbox> of object 1 is 'inf'"),
    "half difficult": (XML.replace(">1</diff", ">2</diff"), "difficult of object 2 is '2'; it should be 0 or 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_annotation_that_is_none_is_named(opened, tree: Path, case: str) -> None:
    text, says = WRONG[case]
    annotation(tree, text)
    data = opened("voc", tree)
    assert data[1].key == "val/b"
    with pytest.raises(InputError, match=rf"Annotations/a\.xml is not an annotation of this picture: {says}"):
        data[0]


def test_elements_in_elements_end(opened, tree: Path) -> None:
    annotation(tree, "<annotation>" + "<a>" * 100_000 + "</a>" * 100_000 + "</annotation>")
    assert opened("voc", tree)[0].target["boxes"].shape == (0, 4)


def _remove(*names: str):
    return lambda home: [(home / name).unlink() for name in names]


LAYOUTS = {
    "another split": (
        lambda home: (home / "ImageSets/Main/val.txt").rename(home / "ImageSets/Main/vals.txt"),
        r"expects the list .*ImageSets/Main/val\.txt, and found lists of the splits vals; did you mean 'vals'\?",
    ),
    "no lists": (
        lambda home: (home / "ImageSets").rename(home / "Sets"),
        r"holds no 'ImageSets', but .*Annotations",
    ),
    "no pictures": (lambda home: (home / "JPEGImages").rename(home / "JPEGs"), r"holds no 'JPEGImages', but "),
    "a picture short": (
        _remove("JPEGImages/b.jpg"),
        r"no pictures in .*JPEGImages for 1 of the 2 names in .*val\.txt: b",
    ),
    "an annotation short": (
        _remove("Annotations/a.xml"),
        r"no annotations in .*Annotations for 1 of the 2 names .*: a",
    ),
    "an empty list": (lambda home: (home / "ImageSets/Main/val.txt").write_text("\n"), r"val\.txt names no picture"),
    "a name twice": (
        lambda home: (home / "ImageSets/Main/val.txt").write_text("a\nb\na\n"),
        r"val\.txt names the picture 'a' twice",
    ),
    "a name elsewhere": (
        lambda home: (home / "ImageSets/Main/val.txt").write_text("../a\n"),
        r"no pictures in .*JPEGImages for 1 of the 1 names in ImageSets/Main/val\.txt: \.\./a",
    ),
    "no text": (lambda home: (home / "ImageSets/Main/val.txt").write_bytes(b"\xff"), r"val\.txt is not a text file"),
    "a picture in two formats": (
        lambda home: Image.new("RGB", (20, 10)).save(home / "JPEGImages/a.png"),
        r"a\.(png|jpg) and .*a\.(png|jpg) would share one annotation",
    ),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_another_layout_is_answered_with_what_was_expected_and_found(opened, tree: Path, case: str) -> None:
    spoil, says = LAYOUTS[case]
    spoil(tree / HOME)
    with pytest.raises(InputError, match=says):
        opened("voc", tree / HOME)
