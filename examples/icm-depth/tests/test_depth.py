"""The package keeps icm's contracts, reads metres, and learns them where there are some."""

from __future__ import annotations

import json
import math
import re
import tempfile
from pathlib import Path

import icm_depth
import numpy as np
import pytest
import torch
from icm_depth import Maps, Pyramid
from PIL import Image
from torch.nn import functional as F

import icm_core
from icm_core.testing import DataSetCase, HeadCase, parametrize_with_checks
from icm_core.types import Features

_FOLDER = tempfile.TemporaryDirectory()
ROOT = Path(_FOLDER.name)
for folder in ("train", "train_depth"):
    (ROOT / folder).mkdir()
for number in range(3):
    steps = np.tile(np.linspace(40, 250 - number, 60, dtype=np.uint8)[:, None], (1, 80))
    steps[:, :5] = 0  # no distance
    Image.fromarray(255 - steps).convert("RGB").save(ROOT / f"train/{number}.png")
    Image.fromarray(steps).save(ROOT / f"train_depth/{number}.png")

HEAD = {"image": icm_core.Level(3, 1)}


@parametrize_with_checks(
    [
        HeadCase(Pyramid, {"width": 8}),
        HeadCase(Pyramid, {"width": 4, "nearest": 1, "farthest": 80}),
        DataSetCase(Maps, root=ROOT),
    ]
)
def test_conformance(case, check) -> None:
    check(case)


def test_bytes_are_steps_of_so_many_metres() -> None:
    picture, metres = (Maps(Maps.Params(metres=0.04), ROOT, "train")[0].__dict__[key] for key in ("picture", "target"))
    assert picture.shape == (3, 60, 80) and metres.dtype == torch.float32
    assert metres[0, 10] == pytest.approx(1.6) and metres[-1, 10] == pytest.approx(10.0) and metres[30, 2] == 0
    assert Maps(Maps.Params(), ROOT, "train")[0].target[-1, 10] == pytest.approx(2500 / 255)


def test_pictures_come_by_their_names_whatever_order_the_disk_has(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(sorted(there(self), reverse=True)))
    data = Maps(Maps.Params(), ROOT, "train")
    assert [data[number].key for number in range(3)] == ["train/0", "train/1", "train/2"]


def test_pictures_of_other_modes_are_refused(tmp_path: Path) -> None:
    for folder in ("train", "train_depth"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / folder / "a.png")
    with pytest.raises(icm_core.InputError, match=r"a\.png is a PNG picture of mode RGB; a map of whole numbers"):
        Maps(Maps.Params(), tmp_path, "train")[0]


@pytest.mark.parametrize("farthest", [1.5, 2.0])
def test_the_farthest_distance_is_above_the_nearest(farthest: float) -> None:
    with pytest.raises(ValueError, match=f"farthest = {farthest:g} is not above nearest = 2"):
        Pyramid.Params(nearest=2.0, farthest=farthest)


def test_the_loss_is_the_paper_s_and_looks_at_known_pixels_alone() -> None:
    head = Pyramid(Pyramid.Params(width=4), HEAD)
    generator = torch.Generator().manual_seed(0)
    output = (1 + 5 * torch.rand(2, 1, 9, 7, generator=generator)).requires_grad_(True)
    target = 1 + 5 * torch.rand(2, 9, 7, generator=generator)
    target[0, :4] = torch.nan
    target[1] = torch.nan
    found = head.loss(output, target)
    error = np.log(output.detach().numpy()[0, 0, 4:]) - np.log(target.numpy()[0, 4:])
    assert found.tolist() == pytest.approx([np.mean(error**2) - 0.5 * np.mean(error) ** 2, 0.0], rel=1e-5)
    found.sum().backward()
    assert bool(output.grad.isfinite().all()) and not output.grad[0, 0, :4].any() and not output.grad[1].any()


def test_the_loss_counts_distances_of_less_than_a_metre_as_they_are() -> None:
    head = Pyramid(Pyramid.Params(width=4), HEAD)
    found = head.loss(torch.full((2, 1, 3, 5), 2.0), torch.tensor([0.5, 0.125]).view(2, 1, 1).expand(2, 3, 5))
    # An answer that is 4 or 16 times too far: half of the squared logarithm is an error of scale, and forgiven.
    assert found.tolist() == pytest.approx([0.5 * math.log(4) ** 2, 0.5 * math.log(16) ** 2])


def test_answers_lie_between_the_nearest_and_the_farthest_on_a_scale_of_logarithms() -> None:
    head = Pyramid(Pyramid.Params(width=4, nearest=2.0, farthest=32.0), HEAD).eval()
    features = Features({"image": torch.rand(1, 3, 32, 64)}, (30, 50))
    with torch.no_grad():
        head.last.weight.zero_()
        for bias, metres in ((0.0, 8.0), (30.0, 32.0), (-30.0, 2.0), (math.log(3.0), 2 * 16**0.75)):
            head.last.bias.fill_(bias)
            torch.testing.assert_close(head(features), torch.full((1, 1, 30, 50), metres))


