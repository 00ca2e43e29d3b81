"""The package keeps icm's contracts, its boxes are around what is there, and it learns to find them."""

from __future__ import annotations

import json
import math
import re
import tempfile
from pathlib import Path

import icm_boxes
import numpy as np
import pytest
import torch
from icm_boxes import Grid, Parts
from icm_boxes.grid import assign
from PIL import Image
from torch.nn import functional as F

import icm_core
from icm_core.testing import DataSetCase, HeadCase, parametrize_with_checks
from icm_core.types import Features

_FOLDER = tempfile.TemporaryDirectory()
ROOT = Path(_FOLDER.name)
for folder in ("train", "trainannot"):
    (ROOT / folder).mkdir()
for number in range(3):
    classes = np.zeros((60, 80), dtype=np.uint8)
    for place in range(number):
        classes[5:20, 5 + 25 * place : 20 + 25 * place] = 8  # so many cars
    classes[30:50, 40:46] = 9  # a pedestrian
    classes[40:43, 70:73] = 10  # too small for a cyclist
    Image.fromarray(classes * 20).convert("RGB").save(ROOT / f"train/{number}.png")
    Image.fromarray(classes).save(ROOT / f"trainannot/{number}.png")

SOME = {"classes": ["car", "bicyclist"], "width": 8}


@parametrize_with_checks(
    [HeadCase(Grid, SOME), HeadCase(Grid, {**SOME, "least": 0.001}), DataSetCase(Parts, root=ROOT)]
)
def test_conformance(case, check) -> None:
    check(case)


def test_boxes_are_around_the_parts_of_each_class() -> None:
    data = Parts(Parts.Params(), ROOT, "train")
    walker = [40.0, 30.0, 46.0, 50.0]
    assert [data[number].target["labels"].tolist() for number in range(3)] == [[1], [0, 1], [0, 0, 1]]
    assert data[0].target["boxes"].tolist() == [walker]
    assert data[2].target["boxes"].tolist() == [[5.0, 5.0, 20.0, 20.0], [30.0, 5.0, 45.0, 20.0], walker]


def test_pictures_come_by_their_names_whatever_order_the_disk_has(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(sorted(there(self), reverse=True)))
    data = Parts(Parts.Params(), ROOT, "train")
    assert [data[number].key for number in range(3)] == ["train/0", "train/1", "train/2"]


def test_smaller_things_have_their_cells_and_crowds_none() -> None:
    target = {
        "boxes": torch.tensor([[0.0, 0.0, 64.0, 64.0], [30.0, 30.0, 33.0, 33.0], [40.0, 0.0, 64.0, 24.0]]),
        "labels": torch.tensor([0, 1, 0]),
        "iscrowd": torch.tensor([0, 0, 1]),
    }
    owner, counted = assign(target, (8, 8))
    assert owner[3, 3] == 1 and int((owner == 1).sum()) == 1  # smaller than a cell, and no middle of one is in it
    assert int((owner == 0).sum()) == 8 and bool((owner[3:6, 3:6] >= 0).all())  # its own cell and those around
    assert not counted[:3, 5:].any() and int((~counted).sum()) == 9


def test_inside_of_a_crowd_the_cells_of_a_thing_count() -> None:
    target = {
        "boxes": torch.tensor([[0.0, 0.0, 64.0, 32.0], [8.0, 8.0, 24.0, 16.0]]),
        "labels": torch.tensor([0, 1]),
        "iscrowd": torch.tensor([1, 0]),
    }
    owner, counted = assign(target, (6, 8))
    assert (owner >= 0).nonzero().tolist() == [[1, 1], [1, 2]]
    assert counted[:4].nonzero().tolist() == [[1, 1], [1, 2]] and bool(counted[4:].all())


def test_a_crowd_is_no_wrong_answer() -> None:
    head = Grid(Grid.Params(**SOME), {"image": icm_core.Level(3, 1)})
    output = {"classes": torch.full((1, 2, 8, 8), -20.0), "boxes": torch.zeros(1, 4, 8, 8)}
    output["classes"][0, 0, 1, 1] = 5.0
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    crowd = {"boxes": torch.tensor([[0.0, 0.0, 32.0, 32.0]]), "labels": torch.tensor([0]), "iscrowd": torch.tensor([1])}
    assert float(head.loss(output, (nothing,))) > 1 > 1e-4 > float(head.loss(output, (crowd,)))


