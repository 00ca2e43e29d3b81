"""The enhancement layer at a quality of its own: the base layer stays, the fine picture changes, the file says so."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch

from icm_core import BitstreamError, InputError, Pipeline, Registry, build, parse_spec
from icm_core.bitstream import join, read, split, write
from icm_core.quality import Quality


def test_the_base_layer_is_the_same_whatever_the_enhancements_quality(
    pipeline: Pipeline, picture: torch.Tensor
) -> None:
    base = pipeline.encode(picture, 2, enhancement=False)
    for quality in (1, 2, 3, 4):
        assert pipeline.encode(picture, 2, enhancement_quality=quality).startswith(base)


def test_a_better_enhancement_makes_a_better_fine_picture(pipeline: Pipeline, picture: torch.Tensor) -> None:
    x = picture.float() / 255 if picture.dtype == torch.uint8 else picture
    blobs = [pipeline.encode(picture, 2, enhancement_quality=quality) for quality in (1, 2, 3, 4)]
    errors = [float((pipeline.decode(blob)["fine"].output[0] - x).square().mean()) for blob in blobs]
    assert errors == sorted(errors, reverse=True) and len(set(errors)) == 4
    coarse = [pipeline.decode(blob)["coarse"].output for blob in blobs]
    assert all(torch.equal(coarse[0], other) for other in coarse)


def test_the_file_says_both_qualities(pipeline: Pipeline, picture: torch.Tensor) -> None:
    blob = pipeline.encode(picture, 2, enhancement_quality=3.5)
    file = read(blob)
    assert (file.quality, file.enhancement_quality) == (Quality.of(2), Quality.of(3.5))
    decoded = pipeline.decode(blob)
    assert (decoded.quality, decoded.enhancement_quality) == (Quality.of(2), Quality.of(3.5))
    assert pipeline.decode(pipeline.encode(picture, 2, enhancement=False)).enhancement_quality is None


def test_the_same_quality_given_twice_makes_the_file_that_it_made_before(
    pipeline: Pipeline, picture: torch.Tensor
) -> None:
    assert pipeline.encode(picture, 2, enhancement_quality=2) == pipeline.encode(picture, 2)
    assert pipeline.decode(pipeline.encode(picture, 2)).enhancement_quality == Quality.of(2)


def test_layers_of_two_qualities_come_apart_and_together(pipeline: Pipeline, picture: torch.Tensor) -> None:
    blob = pipeline.encode(picture, 2, enhancement_quality=4)
    base, part = split(blob)
    assert join(base, part) == blob
    again = pipeline.decode(base, enhancement=part)["fine"].output
    assert torch.equal(again, pipeline.decode(blob)["fine"].output)


@pytest.mark.parametrize("quality", [0.5, 5, float("nan")])
def test_a_quality_that_the_pipeline_has_not_is_refused(
    pipeline: Pipeline, picture: torch.Tensor, quality: float
) -> None:
    with pytest.raises(InputError, match="out of range"):
        pipeline.encode(picture, 2, enhancement_quality=quality)


def test_a_quality_of_no_enhancement_is_refused(
    pipeline: Pipeline, picture: torch.Tensor, registry: Registry, data: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match="a file without its enhancement layer has no quality of the enhancement"):
        pipeline.encode(picture, 2, enhancement=False, enhancement_quality=3)
    bare = copy.deepcopy(data)
    del bare["enhancement"]
    with pytest.raises(InputError, match="pipeline 'tiny' has no enhancement layer that could have a quality"):
        build(parse_spec(bare), registry).encode(picture, 2, enhancement_quality=3)


def test_a_file_that_claims_a_quality_that_the_pipeline_has_not_is_refused(
    pipeline: Pipeline, picture: torch.Tensor
) -> None:
    file = read(pipeline.encode(picture, 2))
    wrong = dataclasses.replace(file.layers[1], quality=Quality.of(9))
    blob = write(dataclasses.replace(file, layers=(file.base, wrong)))
    with pytest.raises(BitstreamError, match="quality 9 of its enhancement; pipeline 'tiny' has 1 to 4"):
        pipeline.decode(blob)
    assert "coarse" in pipeline.decode(blob, ["coarse"])
