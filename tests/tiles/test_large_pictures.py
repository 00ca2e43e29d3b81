"""Large pictures give the files and answers that they give as a whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import icm_core
from icm_core import tiles
from icm_core.kinds.segmentation import Enlarged
from icm_core.pictures import to_picture
from icm_core.types import Features, Prediction
from icm_demo.samples import shipped_photographs

SMALL = 64 * 64
"""A bound that makes the pictures here large: regions have 512 pixels at most."""


@pytest.fixture(scope="module")
def pipe():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield icm_core.load("sicmh-small", device="cpu")
    torch.set_num_threads(before)


def _photo(width, height):
    return Image.open(shipped_photographs()[0]).convert("RGB").resize((width, height))


@pytest.fixture
def read(monkeypatch):
    """How many regions chains of layers have read."""
    counted = []
    read = tiles.field.Chain.read

    def counting(self, rows, columns):
        counted.append(self)
        return read(self, rows, columns)

    monkeypatch.setattr(tiles.field.Chain, "read", counting)
    return counted


# Whole multiples of the stride, odd sizes, and strips that are narrower than the halo of a network.
@pytest.mark.parametrize("size", [(192, 128), (151, 101), (7, 600), (600, 7)])
def test_a_large_picture_has_the_bytes_and_the_answers_of_the_whole(pipe, read, size):
    photo = _photo(*size)
    blob = pipe.encode(photo, control=True)
    expected = pipe.decode(blob, verify=True)
    assert not read
    with tiles.bounded(SMALL):
        assert pipe.encode(photo, control=True) == blob
        coded = len(read)
        found = pipe.decode(blob, verify=True)
    assert coded > 10 and len(read) > coded + 10
    assert list(found) == list(expected)
    for name in found:
        close = 1e-5 if pipe.kind(name).is_picture else 1e-3  # else logits
        torch.testing.assert_close(found[name].output, expected[name].output, rtol=1e-3, atol=close)


def test_tensors_of_bytes_and_of_floats_and_batches_have_the_same_bytes(pipe):
    first, second = (
        torch.from_numpy(np.array(photo)).permute(2, 0, 1)
        for photo in (_photo(96, 80), _photo(96, 80).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    )
    blobs = [pipe.encode(one) for one in (first, second)]
    with tiles.bounded(SMALL):
        assert pipe.encode(first) == blobs[0]
        assert pipe.encode(first.float() / 255) == blobs[0]
        assert pipe.encode_batch([first, second]) == blobs
        assert pipe.encode(_photo(96, 80), enhancement=False) == pipe.encode(first, enhancement=False)


def test_a_search_runs_as_a_whole(pipe):
    photo = _photo(96, 64)
    blob = pipe.encode(photo, effort=1, search_for=["coarse"])
    with tiles.bounded(SMALL):
        assert pipe.encode(photo, effort=1, search_for=["coarse"]) == blob


def test_pictures_of_different_sizes_are_refused_together(pipe):
    with tiles.bounded(SMALL), pytest.raises(icm_core.InputError, match="pictures of one size"):
        pipe.encode_batch([_photo(96, 80), _photo(80, 96)])


def test_a_head_sees_means_of_blocks_of_a_picture_with_more_pixels_than_it_takes(pipe, monkeypatch):
    task = pipe.task("segmentation")
    image = torch.rand(1, 3, 128, 192)
    features = Features({"image": image}, (101, 150))
    seen = []
    monkeypatch.setattr(task.head, "most_pixels", 4000)
    task.head.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.inference_mode():
        found = task.answer(features)
    ((maps,),) = (seen,)
    # 101 x 150 in blocks of 2 x 2 are 51 x 75 = 3825 pixels.
    means = F.avg_pool2d(image[..., :101, :150], 2, ceil_mode=True, count_include_pad=False)
    assert maps.size == (51, 75)
    torch.testing.assert_close(maps.maps["image"], means)
    assert isinstance(found, Enlarged) and found.size == (101, 150)
    assert found.output.shape == (1, 11, 51, 75)
    task.kind.check_prediction(found, (101, 150), 1)
    assert task.kind.raster(found).size == (150, 101)
    monkeypatch.setattr(task.head, "most_pixels", 101 * 150)
    with torch.inference_mode():
        assert type(task.answer(features)) is Prediction


def test_pictures_are_rounded_strip_by_strip():
    picture = torch.rand(1, 3, 700, 5)
    shown = torch.from_numpy(np.array(to_picture(picture)))
    assert torch.equal(shown, picture[0].mul(255).round().to(torch.uint8).permute(1, 2, 0))
