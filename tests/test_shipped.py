"""The weights that ship, on a photograph that ships in a wheel."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

import icm_core
from icm_core.bitstream.container import read
from icm_core.pictures import to_tensor
from icm_core.quality import Quality
from icm_core.types import Features

skimage = pytest.importorskip(
    "skimage", reason="the photograph is in scikit-image's wheel; install icm-framework[demo]"
)


@pytest.fixture(scope="module")
def pipe() -> icm_core.Pipeline:
    return icm_core.load("sicmh-small", device="cpu")


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    with Image.open(Path(skimage.__file__).parent / "data/chelsea.png") as image:
        return image.convert("RGB")


def test_higher_quality_costs_more_bytes_and_shows_more(pipe, photograph) -> None:
    x = to_tensor(photograph)
    sizes, errors = [], []
    for quality in (1, 2.5, 4):
        blob = pipe.encode(photograph, quality=quality)
        sizes.append(len(blob))
        errors.append(float((pipe.decode(blob, tasks=["fine"])["fine"].output - x).square().mean()))
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)


def test_a_base_only_file_has_at_most_32_bytes_of_overhead(pipe, photograph) -> None:
    blob = pipe.encode(photograph, quality=1, enhancement=False)
    assert len(blob) - len(read(blob).base.payload) <= 32


def test_streams_cost_what_the_model_estimates_within_one_percent_and_the_coders_end(pipe, photograph) -> None:
    # The coder's last state is written whole: up to 64 bits, which count where a picture has a few hundred bytes.
    for quality in (1.0, 2.0, 3.0, 4.0):
        payload = read(pipe.encode(photograph, quality=quality, enhancement=False)).base.payload
        with torch.inference_mode():
            estimate = float(pipe.codec(to_tensor(photograph), torch.tensor([quality])).total_bits)
        assert 0.99 * estimate <= 8 * len(payload) <= 1.01 * estimate + 64


def test_what_one_thread_writes_in_bfloat16_two_threads_read_in_float32(pipe, photograph) -> None:
    threads = torch.get_num_threads()
    try:
        for quality in (1, 2, 3, 4):
            torch.set_num_threads(1)
            x = to_tensor(photograph).contiguous(memory_format=torch.channels_last)
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                (payload,), written = pipe.codec.encode_with_side(x, Quality.of(quality))
            torch.set_num_threads(2)
            with torch.inference_mode():
                found = pipe.codec.decode([payload], written.size, Quality.of(quality))
            assert all(torch.equal(a, b) for a, b in zip(written.levels, found.levels, strict=True))
    finally:
        torch.set_num_threads(threads)


def test_a_search_brings_tasks_nearer_to_what_they_say_of_the_clean_picture(pipe, photograph) -> None:
    small = photograph.resize((192, 128))
    x = to_tensor(small)
    with torch.inference_mode():
        clean = pipe.task("segmentation").head(Features({"image": x}, (128, 192)))

    def off(blob: bytes) -> float:
        found = pipe.decode(blob, ["segmentation"])["segmentation"].output
        return float(pipe.task("segmentation").divergence(found, clean))

    plain = pipe.encode(small, quality=3, enhancement=False)
    found = pipe.encode(small, quality=3, enhancement=False, effort=10, search_for=["segmentation", "coarse"])
    assert off(found) < 0.75 * off(plain)
    assert len(found) < 1.15 * len(plain)


def test_base_layer_alone_gives_every_base_task(pipe, photograph) -> None:
    out = pipe.decode(pipe.encode(photograph, quality=2, enhancement=False))
    assert set(out) == {"segmentation", "classification", "coarse"}
    assert out["segmentation"].output.shape == (1, 11, photograph.height, photograph.width)


def test_a_file_of_sicmh_small_answers_the_tasks_that_were_added_behind_it(pipe, photograph) -> None:
    blob = pipe.encode(photograph, quality=3)
    scenes = icm_core.load("sicmh-scenes", device="cpu")
    found = scenes.decode(blob)
    before = pipe.decode(blob)
    assert {name: answer.kind for name, answer in found.items() if name not in before} == {
        "streets": "segmentation",
        "depth": "depth",
        "boxes": "detection",
    }
    for name, answer in before.items():
        torch.testing.assert_close(found[name].output, answer.output, rtol=1e-3, atol=1e-4)
    assert found["streets"].output.shape == (1, 19, photograph.height, photograph.width)
    assert float(found["depth"].output.min()) >= 0.5 and float(found["depth"].output.max()) <= 10.0
