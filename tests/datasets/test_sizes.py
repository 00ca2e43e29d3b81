"""The parameter ``size``, which all data sets have: pictures and targets are resized alike, where they are opened."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2 import functional as tvf

import icm_datasets
from icm_core import InputError, Registry, SpecError, build_registry
from icm_core.interfaces import DataSet, DataSetParams, Sample
from icm_core.plugins.datasets import build_dataset
from icm_core.plugins.resized import Resized, new_size
from icm_datasets import CamVid, Pictures
from icm_evaluation.options import Options
from icm_evaluation.run import evaluate
from icm_tasks.kinds import Detection
from icm_training.data import open_data
from icm_training.recipe import DataSpec


class Made(DataSet):
    """One picture of 8x12 with a target that a test gives it."""

    name = "tests.made"

    def __init__(self, params: DataSetParams, root: Path, split: str) -> None:
        super().__init__(params, root, split)
        self.sample = Sample("one", torch.arange(288).remainder(256).to(torch.uint8).view(3, 8, 12), self.made)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, number: int) -> Sample:
        return self.sample


def resized(registry: Registry, kind: str, target: object, size: object, **more: object) -> Sample:
    cls = type("Given", (Made,), {"kind": kind, "made": target, **more})
    return build_dataset(cls, cls.Params(size=size), Path(), "", registry.kind)[0]


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """A picture of 40x60 whose pixels differ."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    (tmp_path / "val").mkdir()
    Image.fromarray(pixels).save(tmp_path / "val/a.png")
    return tmp_path


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        (20, (20, 30)),
        (80, (80, 120)),
        (27, (27, 41)),
        ([16, 16], (16, 16)),
        ([80, 40], (80, 40)),
        ("30x10", (30, 10)),
        (None, (40, 60)),
    ],
)
def test_the_shorter_side_or_height_and_width(opened, photograph: Path, size: object, shape: tuple[int, int]) -> None:
    (sample,) = opened("pictures", photograph, "val", size=size)
    assert sample.picture.shape == (3, *shape) and sample.picture.dtype == torch.uint8
    assert sample.key == "val/a" and sample.target is None


@given(st.tuples(*[st.integers(1, 3000)] * 2), st.integers(1, 3000))
def test_the_longer_side_follows_as_near_as_whole_pixels_can(old: tuple[int, int], wanted: int) -> None:
    new = new_size(old, wanted)
    assert min(new) == wanted
    assert abs(max(new) - max(old) * wanted / min(old)) <= 0.5
    assert new_size(old[::-1], wanted) == new[::-1]


def test_pictures_are_those_that_training_resizes_itself(opened, photograph: Path) -> None:
    (small,) = opened("pictures", photograph, "val", size=[16, 24])
    (whole,) = opened("pictures", photograph, "val")
    assert torch.equal(small.picture, tvf.resize(whole.picture, [16, 24], antialias=True))


def test_pictures_of_the_size_are_left_alone(opened, photograph: Path) -> None:
    one, other = (opened("pictures", photograph, "val", size=size)[0] for size in (None, 40))
    assert torch.equal(one.picture, other.picture)


@pytest.mark.parametrize(
    "size", [0, -3, 65536, 1.5, True, "x", "16x", "0x5", "1x2x3", [3], [1, 2, 3], [1, 0], [2.0, 3]]
)
def test_what_is_no_size_is_answered_with_what_one_is(opened, photograph: Path, size: object) -> None:
    with pytest.raises(InputError, match=r"^datasets\.pictures\.params\.size is .*shorter side .* such as 384"):
        opened("pictures", photograph, "val", size=size)


@pytest.mark.parametrize("size", [1, 384, [256, 512], "256x512", None])
def test_an_editor_is_told_what_a_size_is(size: object) -> None:
    schema = Pictures.Params.model_json_schema()
    jsonschema.validate({"size": size}, schema)
    for wrong in (0, 1.5, "x", [1], [1, 2, 3]):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"size": wrong}, schema)


