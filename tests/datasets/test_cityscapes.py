"""Cityscapes' layout, labelIds and sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from icm_core import InputError
from icm_tasks.palettes import CITYSCAPES

SCENE = "val/ulm/ulm_000000_000019"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """One scene of 512x256: a dark left and a bright right half, road (7) and car (26), under a strip of sky (23)."""
    pixels = np.zeros((256, 512, 3), np.uint8)
    pixels[:, 256:] = 200
    ids = np.full((256, 512), 7, np.uint8)
    ids[:, 256:] = 26
    ids[:8] = 23
    ids[-8:] = 1
    _write(tmp_path, pixels, ids)
    return tmp_path


def _write(root: Path, pixels: np.ndarray, ids: np.ndarray) -> None:
    for kind, ending, values in (("leftImg8bit", "leftImg8bit", pixels), ("gtFine", "gtFine_labelIds", ids)):
        path = root / kind / f"{SCENE}_{ending}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(path)


def test_label_ids_become_train_ids(opened, tree: Path) -> None:
    data = opened("cityscapes", tree, size="256x512")
    (sample,) = data
    assert sample.key == SCENE
    assert sample.picture.shape == (3, 256, 512) and sample.target.shape == (256, 512)
    column = sample.target[:, 0].tolist()
    assert column == [10] * 8 + [0] * 240 + [255] * 8
    assert int(sample.target[100, 300]) == 13 and sample.target.dtype == torch.uint8


# trainIds of the labelIds 0 to 33, as the data set's own cityscapesscripts/helpers/labels.py lists them.
TRAIN_IDS = [*[255] * 7, 0, 1, 255, 255, 2, 3, 4, 255, 255, 255, 5, 255, *range(6, 16), 255, 255, 16, 17, 18]


def test_every_label_id_has_the_train_id_of_the_data_sets_own_list(opened, tree: Path) -> None:
    ids = np.arange(512).clip(0, 33).astype(np.uint8)
    _write(tree, np.zeros((256, 512, 3), np.uint8), np.tile(ids, (256, 1)))
    (sample,) = opened("cityscapes", tree, size="256x512")
    assert sample.target[7, :34].tolist() == TRAIN_IDS


def test_classes_are_the_19_in_their_order(opened, tree: Path) -> None:
    data = opened("cityscapes", tree, size="256x512")
    assert (data.labels, data.ignore_index, data.kind) == (tuple(CITYSCAPES), 255, "segmentation")


def test_pictures_are_scaled_down_with_antialiasing(opened, tree: Path) -> None:
    stripes = np.tile(np.array([255, 0, 0, 255], np.uint8)[None, :, None], (1024, 512, 3))
    _write(tree, stripes, np.full((1024, 2048), 7, np.uint8))
    (sample,) = opened("cityscapes", tree, size="256x512")
    assert sample.picture.shape == (3, 256, 512)
    assert bool(((sample.picture.int() - 128).abs() < 32).all())  # without it: 0, from the two pixels in the middle


def test_class_maps_are_scaled_down_without_mixing(opened, tree: Path) -> None:
    ids = np.random.default_rng(0).choice(np.array([7, 8, 11], np.uint8), (512, 1024))
    _write(tree, np.zeros((512, 1024, 3), np.uint8), ids)
    (sample,) = opened("cityscapes", tree, size="256x512")
    expected = np.array([0] * 8 + [1, 1, 1, 2])[ids]
    assert torch.equal(sample.target.long(), torch.from_numpy(expected[1::2, 1::2]))


def test_a_map_of_another_size_than_its_picture_is_named_whatever_size_is_asked_for(opened, tree: Path) -> None:
    _write(tree, np.zeros((256, 512, 3), np.uint8), np.full((300, 512), 7, np.uint8))
    with pytest.raises(InputError, match=r"labelIds\.png has 512x300 pixels and its picture .*Img8bit\.png 512x256"):
        opened("cityscapes", tree, size="256x512")[0]


def test_full_size_is_the_default(opened, tmp_path: Path) -> None:
    _write(tmp_path, np.zeros((1024, 2048, 3), np.uint8), np.full((1024, 2048), 7, np.uint8))
    (sample,) = opened("cityscapes", tmp_path)
    assert sample.picture.shape == (3, 1024, 2048)


@pytest.mark.parametrize("value", [34, 255])
def test_what_is_no_label_id_is_refused(opened, tree: Path, value: int) -> None:
    """255 is of a map of trainIds."""
    _write(tree, np.zeros((256, 512, 3), np.uint8), np.full((256, 512), value, np.uint8))
    with pytest.raises(InputError, match=rf"labelIds\.png holds the value {value}; labelIds are 0 to 33"):
        opened("cityscapes", tree, size="256x512")[0]


def test_annotations_that_were_not_unpacked(opened, tree: Path) -> None:
    (tree / "gtFine").rename(tree / "gtFine_trainvaltest")
    with pytest.raises(InputError, match=r"holds no 'gtFine', but gtFine_trainvaltest, leftImg8bit"):
        opened("cityscapes", tree)


def test_a_scene_without_annotation_is_named(opened, tree: Path) -> None:
    (tree / f"leftImg8bit/{SCENE}_leftImg8bit.png").with_name("ulm_1_leftImg8bit.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"no annotation in .* for .*ulm_1_leftImg8bit\.png; it found 2 pictures"):
        opened("cityscapes", tree)


def test_files_of_other_names_in_a_city_are_left_alone(opened, tree: Path) -> None:
    for folder, names in (
        ("leftImg8bit", ["ulm_1_rightImg8bit.png", "ulm_2_LEFTIMG8BIT.PNG", "ulm_3_leftImg8bit.txt"]),
        ("gtFine", ["ulm_000000_000019_gtFine_color.png", "ulm_1_gtFine_instanceIds.png", "ulm_2_GTFINE_LABELIDS.PNG"]),
    ):
        for name in names:
            (tree / folder / SCENE).with_name(name).touch()
    assert [sample.key for sample in opened("cityscapes", tree, size="256x512")] == [SCENE]


def test_pictures_without_cities(opened, tree: Path) -> None:
    (tree / f"leftImg8bit/{SCENE}_leftImg8bit.png").rename(tree / "leftImg8bit/val/one.png")
    with pytest.raises(InputError, match=r"no <city>/<scene>_leftImg8bit\.png in .*val, but one\.png, ulm"):
        opened("cityscapes", tree)