def output(*cells: tuple[int, int, int, float, list[float]]) -> dict[str, torch.Tensor]:
    """What a network says that is sure of nothing but some cells: class, row, column, logit and box."""
    found = {"classes": torch.full((1, 2, 6, 9), -9.0), "boxes": torch.zeros(1, 4, 6, 9)}
    for label, row, column, logit, box in cells:
        found["classes"][0, label, row, column] = logit
        found["boxes"][0, :, row, column] = torch.tensor(box)
    return found


def test_boxes_are_middles_from_the_cells_and_logarithms_of_sizes_in_cells() -> None:
    said = output((0, 2, 5, 1.0, [0.25, -0.5, math.log(3.0), math.log(0.5)]))["boxes"]
    left, top, right, bottom = Grid.decoded(said)[0, 2, 5].tolist()
    x, y = 8 * 5 + 4 + 2, 8 * 2 + 4 - 4
    assert (left, top, right, bottom) == pytest.approx((x - 12, y - 2, x + 12, y + 2))
    assert Grid.decoded(said)[0, 3, 1].tolist() == [8, 24, 16, 32]  # of zeros: the cell itself


def test_of_boxes_that_overlap_the_surest_of_a_class_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    large = [0.0, 0.0, math.log(3.0), math.log(3.0)]
    said = output(
        (0, 2, 3, 1.0, large),  # 16 to 40 across
        (0, 2, 4, 2.0, [-0.75, *large[1:]]),  # 18 to 42, an IoU of 22 / 26 with the first
        (1, 2, 3, 0.0, large),  # of another class
        (0, 4, 7, -1.0, [0.0, 0.0, 0.0, 0.0]),
        (0, 5, 0, -3.5, [0.0, 0.0, 0.0, 0.0]),  # a score of 0.03
        (1, 0, 8, 3.0, [0.0, 0.0, math.log(0.1), 0.0]),  # less than a pixel wide
    )

    def boxes(**params: float) -> tuple[list[int], list[float], list[list[float]]]:
        head = Grid(Grid.Params(**SOME, **params), {"image": icm_core.Level(3, 1)})
        monkeypatch.setattr(head, "forward", lambda features: said)
        (found,) = head.predict(Features({"image": torch.zeros(1, 3, 44, 72)}, (44, 72))).output
        return found["labels"].tolist(), found["scores"].tolist(), found["boxes"].tolist()

    labels, scores, places = boxes()
    assert (labels, scores) == ([0, 1, 0], [pytest.approx(1 / (1 + math.exp(-x))) for x in (2.0, 0.0, -1.0)])
    assert [place for box in places for place in box] == pytest.approx([18, 8, 42, 32, 16, 8, 40, 32, 56, 32, 64, 40])
    assert boxes(overlap=0.9)[0] == [0, 0, 1, 0] and boxes(most=2)[0] == [0, 1]
    assert boxes(least=0.02)[2][-1] == pytest.approx([0, 40, 8, 44])  # cut at the picture's border
    assert boxes(least=0.6)[0] == [0]


def test_the_loss_is_focal_over_cells_and_generalised_iou_over_those_of_things() -> None:
    head = Grid(Grid.Params(**SOME), {"image": icm_core.Level(3, 1)})
    generator = torch.Generator().manual_seed(2)
    said = {
        "classes": torch.randn(2, 2, 6, 9, generator=generator),
        "boxes": torch.randn(2, 4, 6, 9, generator=generator),
    }
    things = {"boxes": torch.tensor([[10.0, 5.0, 40.0, 37.0]]), "labels": torch.tensor([1])}
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    expected = []
    for one, target in enumerate((things, nothing)):
        owner, _ = assign(target, (6, 9))
        total = 0.0
        for label, row, column in np.ndindex(2, 6, 9):
            chance = 1 / (1 + math.exp(-float(said["classes"][one, label, row, column])))
            there = bool(owner[row, column] >= 0) and label == 1
            total -= 0.25 * (1 - chance) ** 2 * math.log(chance) if there else 0.75 * chance**2 * math.log(1 - chance)
        for row, column in (owner >= 0).nonzero().tolist():
            a, b = Grid.decoded(said["boxes"])[one, row, column].tolist(), things["boxes"][0].tolist()
            inner = [max(0.0, min(a[2 + i], b[2 + i]) - max(a[i], b[i])) for i in (0, 1)]
            outer = [max(a[2 + i], b[2 + i]) - min(a[i], b[i]) for i in (0, 1)]
            area = inner[0] * inner[1]
            union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - area
            hull = outer[0] * outer[1]
            total += 1 - (area / union - (hull - union) / hull)
        expected.append(total / max(1, int((owner >= 0).sum())))
    assert int((assign(things, (6, 9))[0] >= 0).sum()) == 9
    assert head.loss(said, (things, nothing)).tolist() == pytest.approx(expected, rel=1e-4)