def test_class_maps_stay_maps_of_their_classes(opened, camvid_tree: Path) -> None:
    whole, small = (opened("camvid", camvid_tree, size=size)[1] for size in (None, [2, 3]))
    assert small.target.dtype == torch.uint8 and small.target.shape == (2, 3)
    # Of a block of 2x2, the pixel at its centre, where four are equally near, is the lower right one.
    assert torch.equal(small.target, whole.target[1::2, 1::2])


def test_all_else_is_the_data_sets_own(opened, camvid_tree: Path) -> None:
    data, own = (opened("camvid", camvid_tree, size=size) for size in (2, None))
    assert (data.name, data.kind, data.legend, len(data)) == (own.name, own.kind, own.legend, len(own))
    assert (data.labels, data.ignore_index, data.unit) == (own.labels, own.ignore_index, own.unit)
    assert (data.root, data.split, [s.key for s in data]) == (own.root, own.split, [s.key for s in own])
    copy = pickle.loads(pickle.dumps(data))
    assert torch.equal(copy[1].picture, data[1].picture) and torch.equal(copy[1].target, data[1].target)


def test_distances_keep_their_unit(opened, tmp_path: Path, picture, class_map) -> None:
    picture(tmp_path / "val/1.png")
    class_map(tmp_path / "val_depth/1.png", [[51] * 6] * 4)
    data, own = (opened("nyu", tmp_path, size=size) for size in (2, None))
    assert (data.unit, data.legend, data.kind) == (own.unit, own.legend, own.kind) == ("m", own.legend, "depth")


def test_a_class_stays_as_it_is(registry: Registry) -> None:
    sample = resized(registry, "classification", torch.tensor(3), 4, labels=("a", "b", "c", "d"))
    assert sample.picture.shape == (3, 4, 6) and torch.equal(sample.target, torch.tensor(3))


def test_boxes_and_areas_are_scaled(registry: Registry) -> None:
    target = {
        "boxes": torch.tensor([[2.0, 2.0, 10.0, 6.0], [0.0, 0.0, 1.0, 1.0]]),
        "labels": torch.tensor([1, 0]),
        "iscrowd": torch.tensor([1, 0]),
        "area": torch.tensor([16.0, 1.0]),
    }
    found = resized(registry, "detection", target, [16, 6]).target
    assert found["boxes"].tolist() == [[1.0, 4.0, 5.0, 12.0]]  # the other one is half a pixel wide
    assert (found["labels"].tolist(), found["iscrowd"].tolist(), found["area"].tolist()) == ([1], [1], [16.0])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool])
def test_masks_are_resized_and_stay_of_their_type(registry: Registry, dtype: torch.dtype) -> None:
    masks = torch.zeros(2, 8, 12, dtype=dtype)
    masks[0, :4, :6] = 1
    masks[1, 0, 0] = 1
    boxes = torch.tensor([[0.0, 0.0, 6.0, 4.0], [0.0, 0.0, 4.0, 4.0]])
    target = {"boxes": boxes, "labels": torch.tensor([0, 1]), "masks": masks}
    found = resized(registry, "instances", target, 4).target
    assert found["masks"].dtype == dtype and found["masks"].shape == (1, 4, 6)  # the other one lost its only pixel
    assert found["masks"][0].int().tolist() == [[1, 1, 1, 0, 0, 0]] * 2 + [[0] * 6] * 2


def test_pictures_without_things_can_be_resized(registry: Registry) -> None:
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long(), "masks": torch.zeros(0, 8, 12).byte()}
    found = resized(registry, "instances", nothing, [4, 5]).target
    assert found["masks"].shape == (0, 4, 5) and found["boxes"].shape == (0, 4)


def test_points_are_scaled_and_keep_their_visibility(registry: Registry) -> None:
    points = torch.tensor([[[4.0, 2.0, 2.0], [0.0, 0.0, 0.0], [8.0, 6.0, 1.0]]])
    target = {"boxes": torch.tensor([[2.0, 2.0, 10.0, 6.0]]), "labels": torch.tensor([0]), "keypoints": points}
    found = resized(registry, "keypoints", target, 4, labels=("nose", "left_eye", "right_eye")).target
    assert found["keypoints"].tolist() == [[[2.0, 1.0, 2.0], [0.0, 0.0, 0.0], [4.0, 3.0, 1.0]]]


