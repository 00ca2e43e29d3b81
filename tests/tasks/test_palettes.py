"""Class names, colours and drawn maps."""

from __future__ import annotations

import pytest
import torch

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