def test_the_divergence_is_of_all_classes_in_a_cell_and_a_mean_over_cells() -> None:
    head = Grid(Grid.Params(**SOME), {"image": icm_core.Level(3, 1)})
    generator = torch.Generator().manual_seed(3)
    said, true = ({"classes": torch.randn(2, 2, 3, 4, generator=generator)} for _ in range(2))
    p, q = (one["classes"].double().sigmoid() for one in (true, said))
    each = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    torch.testing.assert_close(head.divergence(said, true).double(), each.sum((1, 2, 3)) / 12, rtol=1e-4, atol=1e-5)
    assert head.divergence(true, true).tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


def test_hardly_any_cell_has_a_thing_at_first() -> None:
    head = Grid(Grid.Params(**SOME), {"image": icm_core.Level(3, 1)})
    assert head.classes.bias.sigmoid().tolist() == pytest.approx([0.01, 0.01])


def test_parts_that_touch_at_a_corner_are_one_and_small_ones_none(tmp_path: Path) -> None:
    for folder in ("train", "trainannot"):
        (tmp_path / folder).mkdir()
    classes = np.zeros((20, 30), dtype=np.uint8)
    classes[2:6, 3:9] = classes[6:10, 9:12] = 10
    classes[12:16, 20:29] = 10
    Image.fromarray(classes).convert("RGB").save(tmp_path / "train/a.png")
    Image.fromarray(classes).save(tmp_path / "trainannot/a.png")
    for smallest, boxes in ((36, [[3, 2, 12, 10], [20, 12, 29, 16]]), (37, [])):
        found = Parts(Parts.Params(smallest=smallest), tmp_path, "train")[0].target
        assert found["boxes"].tolist() == boxes and found["labels"].tolist() == [2] * len(boxes)


def test_a_class_map_that_lies_on_its_side_is_refused(tmp_path: Path) -> None:
    for folder, size in (("train", (30, 20)), ("trainannot", (20, 30))):
        (tmp_path / folder).mkdir()
        Image.new("RGB" if folder == "train" else "L", size).save(tmp_path / folder / "a.png")
    with pytest.raises(icm_core.InputError, match="the class map is 20x30 pixels, its picture 30x20"):
        Parts(Parts.Params(), tmp_path, "train")[0]


def test_a_trained_head_finds_what_it_was_shown() -> None:
    torch.manual_seed(0)
    head = Grid(Grid.Params(**SOME), {"image": icm_core.Level(3, 1)})
    picture = torch.zeros(1, 3, 64, 96)
    boxes = torch.tensor([[8.0, 10.0, 40.0, 30.0], [60.0, 20.0, 70.0, 50.0]])
    for (left, top, right, bottom), colour in zip(boxes.int().tolist(), (0, 2), strict=True):
        picture[0, colour, top:bottom, left:right] = 1
    target = {"boxes": boxes, "labels": torch.tensor([0, 1])}
    optimizer = torch.optim.Adam(head.parameters(), 0.01)
    for _ in range(80):
        optimizer.zero_grad()
        head.losses(Features({"image": picture}, (64, 96)), (target,)).mean().backward()
        optimizer.step()
    with torch.no_grad():
        (found,) = head.eval().predict(Features({"image": picture}, (64, 96))).output
    best = found["scores"][:2].argsort(descending=True)
    assert sorted(found["labels"][best].tolist()) == [0, 1] and float(found["scores"][:2].min()) > 0.5
    order = found["labels"][:2].argsort()
    assert float((found["boxes"][:2][order] - boxes).abs().max()) < 4