def test_distances_are_neither_scaled_nor_mixed(registry: Registry) -> None:
    steps = torch.arange(1, 97).float().view(8, 12)
    steps[3, 3] = torch.nan
    found = resized(registry, "depth", steps, 4).target
    assert found.dtype == torch.float32
    assert torch.equal(found.nan_to_num(-1), steps[1::2, 1::2].nan_to_num(-1)) and bool(found.isnan().any())


def test_a_picture_that_would_grow_beyond_all_bounds_is_named(opened, photograph: Path) -> None:
    Image.new("RGB", (500, 1)).save(photograph / "val/b.png")
    with pytest.raises(InputError, match=r"val/b has 500x1 pixels, and 150000x300 with the size 300; .* at most 65535"):
        opened("pictures", photograph, "val", size=300)[1]


def test_a_target_that_its_kind_cannot_move_is_named() -> None:
    class Still(Detection):
        def wrap(self, target: object, size: tuple[int, int]) -> object:
            raise ValueError("has things that do not move")

    cls = type("Given", (Made,), {"kind": "detection", "made": {}})
    with pytest.raises(InputError, match=r"^the target of one cannot be resized: has things that do not move"):
        build_dataset(cls, cls.Params(size=4), Path(), "", lambda _: Still())[0]


def test_a_kind_that_is_not_installed_is_named_where_it_is_needed(photograph: Path) -> None:
    bare = build_registry(path=[], extra={"datasets": icm_datasets})
    cls = type("Given", (Made,), {"kind": "detection", "made": {}})
    assert build_dataset(cls, cls.Params(), Path(), "", bare.kind).kind == "detection"
    with pytest.raises(SpecError, match="unknown kind 'detection'"):
        build_dataset(cls, cls.Params(size=4), Path(), "", bare.kind)


def test_a_data_set_that_is_built_by_hand_does_not_pass_over_a_size(camvid_tree: Path) -> None:
    with pytest.raises(InputError, match=r"datasets\.camvid is built with the size 4.* use icm_core\.open_dataset"):
        CamVid(CamVid.Params(size=4), camvid_tree, "val")


def test_recipes_have_it_too(registry: Registry, camvid_tree: Path) -> None:
    spec = DataSpec(use="datasets.camvid", root=str(camvid_tree), split="val", params={"size": [2, 3]})
    data = open_data("road", spec, Path(), registry)
    assert data.kind == "segmentation" and data[0].picture.shape == (3, 2, 3) and data[0].target.shape == (2, 3)


def test_measurements_have_it_too(photograph: Path, tmp_path: Path) -> None:
    task = {"adapter": {"use": "baselines.pixels"}, "head": {"use": "baselines.picture"}}
    spec = {"icm": 1, "name": "jpeg", "codec": {"use": "baselines.jpeg"}, "tasks": {"picture": task}}
    (tmp_path / "jpeg.json").write_text(json.dumps(spec))
    options = Options(
        str(tmp_path / "jpeg.json"),
        f"pictures:{photograph}",
        params=json.dumps({"size": [16, 24]}),
        qualities=(3.0,),
        workers=1,
        device="cpu",
    )
    (row,) = evaluate(options, tmp_path / "result.json").pictures
    assert (row.key, row.height, row.width) == ("val/a", 16, 24)


def test_a_kind_that_parameters_choose_is_that_of_the_resized_data_set(registry: Registry) -> None:
    class Chosen(Made):
        """Classes of pictures, as its parameters say."""

        made = torch.tensor(1)
        labels = ("a", "b")

        @property
        def kind(self) -> str:  # type: ignore[override]
            return "classification"

    params = DataSetParams(size=(4, 6))
    data = Resized(Chosen(DataSetParams(size=None), Path(), "train"), params, registry.kind("classification"))
    assert data.kind == "classification" and data[0].picture.shape == (3, 4, 6)
    assert (data.name, data.labels, len(data)) == ("tests.made", ("a", "b"), 1)
    plain = Resized(Chosen(DataSetParams(size=None), Path(), "train"), params, None)
    assert plain.kind == "pictures" and plain[0].picture.shape == (3, 4, 6)