@torch.no_grad()
def test_levels_are_widened_from_the_coarsest_on_and_joined_with_the_next_finer_one() -> None:
    torch.manual_seed(0)
    head = Pyramid(Pyramid.Params(width=4), HEAD).eval()
    x, levels = torch.rand(1, 3, 64, 96), []
    features = Features({"image": x}, (64, 96))
    for step in head.down:
        levels.append(x := step(x))
    assert [tuple(level.shape[1:]) for level in levels] == [
        (4, 32, 48), (8, 16, 24), (16, 8, 12), (16, 4, 6), (16, 2, 3),
    ]  # fmt: skip
    for step, finer in zip(head.up, (levels[3], levels[2], levels[1]), strict=True):
        larger = torch.nn.functional.interpolate(x, size=finer.shape[2:], mode="bilinear", align_corners=False)
        x = step(torch.cat([larger, finer], 1))
    share = torch.nn.functional.interpolate(head.last(x), size=(64, 96), mode="bilinear", align_corners=False)
    torch.testing.assert_close(head(features), 0.5 * 20 ** share.sigmoid())


def test_a_trained_head_tells_the_metres_that_it_was_shown() -> None:
    torch.manual_seed(0)
    head = Pyramid(Pyramid.Params(width=8), HEAD)
    picture = torch.rand(1, 3, 64, 96)
    target = torch.where(torch.arange(96) < 48, 2.0, 6.0).expand(1, 64, 96)
    picture[..., 48:] *= 0.3
    optimizer = torch.optim.Adam(head.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        head.losses(Features({"image": picture}, (64, 96)), target).mean().backward()
        optimizer.step()
    with torch.no_grad():
        found = head.eval().predict(Features({"image": picture}, (64, 96)))
    assert found.unit == "m" and float((found.output[:, 0] / target - 1).abs().mean()) < 0.15


def test_a_file_from_before_the_head_existed_has_distances() -> None:
    before = icm_core.load("sicmh-small", device="cpu")
    old = before.encode(torch.rand(3, 70, 90), quality=2)
    pipe = icm_core.load("icm-depth", device="cpu", weights="available")
    assert pipe.base_fingerprint == before.base_fingerprint
    found = pipe.decode(old, tasks=["depth"])["depth"]
    assert found.output.shape == (1, 1, 70, 90) and 0.5 <= float(found.output.min()) <= float(found.output.max()) <= 10


def test_every_picture_has_a_map_of_distances_of_its_name(tmp_path: Path) -> None:
    def keys() -> list[str]:
        data = Maps(Maps.Params(), tmp_path, "train")
        return [data[number].key for number in range(len(data))]

    pictures, maps = tmp_path / "train", tmp_path / "train_depth"
    with pytest.raises(icm_core.InputError, match=f"^{re.escape(str(pictures))}: no such folder; expected pictures in"):
        keys()
    (pictures / "more").mkdir(parents=True)  # a folder is no picture
    with pytest.raises(icm_core.InputError, match=f"^{re.escape(str(maps))}: no such folder"):
        keys()
    maps.mkdir()
    with pytest.raises(
        icm_core.InputError, match=f"^{re.escape(str(pictures))}: no distances for a picture, or no pic"
    ):
        keys()
    for name in ("b.png", "a.jpg"):
        Image.new("RGB", (9, 6)).save(pictures / name)
    Image.new("L", (9, 6)).save(maps / "a.png")
    with pytest.raises(icm_core.InputError, match=rf"^{re.escape(str(maps))}.b\.png: no distances for a picture"):
        keys()
    Image.new("L", (9, 6)).save(maps / "b.png")
    assert keys() == ["train/a", "train/b"]


def test_it_brings_a_pipeline_and_a_recipe() -> None:
    assert [path.name for path in icm_depth.icm_specs()] == ["icm-depth.json"]
    (recipe,) = icm_depth.icm_recipes()
    said = json.loads(recipe.read_text())
    assert recipe.stem == said["recipe"] == "depth-nyu" and said["pipeline"] == "icm-depth"


@torch.no_grad()
def test_a_step_is_two_convolutions_each_normed_in_four_groups() -> None:
    generator = torch.Generator().manual_seed(4)
    head = Pyramid(Pyramid.Params(width=8), {"image": icm_core.Level(5, 1)}).eval()
    for step, stride, inputs in ((head.down[0], 2, 5), (head.down[3], 2, 32), (head.up[2], 1, 48)):
        for parameter in step.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        given = torch.rand(2, inputs, 8, 12, generator=generator)
        x, weights = given, iter(step.parameters())
        for of in (stride, 1):
            weight, bias, scale, shift = (next(weights) for _ in range(4))
            x = F.group_norm(F.conv2d(x, weight, bias, of, 1), 4, scale, shift).relu()
        assert next(weights, None) is None
        torch.testing.assert_close(step(given), x, rtol=1e-4, atol=1e-3)


def test_a_map_of_distances_is_as_large_as_its_picture(tmp_path: Path) -> None:
    for folder, size in (("train", (30, 20)), ("train_depth", (20, 30))):
        (tmp_path / folder).mkdir()
        Image.new("RGB" if folder == "train" else "L", size).save(tmp_path / folder / "a.png")
    with pytest.raises(icm_core.InputError, match="there are 20x30 distances, and the picture has 30x20 pixels"):
        Maps(Maps.Params(), tmp_path, "train")[0]
