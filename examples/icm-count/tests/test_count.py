"""The package keeps icm's contracts, and counts in files of before."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F
from typer.testing import CliRunner

import icm_core
import icm_count
from icm_core.cli import app
from icm_core.testing import DataSetCase, HeadCase, parametrize_with_checks
from icm_core.types import Features
from icm_count import Density, Objects

_FOLDER = tempfile.TemporaryDirectory()
ROOT = Path(_FOLDER.name)
for folder in ("train", "trainannot"):
    (ROOT / folder).mkdir()
for number in range(3):
    classes = np.zeros((60, 80), dtype=np.uint8)
    for place in range(number):
        classes[5:20, 5 + 25 * place : 20 + 25 * place] = 8  # so many cars
    classes[40:43, 40:43] = 9  # too small for a pedestrian
    Image.fromarray(classes * 20).convert("RGB").save(ROOT / f"train/{number}.png")
    Image.fromarray(classes).save(ROOT / f"trainannot/{number}.png")


@parametrize_with_checks(
    [HeadCase(Density, {"objects": ["car", "bicyclist"], "width": 8}), DataSetCase(Objects, root=ROOT)]
)
def test_conformance(case, check) -> None:
    check(case)


def test_parts_of_a_class_are_counted() -> None:
    data = Objects(Objects.Params(), ROOT, "train")
    assert [data[number].target.tolist() for number in range(3)] == [[0, 0, 0], [1, 0, 0], [2, 0, 0]]


def test_pictures_come_by_their_names_whatever_order_the_disk_has(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(sorted(there(self), reverse=True)))
    data = Objects(Objects.Params(), ROOT, "train")
    assert [data[number].key for number in range(3)] == ["train/0", "train/1", "train/2"]


def test_parts_that_touch_at_a_corner_are_one_and_those_of_the_smallest_size_count(tmp_path: Path) -> None:
    for folder in ("train", "trainannot"):
        (tmp_path / folder).mkdir()
    classes = np.zeros((20, 30), dtype=np.uint8)
    classes[2:6, 3:9] = classes[6:10, 9:12] = 10
    classes[12:16, 20:29] = 9
    Image.fromarray(classes).convert("RGB").save(tmp_path / "train/a.png")
    Image.fromarray(classes).save(tmp_path / "trainannot/a.png")
    for smallest, counts in ((36, [0, 1, 1]), (37, [0, 0, 0])):
        assert Objects(Objects.Params(smallest=smallest), tmp_path, "train")[0].target.tolist() == counts


def test_a_class_map_in_colours_is_refused(tmp_path: Path) -> None:
    for folder in ("train", "trainannot"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (8, 6)).save(tmp_path / folder / "a.png")
    with pytest.raises(icm_core.InputError, match=r"a\.png: a class map has one byte a pixel, and this has \(3,\) ch"):
        Objects(Objects.Params(), tmp_path, "train")[0]


def test_a_class_map_that_is_none_is_refused(tmp_path: Path) -> None:
    for folder in ("train", "trainannot"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / "train/a.png")
    (tmp_path / "trainannot/a.png").write_bytes(b"no map")
    with pytest.raises(icm_core.InputError, match=r"trainannot.a\.png: not a class map that can be read"):
        Objects(Objects.Params(), tmp_path, "train")[0]


def test_counts_are_sums_over_cells_of_8x8_pixels_and_hardly_any_at_first() -> None:
    torch.manual_seed(0)
    head = Density(Density.Params(objects=("car", "bicyclist"), width=8), {"image": icm_core.Level(3, 1)}).eval()
    features = Features({"image": torch.rand(2, 3, 64, 96)}, (64, 88))
    with torch.no_grad():
        density = head.density(features)
        assert density.shape == (2, 2, 8, 11) and float(density.min()) > 0
        logits = head.objects(head.body(features.cropped("image")))
        torch.testing.assert_close(density, (1 + logits.exp()).log())
        torch.testing.assert_close(head(features), density.sum(-1).sum(-1))
    assert head.objects.bias.tolist() == [-6.0, -6.0]


def test_the_loss_is_the_likelihood_of_poisson_distributions() -> None:
    head = Density(Density.Params(objects=("car", "bicyclist"), width=8), {"image": icm_core.Level(3, 1)})
    means, counts = torch.tensor([[0.5, 3.0], [2.0, 7.0]]), torch.tensor([[0.0, 4.0], [2.0, 1.0]])
    expected = (means - counts * means.log()).mean(1)  # without the logarithm of counts!
    torch.testing.assert_close(head.loss(means, counts), expected)


def trained(folder: Path) -> Path:
    """A spec whose new head has weights of its own; random ones are enough."""
    torch.manual_seed(0)
    pipe = icm_core.load("icm-count", device="cpu", weights="available")
    new = {key: value for key, value in icm_core.stored_state(pipe).items() if key.startswith("tasks.counts.")}
    save_file(new, folder / "counts.safetensors")
    spec = {"icm": 1, "name": "trained", "extends": "icm-count", "weights": "counts.safetensors"}
    (folder / "trained.json").write_text(json.dumps(spec))
    return folder / "trained.json"


def test_a_file_from_before_the_head_existed_is_counted(tmp_path: Path) -> None:
    before = icm_core.load("sicmh-small", device="cpu")
    old = before.encode(torch.rand(3, 70, 90), quality=2)
    pipe = icm_core.load("icm-count", device="cpu", weights="available")
    assert pipe.base_fingerprint == before.base_fingerprint
    counts = pipe.decode(old, tasks=["counts"])["counts"]
    assert counts.labels == ("car", "pedestrian", "bicyclist") and counts.output.shape == (1, 3)

    (tmp_path / "old.icm").write_bytes(old)
    run = CliRunner().invoke(
        app, ["decode", str(tmp_path / "old.icm"), "-m", str(trained(tmp_path)), "-t", "counts", "--json"]
    )
    assert run.exit_code == 0, run.output
    (row,) = json.loads(run.stdout)
    assert [value["label"] for value in row["tasks"]["counts"]["values"]] == ["car", "pedestrian", "bicyclist"]
    assert row["tasks"]["counts"]["kind"] == "regression"


def test_evaluation_gives_the_error_that_numpy_gives(tmp_path: Path) -> None:
    spec, result = trained(tmp_path), tmp_path / "result.json"
    measured = ["evaluate", str(spec), "--data", f"count.objects:{ROOT}", "--split", "train", "-q", "2"]
    run = CliRunner().invoke(app, [*measured, "--workers", "1", "--json", str(result)])
    assert run.exit_code == 0, run.output
    (point,) = json.loads(result.read_text())["points"]

    pipe, data = icm_core.load(spec, device="cpu"), Objects(Objects.Params(), ROOT, "train")
    errors = []
    for number in range(len(data)):
        sample = data[number]
        blob = pipe.encode(sample.picture, quality=2, enhancement=False)
        counts = pipe.decode(blob, tasks=["counts"])["counts"].output[0].numpy()
        errors.append(np.abs(counts.astype(np.float64) - sample.target.numpy()))
    assert point["tasks"]["counts"]["mae"] == pytest.approx(np.mean(errors), rel=1e-6)


def test_every_picture_has_a_class_map_of_its_name(tmp_path: Path) -> None:
    def keys() -> list[str]:
        data = Objects(Objects.Params(), tmp_path, "train")
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
        Objects.Params(objects=objects, classes=(8, 9))


def test_it_brings_a_pipeline() -> None:
    assert [path.name for path in icm_count.icm_specs()] == ["icm-count.json"]


@torch.no_grad()
def test_the_network_is_three_convolutions_two_of_them_normed_in_four_groups() -> None:
    generator = torch.Generator().manual_seed(4)
    head = Density(Density.Params(objects=("car", "bicyclist"), width=8), {"image": icm_core.Level(5, 1)}).eval()
    for parameter in head.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    picture = torch.rand(2, 5, 64, 80, generator=generator)
    x, weights = picture[..., :44, :70], iter(head.body.parameters())  # what is beyond the picture is not seen
    for stride in (4, 2):
        weight, bias, scale, shift = (next(weights) for _ in range(4))
        x = F.group_norm(F.conv2d(x, weight, bias, stride, weight.shape[2] // 2), 4, scale, shift).relu()
    x = F.conv2d(x, next(weights), next(weights), padding=2, dilation=2).relu()
    assert next(weights, None) is None
    found = head.density(Features({"image": picture}, (44, 70)))
    assert found.shape == (2, 2, 6, 9)
    expected = F.softplus(F.conv2d(x, head.objects.weight, head.objects.bias))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
