"""Pictures at equal bytes: the best file of each system within a limit, and what it needed."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from icm_core import build_registry, load
from icm_core.bitstream.container import read
from icm_core.interfaces import DataSet
from icm_core.jpeg import psnr
from icm_core.pictures import to_picture
from icm_core.pipeline.pipeline import Pipeline
from icm_core.plugins.datasets import open_dataset
from icm_core.types import Legend
from icm_evaluation.gallery import _uncovered, shoot


@pytest.fixture
def data(folder: Any) -> DataSet:
    return open_dataset(f"maps:{folder}", "val", build_registry())


@pytest.fixture
def pipe() -> Pipeline:
    return load("single", device="cpu")


def test_a_limit_is_in_bits_per_pixel_and_steps_rise(pipe: Pipeline, data: DataSet) -> None:
    shot = shoot([pipe], data, 4, [0.9, 0.3])
    assert [step.title for step in shot.steps] == ["at most 0.3 bpp", "at most 0.9 bpp"]
    pixels = 180 * 190
    for step, limit in zip(shot.steps, (0.3, 0.9), strict=True):
        assert step.bytes == int(limit * pixels / 8) and step.bpp == pytest.approx(8 * step.bytes / pixels)


@pytest.mark.parametrize("less", [0, 1])
def test_a_system_is_shown_at_the_highest_quality_within_the_limit(data: DataSet, less: int) -> None:
    pipe, picture = load("spots-jpeg", device="cpu"), data[4].picture
    files = {step / 16: pipe.encode(picture, quality=step / 16) for step in range(16, 6 * 16 + 1)}
    sizes = {quality: len(read(file).base.payload) for quality, file in files.items()}  # JPEG's own
    assert [*sizes.values()] == sorted(sizes.values())
    limit = sizes[2.5] - less
    best = max(quality for quality, size in sizes.items() if size <= limit)
    assert best >= 2.5 if not less else 1 < best < 2.5
    (step,) = shoot([pipe], data, 4, [8 * (limit + 0.5) / (180 * 190)]).steps
    assert step.bytes == limit
    (caption,) = (cell.caption for cell in step.cells if cell.title == "spots-jpeg: picture")
    seen = to_picture(pipe.decode(files[best], tasks=["picture"])["picture"].output)
    original = Image.fromarray(picture.permute(1, 2, 0).numpy())
    assert caption == f"quality {best:g}, {sizes[best]:,} bytes, {psnr(original, seen):.2f} dB"


def test_an_answer_has_the_bytes_that_it_needs_of_a_file_with_two_layers(data: DataSet) -> None:
    pipe = load("scalable", device="cpu")
    (step,) = shoot([pipe], data, 4, [4.0]).steps
    said = {cell.title: re.match(r"quality ([\d.]+), ([\d,]+) bytes", cell.caption) for cell in step.cells}
    quality = {found[1] for title, found in said.items() if found and title != "JPEG"}
    assert len(quality) == 1
    blob = pipe.encode(data[4].picture, quality=float(quality.pop()))
    base, whole = f"{read(blob).base_bytes:,}", f"{len(blob):,}"
    assert base != whole
    assert {title: found[2] for title, found in said.items() if found and title != "JPEG"} == {
        "scalable: segmentation": base, "scalable: classification": base, "scalable: coarse": base,
        "scalable: fine": whole,
    }  # fmt: skip


@pytest.mark.parametrize("names", [["single"], ["single", "spots-jpeg"], ["spots-jpeg", "single"]])
def test_jpeg_stands_beside_systems_of_which_none_is_jpeg(data: DataSet, names: list[str]) -> None:
    (step,) = shoot([load(name, device="cpu") for name in names], data, 4, [2.0]).steps
    assert ("JPEG" in [cell.title for cell in step.cells]) == (names == ["single"])


def test_an_annotation_shows_the_picture_where_it_counts_nowhere(pipe: Pipeline, data: DataSet) -> None:
    shot, sample = shoot([pipe], data, 4, [0.5]), data[4]
    assert shot.truth is not None
    drawn, picture = (np.asarray(image.convert("RGB")) for image in (shot.truth, shot.original))
    ignored = sample.target.numpy() == 255
    assert ignored.any() and (drawn[ignored] == picture[ignored]).all()
    kept = drawn[: picture.shape[0]][~ignored]
    assert (kept != picture[~ignored]).any(1).mean() > 0.9


@pytest.mark.parametrize("ignored", [float("nan"), 0.0])
def test_distances_that_are_not_known_show_the_picture_whatever_they_are_written_as(ignored: float) -> None:
    drawn, original = Image.new("RGB", (3, 2), "red"), Image.new("RGB", (3, 2), "blue")
    target = torch.tensor([[1.0, ignored, 2.0], [ignored, 3.0, 4.0]])
    shown = np.asarray(_uncovered(drawn, original, target, Legend(ignore=ignored)))
    assert (shown[..., 2] == 255).tolist() == [[False, True, False], [True, False, False]]


def test_an_annotation_is_drawn_in_the_colours_of_the_head(pipe: Pipeline, data: DataSet) -> None:
    shot, sample = shoot([pipe], data, 4, [0.5]), data[4]
    assert shot.truth is not None
    drawn, picture = (np.asarray(image.convert("RGB")).astype(float) for image in (shot.truth, shot.original))
    for number, colour in enumerate([(0, 0, 255), (90, 90, 90), (0, 160, 0), (255, 0, 0)]):
        there = sample.target.numpy() == number
        assert np.abs(drawn[there] - (0.4 * picture[there] + 0.6 * np.array(colour))).max() <= 1


def test_what_is_drawn_is_not_said_as_well(pipe: Pipeline, data: DataSet) -> None:
    (step,) = shoot([pipe], data, 4, [0.5]).steps
    (cell,) = (cell for cell in step.cells if cell.title == "single: segmentation")
    assert cell.picture is not None and re.fullmatch(r"quality [\d.]+, [\d,]+ bytes", cell.caption)
    (words,) = (cell for cell in step.cells if cell.title == "single: classification")
    assert re.fullmatch(r"quality [\d.]+, [\d,]+ bytes: class \d.*", words.caption)


def test_codecs_with_files_of_their_own_count_these_whatever_is_drawn(data: DataSet) -> None:
    pipe = load("spots-jpeg", device="cpu")
    whole, base = (shoot([pipe], data, 4, [1.0], base_only=base_only).steps for base_only in (False, True))
    assert [cell.caption for cell in whole[0].cells] == [cell.caption for cell in base[0].cells]
    blob = pipe.encode(data[4].picture, quality=1)
    (first, *_) = shoot([pipe], data, 4, base_only=True).steps
    assert first.title == "spots-jpeg at quality 1" and first.bytes == len(read(blob).base.payload) < len(blob)


def test_a_system_that_cannot_be_so_small_says_so(pipe: Pipeline, data: DataSet) -> None:
    (step,) = shoot([pipe], data, 0, [0.001]).steps
    assert [(cell.title, cell.kind, cell.picture, cell.caption) for cell in step.cells] == [
        ("single", "", None, "cannot be so small"), ("JPEG", "", None, "cannot be so small"),
    ]  # fmt: skip
