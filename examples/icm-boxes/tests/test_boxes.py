"""The package keeps icm's contracts, its boxes are around what is there, and it learns to find them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from icm_boxes import Grid, Parts
from icm_boxes.grid import assign
from PIL import Image

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


def test_a_crowd_is_no_wrong_answer() -> None:
    head = Grid(Grid.Params(**SOME), {"image": icm_core.Level(3, 1)})
    output = {"classes": torch.full((1, 2, 8, 8), -20.0), "boxes": torch.zeros(1, 4, 8, 8)}
    output["classes"][0, 0, 1, 1] = 5.0
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    crowd = {"boxes": torch.tensor([[0.0, 0.0, 32.0, 32.0]]), "labels": torch.tensor([0]), "iscrowd": torch.tensor([1])}
    assert float(head.loss(output, (nothing,))) > 1 > 1e-4 > float(head.loss(output, (crowd,)))


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