def test_a_file_from_before_the_head_existed_has_boxes() -> None:
    before = icm_core.load("sicmh-small", device="cpu")
    old = before.encode(torch.rand(3, 70, 90), quality=2)
    pipe = icm_core.load("icm-boxes", device="cpu", weights="available")
    assert pipe.base_fingerprint == before.base_fingerprint
    found = pipe.decode(old, tasks=["objects"])["objects"]
    assert found.labels == ("car", "pedestrian", "bicyclist")
    pipe.kind("objects").check_prediction(found, (70, 90), 1)


def test_every_picture_has_a_class_map_of_its_name(tmp_path: Path) -> None:
    def keys() -> list[str]:
        data = Parts(Parts.Params(), tmp_path, "train")
        return [data[number].key for number in range(len(data))]

    pictures, maps = tmp_path / "train", tmp_path / "trainannot"
    with pytest.raises(icm_core.InputError, match=f"^{re.escape(str(pictures))}: no such folder; expected pictures in"):
        keys()
    (pictures / "more").mkdir(parents=True)  # a folder is no picture
    with pytest.raises(icm_core.InputError, match=f"^{re.escape(str(maps))}: no such folder"):
        keys()
    maps.mkdir()
    with pytest.raises(
        icm_core.InputError, match=f"^{re.escape(str(pictures))}: no class map for a picture, or no pic"
    ):
        keys()
    for name in ("b.png", "a.jpg"):
        Image.new("RGB", (9, 6)).save(pictures / name)
    Image.new("L", (9, 6)).save(maps / "a.png")
    with pytest.raises(icm_core.InputError, match=rf"^{re.escape(str(maps))}.b\.png: no class map for a picture"):
        keys()
    Image.new("L", (9, 6)).save(maps / "b.png")
    assert keys() == ["train/a", "train/b"]


@pytest.mark.parametrize("objects", [("car",), ("car", "van", "bus")])
def test_there_are_as_many_names_as_classes(objects: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=f"objects has {len(objects)} names for 2 classes"):
        Parts.Params(objects=objects, classes=(8, 9))


def test_it_brings_a_pipeline_and_a_recipe() -> None:
    assert [path.name for path in icm_boxes.icm_specs()] == ["icm-boxes.json"]
    (recipe,) = icm_boxes.icm_recipes()
    said = json.loads(recipe.read_text())
    assert recipe.stem == said["recipe"] == "boxes-camvid" and said["pipeline"] == "icm-boxes"


@torch.no_grad()
def test_the_network_is_convolutions_that_see_ever_farther_each_normed_in_four_groups() -> None:
    generator = torch.Generator().manual_seed(4)
    head = Grid(Grid.Params(**SOME), {"image": icm_core.Level(5, 1)}).eval()
    for parameter in head.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    picture = torch.rand(2, 5, 64, 80, generator=generator)
    x, weights = picture[..., :44, :70], iter(head.body.parameters())  # what is beyond the picture is not seen
    for stride, dilation in ((4, 1), (2, 1), (1, 1), (1, 2), (1, 4), (1, 8)):
        weight, bias, scale, shift = (next(weights) for _ in range(4))
        x = F.conv2d(x, weight, bias, stride, dilation * (weight.shape[2] // 2), dilation)
        x = F.group_norm(x, 4, scale, shift).relu()
    assert next(weights, None) is None
    found = head(Features({"image": picture}, (44, 70)))
    assert found["classes"].shape == (2, 2, 6, 9) and found["boxes"].shape == (2, 4, 6, 9)
    for name, layer in (("classes", head.classes), ("boxes", head.boxes)):
        torch.testing.assert_close(found[name], F.conv2d(x, layer.weight, layer.bias), rtol=1e-4, atol=1e-3)


def test_the_loss_moves_the_boxes_of_things_and_wants_a_target_for_each_picture() -> None:
    head = Grid(Grid.Params(**SOME), {"image": icm_core.Level(3, 1)})
    said = {"classes": torch.zeros(1, 2, 6, 9), "boxes": torch.zeros(1, 4, 6, 9, requires_grad=True)}
    thing = {"boxes": torch.tensor([[9.0, 9.0, 14.0, 13.0]]), "labels": torch.tensor([0])}
    head.loss(said, (thing,)).sum().backward()
    moved = said["boxes"].grad
    assert moved is not None and moved[0].abs().sum(0).nonzero().tolist() == [[1, 1]]
    assert bool((moved[0, 2:, 1, 1] > 0).all())  # the cell is larger than the thing
    with pytest.raises(ValueError):
        head.loss(said, (thing, thing))
