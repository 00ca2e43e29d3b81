"""Pictures and files coded and decoded together."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from icm_core import BitstreamError, InputError, build, load, parse_spec
from icm_core.bitstream.container import Container, LayerKind, read
from icm_core.pipeline.parts import rows
from icm_core.quality import Quality
from icm_core.types import Prediction, SideInfo

SIZE = (70, 45)


def pictures(count: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randint(0, 256, (3, *SIZE), generator=generator, dtype=torch.uint8) for _ in range(count)]


@pytest.fixture
def files(pipeline) -> list[Container]:
    return [read(blob) for blob in pipeline.encode_batch(pictures(), 2.5, control=True)]


def test_a_batch_is_coded_as_each_picture_is_alone(pipeline) -> None:
    alone = [pipeline.encode(one, 2.5, control=True, enhancement_quality=1.5) for one in pictures()]
    assert pipeline.encode_batch(pictures(), 2.5, control=True, enhancement_quality=1.5) == alone
    assert len({*alone}) == 3
    without = pipeline.encode_batch(pictures(), 2.5, enhancement=False)
    assert without == [pipeline.encode(one, 2.5, enhancement=False) for one in pictures()]


def test_a_batch_is_decoded_as_each_file_is_alone(pipeline, files) -> None:
    together = pipeline.decode_batch(files, verify=True)
    for file, found in zip(files, together, strict=True):
        alone = pipeline.decode(file, verify=True)
        assert list(found) == list(alone) and "fine" in found
        for name in alone:
            assert replace(found[name], output=None) == replace(alone[name], output=None)
            torch.testing.assert_close(found[name].output, alone[name].output)  # floats: all but the last bits
        assert all(map(torch.equal, found.side.levels, alone.side.levels))
        assert (found.size, found.quality, found.complete) == (alone.size, alone.quality, alone.complete)
        assert found.verified == alone.verified == (LayerKind.BASE,)


@dataclass(frozen=True)
class Told(Prediction):
    """What a head tells in a field of its own."""

    brightness: tuple[float, ...] = ()


@pytest.mark.parametrize("finer", [None, 1.5])
def test_what_a_head_tells_of_refined_pictures_belongs_to_its_own(registry, data, monkeypatch, finer) -> None:
    data["tasks"]["classes"]["adapter"] = {"use": "core.decoded_picture", "params": {"of": "fine"}}
    pipeline = build(parse_spec(data), registry)
    head = pipeline.task("classes").head

    def predict(features):
        told = tuple(float(one.mean()) for one in features.cropped("image"))
        return Told(head.kind, head(features), head.labels, brightness=told)

    monkeypatch.setattr(head, "predict", predict)
    files = [read(blob) for blob in pipeline.encode_batch(pictures(), 2.5, enhancement_quality=finer)]
    alone = [pipeline.decode(file, ["classes"])["classes"].brightness for file in files]
    assert len({*alone}) == 3
    for own, found in zip(alone, pipeline.decode_batch(files, ["classes"]), strict=True):
        assert found["classes"].brightness == pytest.approx(own, abs=1e-6)


def test_what_a_head_tells_beside_its_output_belongs_to_its_picture(pipeline, files, monkeypatch) -> None:
    head = pipeline.task("coarse").head
    plain = type(head).predict

    def predict(features):
        found = plain(head, features)
        told = tuple(float(one.mean()) for one in found.output)
        return Told(found.kind, found.output, brightness=told)

    monkeypatch.setattr(head, "predict", predict)
    for file, found in zip(files, pipeline.decode_batch(files, ["coarse"]), strict=True):
        assert found["coarse"].brightness == pipeline.decode(file, ["coarse"])["coarse"].brightness
        assert len(found["coarse"].brightness) == 1


def test_fine_is_left_out_where_a_file_lacks_it(pipeline, files) -> None:
    short = replace(files[1], layers=files[1].layers[:1], truncated=True)
    found = pipeline.decode_batch([files[0], short])
    assert all("fine" not in one for one in found) and [one.complete for one in found] == [True, False]
    with pytest.raises(BitstreamError, match="cut inside its enhancement layer"):
        pipeline.decode_batch([files[0], short], ["fine"])


def test_what_cannot_be_a_batch(pipeline, files) -> None:
    for wrong in ([], [files[0], read(pipeline.encode(pictures()[0], 1.5))], [files[0], replace(files[1], height=69)]):
        with pytest.raises(InputError, match="a batch has files of one size and quality"):
            pipeline.decode_batch(wrong)
    finer = read(pipeline.encode(pictures()[0], 2.5, enhancement_quality=1))
    with pytest.raises(InputError, match="a batch has enhancements of one quality"):
        pipeline.decode_batch([files[0], finer])
    for wrong in ([], [pictures()[0], Image.open(io.BytesIO(_png()))]):
        with pytest.raises(InputError, match="a batch has pictures of one size"):
            pipeline.encode_batch(wrong)


def test_one_damaged_file_refuses_the_batch(pipeline, files) -> None:
    base = files[1].base
    damaged = replace(files[1], layers=(replace(base, payload=base.payload[:-1]), *files[1].layers[1:]))
    with pytest.raises(BitstreamError):
        pipeline.decode_batch([files[0], damaged])


def test_each_file_of_a_batch_is_verified_by_its_own_hashes() -> None:
    pipeline = load(Path(__file__).parents[1] / "golden/golden.json", device="cpu")
    files = [read(blob) for blob in pipeline.encode_batch(pictures(), 2.5, control=True)]
    assert len({layer.control for file in files for layer in file.layers}) == 6
    for file, found in zip(files, pipeline.decode_batch(files, ["fine"], verify=True), strict=True):
        assert found.verified == (LayerKind.BASE, LayerKind.ENHANCEMENT)
        assert all(map(torch.equal, found.side.levels, pipeline.decode(file, ["coarse"]).side.levels))
    for number in (0, 1):
        layers = list(files[2].layers)
        layers[number] = replace(layers[number], control=files[0].layers[number].control)
        with pytest.raises(BitstreamError, match=f"{layers[number].kind} layer"):
            pipeline.decode_batch([files[0], replace(files[2], layers=tuple(layers))], ["fine"], verify=True)


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("quality", [1.0, 3.0])
def test_an_enhancement_of_another_quality_is_hashed_and_verified_with_that(quality: float) -> None:
    pipeline = load(Path(__file__).parents[1] / "golden/golden.json", device="cpu")
    blob = pipeline.encode(pictures()[0], 2.5, enhancement_quality=quality, control=True)
    (layer,) = read(blob).layers[1:]
    assert len(layer.control) == 4 and layer.quality == Quality.of(quality)
    assert pipeline.decode(blob, ["fine"], verify=True).verified == (LayerKind.BASE, LayerKind.ENHANCEMENT)


def test_each_picture_of_a_batch_has_its_own_row_of_all_that_was_decoded() -> None:
    level, shown = torch.rand(3, 2, 4, 5), torch.rand(3, 3, 8, 10)
    for number, side in enumerate(rows(SideInfo((level,), (8, 10), {"coarse": shown}), 3)):
        assert torch.equal(side.levels[0], level[[number]]) and torch.equal(side.pictures["coarse"], shown[[number]])
        assert side.size == (8, 10)
