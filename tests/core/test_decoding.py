"""Which files a pipeline refuses, and in which words; limits, batches of several writers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from icm_core import BitstreamError, Pipeline, Quality, Registry, build, parse_spec
from icm_core.bitstream import split
from icm_core.bitstream.container import read
from icm_core.pictures import to_picture


def pictures() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randint(0, 256, (3, 20, 33), generator=generator, dtype=torch.uint8) for _ in range(2)]


def test_a_larger_picture_than_is_allowed_is_refused(pipeline: Pipeline) -> None:
    blob = pipeline.encode(pictures()[0])
    assert "fine" in pipeline.decode(blob, max_pixels=20 * 33)
    with pytest.raises(BitstreamError, match="1 to 659 pixels are accepted"):
        pipeline.decode(blob, max_pixels=20 * 33 - 1)
    base, part = split(blob)
    assert "fine" in pipeline.decode(base, enhancement=part, max_pixels=20 * 33)
    with pytest.raises(BitstreamError, match="1 to 659 pixels are accepted"):
        pipeline.decode(base, enhancement=part, max_pixels=20 * 33 - 1)


def test_every_file_of_a_batch_has_to_be_this_pipelines(pipeline: Pipeline) -> None:
    first, second = (read(blob) for blob in pipeline.encode_batch(pictures(), enhancement=False))
    other = replace(second, layers=(replace(second.base, fingerprint=b"\1\2\3\4"),))
    with pytest.raises(BitstreamError, match="base layer was written by another pipeline"):
        pipeline.decode_batch([first, other])


def test_files_with_and_without_an_enhancement_are_not_decoded_together(pipeline: Pipeline) -> None:
    one, other = pictures()
    files = [pipeline.encode(one), pipeline.encode(other, enhancement=False)]
    found = list(pipeline.decode_many(files, batch=2))
    assert ["fine" in each for each in found] == [True, False]


def test_a_file_of_another_pipeline_keeps_no_other_from_being_decoded(
    pipeline: Pipeline, registry: Registry, data: dict[str, Any]
) -> None:
    data["codec"]["params"] = {"steps": 9}
    foreign = build(parse_spec(data), registry)
    one, other = pictures()
    found = pipeline.decode_many([pipeline.encode(one), foreign.encode(other)], batch=2)
    assert "fine" in next(found)
    with pytest.raises(BitstreamError, match="base layer was written by another pipeline"):
        next(found)


def test_many_files_are_held_to_the_limit_of_pixels(pipeline: Pipeline) -> None:
    blobs = pipeline.encode_batch(pictures())
    for batch in (1, 2):
        assert len(list(pipeline.decode_many(blobs, batch=batch, max_pixels=20 * 33))) == 2
        with pytest.raises(BitstreamError, match="1 to 659 pixels are accepted"):
            list(pipeline.decode_many(blobs, batch=batch, max_pixels=20 * 33 - 1))


def test_the_files_fingerprint_and_the_pipelines_are_not_confused(
    pipeline: Pipeline, registry: Registry, data: dict[str, Any]
) -> None:
    data["codec"]["params"] = {"steps": 9}
    writer = build(parse_spec(data), registry).base_fingerprint.hex()
    own = pipeline.base_fingerprint.hex()
    with pytest.raises(BitstreamError, match=f"it carries the fingerprint {writer}, and pipeline 'tiny' has {own}$"):
        pipeline.decode(build(parse_spec(data), registry).encode(pictures()[0]))


@pytest.mark.parametrize("quality", [1, 4])
def test_both_ends_of_the_range_are_decoded(pipeline: Pipeline, quality: float) -> None:
    assert pipeline.decode(pipeline.encode(pictures()[0], quality)).quality == Quality.of(quality)
    finer = pipeline.decode(pipeline.encode(pictures()[0], 2, enhancement_quality=quality))
    assert finer.enhancement_quality == Quality.of(quality)


def test_qualities_below_the_range_are_refused(registry: Registry, data: dict[str, Any], pipeline: Pipeline) -> None:
    file = read(pipeline.encode(pictures()[0]))
    codec = type(pipeline.codec)
    low = property(lambda _: (2.0, 4.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "quality_range", low)
        with pytest.raises(BitstreamError, match="the file claims quality 1; pipeline 'tiny' has 2 to 4"):
            pipeline.decode(replace(file, quality=Quality.of(1)))
        fine = replace(file.layers[1], quality=Quality.of(1.5))
        with pytest.raises(BitstreamError, match=r"claims quality 1\.5 of its enhancement; pipeline 'tiny' has 2 to 4"):
            pipeline.decode(replace(file, layers=(file.base, fine)))


def test_of_several_pictures_the_first_that_was_decoded_is_drawn_on(registry: Registry, data: dict[str, Any]) -> None:
    other = {"adapter": data["tasks"]["coarse"]["adapter"], "head": {"use": "tiny.picture"}}
    pipe = build(parse_spec({**data, "tasks": {"other": other, **data["tasks"]}}), registry)
    with torch.no_grad():
        pipe.get_parameter("tasks.other.head.shift").add_(0.3)
    blob = pipe.encode(pictures()[0])
    each = pipe.decode(blob, ["other", "coarse"])
    shown = {name: np.asarray(to_picture(each[name].output)) for name in each}
    assert not np.array_equal(shown["other"], shown["coarse"])
    for asked in (["other"], ["coarse"], ["other", "coarse"], ["coarse", "other"], ["labels", "other", "coarse"]):
        first = next(name for name in asked if name in shown)
        assert np.array_equal(np.asarray(pipe.canvas(pipe.decode(blob, asked))), shown[first])
