"""Class names, colours and drawn maps."""

from __future__ import annotations

import pytest
import torch
from torchvision.datasets import Cityscapes

from icm_core.kinds import Segmentation, colour_of
from icm_core.types import Legend, Prediction
from icm_tasks import TrSeg
from icm_tasks.palettes import CAMVID, CITYSCAPES, default_labels, known_colours


def colours(labels):
    """What each class is drawn in."""
    return [colour_of(index, Legend(labels, (), known_colours(labels))) for index in range(len(labels))]


def test_known_class_counts_have_their_data_sets_names():
    assert default_labels(11) == tuple(CAMVID)
    assert default_labels(19) == tuple(CITYSCAPES)


def test_cityscapes_classes_and_colours_are_those_of_torchvision():
    trained = sorted((one for one in Cityscapes.classes if one.train_id not in (-1, 255)), key=lambda one: one.train_id)
    assert list(CITYSCAPES.items()) == [(one.name, one.color) for one in trained]


def test_camvids_classes_and_colours_are_those_of_its_label_file():
    """Lines of label_colors.txt, in the order of SegNet's training."""
    lines = [
        "128 128 128 Sky",
        "128 0 0 Building",
        "192 192 128 Column_Pole",
        "128 64 128 Road",
        "0 0 192 Sidewalk",
        "128 128 0 Tree",
        "192 128 128 Sign_Symbol",
        "64 64 128 Fence",
        "64 0 128 Car",
        "64 64 0 Pedestrian",
        "0 128 192 Bicyclist",
    ]
    rows = [line.split() for line in lines]
    assert list(CAMVID.items()) == [(name.lower(), (int(r), int(g), int(b))) for r, g, b, name in rows]


def test_given_names_win(small, layout):
    names = tuple("abcdefghijk")
    with torch.device("meta"):
        head = TrSeg(TrSeg.Params.model_validate(small | {"class_names": names}), layout)
    assert head.labels == names


@pytest.mark.parametrize("classes", [2, 11, 19, 21, 255])
def test_all_colours_differ(classes):
    found = colours(default_labels(classes))
    assert len(set(found)) == classes
    assert all(0 <= channel <= 255 for colour in found for channel in colour)


def test_other_names_get_generated_colours():
    assert known_colours(tuple("abcdefghijk")) == ()
    assert not set(colours(tuple("abcdefghijk"))) & set(CAMVID.values())


def test_known_names_in_another_order_are_another_list():
    assert known_colours(tuple(reversed(CAMVID))) == () == known_colours([*CAMVID, "more"])
    assert known_colours([*CITYSCAPES]) == tuple(CITYSCAPES.values())


def test_known_names_have_their_data_sets_colours():
    assert colours(tuple(CAMVID)) == list(CAMVID.values())
    assert colours(tuple(CITYSCAPES)) == list(CITYSCAPES.values())


def test_drawn_map_holds_indices_and_palette(trseg):
    logits = torch.zeros(2, 11, 3, 5)
    logits[0, 3] = 1
    logits[0, 10, 0, 1] = 2
    picture = Segmentation().raster(Prediction("segmentation", logits, trseg.labels, trseg.colours))
    assert (picture.mode, picture.size) == ("P", (5, 3))
    assert (picture.getpixel((0, 0)), picture.getpixel((1, 0))) == (3, 10)
    assert picture.convert("RGB").getpixel((0, 0)) == CAMVID["road"]


def test_predict_carries_kind_labels_and_colours(trseg, picture):
    with torch.no_grad():
        prediction = trseg.predict(picture(16, 16))
    assert (prediction.kind, prediction.labels) == ("segmentation", tuple(CAMVID))
    assert prediction.colours == tuple(CAMVID.values())
