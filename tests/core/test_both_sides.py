"""Coding and decoding at their borders: modes, fingerprints, names, batches of several sizes."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from icm_core import InputError, Pipeline, Registry, SpecError, build, parse_spec
from icm_core.bitstream.container import read
from icm_core.pipeline.search import Objective
from icm_core.pipeline.told import telling, told
from icm_core.quality import Quality
from icm_core.tiles import Field, bounded

# --- modes -----------------------------------------------------------------------------------------------------------


def test_each_modules_mode_is_put_back_whatever_the_one_around_it_has(pipeline: Pipeline, picture: Tensor) -> None:
    modules = dict(pipeline.named_modules())
    modes = {name: number % 3 == 0 for number, name in enumerate(modules)}
    modes.update({"": False, "codec": False, "codec.mix": True, "tasks.labels": True, "tasks.labels.head": False})
    for name, module in modules.items():
        module.training = modes[name]
    seen = []
    modules["tasks.classes.head"].register_forward_pre_hook(
        lambda *_: seen.append([name for name, module in modules.items() if module.training])
    )
    pipeline.decode(pipeline.encode(picture))
    assert seen == [[]]
    assert {name: module.training for name, module in modules.items()} == modes


def test_modes_are_put_back_after_an_error_too(pipeline: Pipeline, picture: Tensor) -> None:
    pipeline.train()
    pipeline.task("labels").eval()
    before = {name: module.training for name, module in pipeline.named_modules()}
    with pytest.raises(InputError):
        pipeline.encode(picture * 2)
    assert {name: module.training for name, module in pipeline.named_modules()} == before


# --- fingerprints ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change", [lambda pipe: pipe.train().eval(), lambda pipe: pipe.load_state_dict(pipe.state_dict())]
)
def test_fingerprints_are_computed_anew_after_training_and_loading(
    registry: Registry,
    data: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Pipeline], object],
) -> None:
    """Also where PyTorch does not count what is written to weights: those made in inference mode."""
    with torch.inference_mode():
        pipe = build(parse_spec(data), registry)
        assert pipe.enhancement is not None
        monkeypatch.setattr(
            type(pipe.codec), "coding_state", lambda codec: bytes(codec.mix.weight.numpy().tobytes()), raising=False
        )
        before = pipe.base_fingerprint, pipe.enhancement_fingerprint
        pipe.get_parameter("codec.mix.weight").add_(1)
        pipe.get_parameter("enhancement.scale").add_(1)
        assert (pipe.base_fingerprint, pipe.enhancement_fingerprint) == before
        change(pipe)
        assert pipe.base_fingerprint != before[0] and pipe.enhancement_fingerprint != before[1]


def test_a_copy_has_fingerprints_of_its_own(pipeline: Pipeline) -> None:
    before = pipeline.base_fingerprint, pipeline.enhancement_fingerprint
    assert before[0] != before[1]
    other = copy.deepcopy(pipeline)
    with torch.no_grad():
        other.get_buffer("codec.table").add_(1)
    assert other.base_fingerprint != before[0]
    assert (pipeline.base_fingerprint, pipeline.enhancement_fingerprint) == before


# --- names and precision ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["", "fp3", "bf", "fp32 bf16", "FP32", "fp16"])
def test_a_precision_is_one_of_two_words(pipeline: Pipeline, wrong: str) -> None:
    pipeline.precision = "bf16"
    with pytest.raises(InputError, match=f"precision '{wrong}' is unknown; it is one of fp32, bf16"):
        pipeline.precision = wrong
    assert pipeline.precision == "bf16"
    pipeline.train()
    pipeline.precision = "fp32"
    assert pipeline.precision == "fp32"


def test_a_task_is_found_by_its_name_alone(pipeline: Pipeline) -> None:
    assert [pipeline.task(name).kind.name for name in ("labels", "classes", "coarse")] == [
        "segmentation",
        "classification",
        "reconstruction",
    ]
    assert {name: pipeline.kind(name).name for name in ("labels", "classes", "coarse", "fine")} == {
        "labels": "segmentation",
        "classes": "classification",
        "coarse": "reconstruction",
        "fine": "reconstruction",
    }
    for name, nearest in (("fine", ""), ("label", "labels"), ("", "")):
        with pytest.raises(InputError, match=f"unknown task '{name}'.*{nearest}"):
            pipeline.task(name)


def test_without_an_enhancement_there_is_nothing_over_a_task_and_no_fine(
    registry: Registry, data: dict[str, Any], picture: Tensor
) -> None:
    pipe = build(parse_spec({**data, "enhancement": None}), registry)
    assert pipe.over is None and pipe.enhancement_fingerprint is None and pipe.picture_task == "coarse"
    blob = pipe.encode(picture)
    assert list(pipe.decode(blob)) == ["labels", "classes", "coarse"]
    with pytest.raises(InputError, match="unknown task 'fine'"):
        pipe.decode(blob, ["fine"])
    with pytest.raises(InputError, match="unknown task 'fine'"):
        pipe.kind("fine")
    with pytest.raises(InputError, match="has no enhancement layer that could have a quality of its own"):
        pipe.encode(picture, enhancement_quality=2)


def test_no_task_is_asked_for_and_none_is_answered(pipeline: Pipeline, picture: Tensor) -> None:
    blob = pipeline.encode(picture)
    assert list(pipeline.decode(blob, [])) == []
    assert [list(one) for one in pipeline.decode_many([blob, blob], [])] == [[], []]
    assert list(pipeline.decode(blob, "classes")) == ["classes"]
    assert list(pipeline.decode(blob, ("coarse", "labels"))) == ["coarse", "labels"]


def test_the_refined_picture_is_read_by_whoever_needs_it_among_others(
    registry: Registry, data: dict[str, Any], picture: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    data["tasks"]["classes"]["adapter"] = {"use": "core.decoded_picture", "params": {"of": "coarse"}}
    pipe = build(parse_spec(data), registry)
    assert not pipe.reads_fine("classes") and pipe.reads_fine("fine")
    monkeypatch.setattr(type(pipe.task("classes").adapter), "needs", ("coarse", "fine"))
    assert pipe.reads_fine("classes") and not pipe.reads_fine("labels")
    blob = pipe.encode(picture, enhancement=False)
    assert list(pipe.decode(blob)) == ["labels", "coarse"]
    assert list(pipe.decode(pipe.encode(picture))) == ["labels", "classes", "coarse", "fine"]


@pytest.mark.parametrize("encoder", ["", "usual"])
def test_an_encoder_that_is_not_there_is_refused_even_without_a_name(
    pipeline: Pipeline, picture: Tensor, encoder: str
) -> None:
    for ask in (pipeline.encode, pipeline.analyse):
        with pytest.raises(InputError, match=f"has no encoder '{encoder}'; known: it has one, without a name"):
            ask(picture, encoder=encoder)


# --- building --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, SpecError])
@pytest.mark.parametrize(
    ("cls", "where"),
    [
        ("Thumbnail", "codec"),
        ("Enlarge", "tasks.labels.adapter"),
        ("Labels", "tasks.labels.head"),
        ("Residual", "enhancement"),
    ],
)
def test_what_a_constructor_refuses_is_told_with_its_place(
    registry: Registry,
    data: dict[str, Any],
    tiny: Any,
    monkeypatch: pytest.MonkeyPatch,
    cls: str,
    where: str,
    error: type[Exception],
) -> None:
    def refuse(*_: Any) -> None:
        raise error("it is too narrow")

    monkeypatch.setattr(getattr(tiny, cls), "__init__", refuse)
    with pytest.raises(SpecError, match=f"^{re.escape(where)}: it is too narrow$"):
        build(parse_spec(data), registry)


@pytest.mark.parametrize("ends", [(1.5, 4.0), (1.0, 3.5), (1.0, 4.5), (0.5, 4.0)])
def test_an_enhancement_has_the_codecs_qualities_or_says_none(
    registry: Registry, data: dict[str, Any], tiny: Any, monkeypatch: pytest.MonkeyPatch, ends: tuple[float, float]
) -> None:
    monkeypatch.setattr(tiny.Residual, "quality_range", ends)
    with pytest.raises(SpecError, match=r"tiny\.residual has the qualities"):
        build(parse_spec(data), registry)


# --- several pictures ------------------------------------------------------------------------------------------------


def test_pictures_and_tensors_of_one_size_are_computed_together_and_others_are_not(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture's size is width before height in Pillow, and height before width in tensors."""
    draw = np.random.default_rng(0)
    wide = draw.integers(0, 256, (24, 40, 3), dtype=np.uint8)
    tall = draw.integers(0, 256, (40, 24, 3), dtype=np.uint8)
    given: list[Image.Image | Tensor] = [
        Image.fromarray(wide),
        torch.from_numpy(tall).permute(2, 0, 1),
        torch.from_numpy(wide).permute(2, 0, 1),
        Image.fromarray(tall),
    ]
    alone = [pipeline.encode(one) for one in given]
    assert alone[0] == alone[2] and alone[1] == alone[3] and alone[0] != alone[1]
    counts: list[tuple[int, ...]] = []
    plain = type(pipeline.codec).encode_with_side

    def counted(codec: Any, x: Tensor, quality: Quality) -> Any:
        counts.append(tuple(x.shape))
        return plain(codec, x, quality)

    monkeypatch.setattr(type(pipeline.codec), "encode_with_side", counted)
    assert list(pipeline.encode_many(given, batch=2)) == alone
    assert sorted(counts) == [(2, 3, 24, 40), (2, 3, 40, 24)]


def test_files_of_a_batch_are_those_of_its_pictures_in_order(pipeline: Pipeline, picture: Tensor) -> None:
    pictures = [picture, picture.flip(2), 1 - picture]
    blobs = pipeline.encode_batch(pictures, 2)
    assert [read(blob).base.payload for blob in blobs] == [
        read(pipeline.encode(one, 2)).base.payload for one in pictures
    ]
    assert len({read(blob).base.payload for blob in blobs}) == 3
    found = pipeline.decode_batch([read(blob) for blob in blobs])
    for blob, one in zip(blobs, found, strict=True):
        alone = pipeline.decode(blob)
        for name in ("labels", "coarse", "fine"):
            assert torch.allclose(one[name].output, alone[name].output, atol=1e-5)


@pytest.mark.parametrize("wrong", [0, -1])
@pytest.mark.parametrize("field", ["batch", "lanes"])
def test_there_is_at_least_one_picture_and_one_lane(
    pipeline: Pipeline, picture: Tensor, field: str, wrong: int
) -> None:
    how: dict[str, Any] = {field: wrong}
    with pytest.raises(InputError, match=f"{field} is {wrong}; it should be 1 or more"):
        list(pipeline.encode_many([picture], **how))
    with pytest.raises(InputError, match=f"{field} is {wrong}; it should be 1 or more"):
        list(pipeline.decode_many([pipeline.encode(picture)], **how))


def test_each_picture_of_a_search_has_its_own_value(registry: Registry, data: dict[str, Any], picture: Tensor) -> None:
    data["tasks"]["coarse"]["search"] = (4.0, 4.0)
    pipe = build(parse_spec(data), registry)
    pictures = torch.stack([picture, 1 - picture])[..., :32, :48]
    side = pipe.codec(pictures, torch.ones(2)).side
    bits = torch.tensor([0.0, 1536.0])
    found = Objective(pipe, pictures, Quality.of(2), ["coarse"])(side, bits).detach()
    lost = 4 * pipe.task("coarse").divergence(pipe.task("coarse")(side), pictures).detach()
    assert lost[0] != lost[1] and found.tolist() == pytest.approx([float(lost[0]), 1 + float(lost[1])])


# --- what is told ----------------------------------------------------------------------------------------------------


def test_the_ground_of_drawings_is_decoded_once_and_not_where_nothing_is_drawn(
    pipeline: Pipeline, picture: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = pipeline.decode(pipeline.encode(picture))
    plain, times = type(pipeline).canvas, []

    def canvas(pipe: Any, what: Any) -> Image.Image:
        times.append(what)
        return plain(pipe, what)

    monkeypatch.setattr(type(pipeline), "canvas", canvas)
    found = dict(telling(pipeline, decoded, draw=True))
    assert len(times) == 1 and [name for name, one in found.items() if one.drawing] == ["labels", "classes"]
    told(pipeline, decoded)
    told(pipeline, decoded, draw=True, pictures=False)
    assert len(times) == 1


@pytest.mark.parametrize("batch", [1, 2])
def test_between_two_results_gradients_are_as_ever(pipeline: Pipeline, picture: Tensor, batch: int) -> None:
    """A generator that stops inside of a mode leaves it to whoever reads on."""
    files = pipeline.encode_many([picture] * 4, batch=batch)
    blobs = [next(files)]
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    assert (torch.ones(2, requires_grad=True) * 2).requires_grad
    blobs += files
    found = pipeline.decode_many(blobs, batch=batch)
    next(found)
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    assert len(list(found)) == 3


def test_large_pictures_are_read_in_bytes_where_the_networks_are(
    pipeline: Pipeline, picture: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Floats and small pictures come as tensors. The meta device stands for a card; nothing can be coded on it."""
    monkeypatch.setattr(type(pipeline.codec), "reads_fields", True)
    pixels = (picture * 255).to(torch.uint8)
    pipe = pipeline.to("meta")
    with bounded(37 * 53 - 1), torch.no_grad():
        seen = [pipe._pictures(given) for given in ([pixels], [pixels] * 2, [picture], [pixels[:, :36]])]
        with pytest.raises(InputError, match="a batch has pictures of one size, and this one has 2 in 2"):
            pipe._pictures([pixels, pixels[:, :36]])
        with pytest.raises(InputError, match="a batch has pictures of one size, and this one has 2 in 2"):
            pipe._pictures([pixels, pixels.transpose(1, 2)])
    assert [isinstance(x, Field) for x in seen] == [True, True, False, False]
    assert [tuple(x.shape) for x in seen] == [(1, 3, 37, 53), (2, 3, 37, 53), (1, 3, 37, 53), (1, 3, 36, 53)]
    for x in seen:
        part = x.read((3, 9), (5, 12)) if isinstance(x, Field) else x
        assert part.device.type == "meta" and part.dtype == torch.float32


def test_the_refined_picture_is_a_picture_in_float32(
    pipeline: Pipeline, picture: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = type(pipeline.enhancement).decode
    monkeypatch.setattr(type(pipeline.enhancement), "decode", lambda *given: plain(*given).half())
    found = pipeline.decode(pipeline.encode(picture))["fine"]
    assert found.kind == "reconstruction" and found.output.dtype == torch.float32
    assert found.output.shape == (1, 3, 37, 53)


def test_enhancements_of_a_batch_have_one_quality(pipeline: Pipeline, picture: Tensor) -> None:
    files = [read(pipeline.encode(picture, 2, enhancement_quality=value)) for value in (2, 3, 1.5)]
    for pair in ([files[0], files[1]], [files[1], files[2]], [files[1], files[1], files[0]]):
        with pytest.raises(InputError, match="a batch has enhancements of one quality, and this one has 2"):
            pipeline.decode_batch(pair)
        assert len(pipeline.decode_batch(pair, ["coarse"])) == len(pair)  # their base layers are of one
    same = pipeline.decode_batch([files[1], files[1]])
    alone = pipeline.decode(pipeline.encode(picture, 2, enhancement_quality=3))
    assert torch.equal(same[1]["fine"].output, alone["fine"].output)
    assert not torch.equal(same[1]["fine"].output, pipeline.decode(pipeline.encode(picture, 2))["fine"].output)


def test_a_large_base_picture_is_of_all_pictures_of_a_batch(
    pipeline: Pipeline, picture: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [read(pipeline.encode(one)) for one in (picture, 1 - picture)]
    expected = [one["fine"].output for one in pipeline.decode_batch(files)]
    seen: list[tuple[bool, tuple[int, ...]]] = []
    plain = type(pipeline.enhancement).decode

    def decode(self: Any, payloads: Any, coarse: Any, side: Any, quality: Quality) -> Any:
        seen.append((isinstance(coarse, Field), tuple(coarse.shape)))
        given = coarse.tensor() if isinstance(coarse, Field) else coarse
        return plain(self, payloads, given, side, quality)

    monkeypatch.setattr(type(pipeline.enhancement), "decode", decode)
    monkeypatch.setattr(type(pipeline.enhancement), "reads_fields", True)
    pipeline.decode_batch(files)
    with bounded(37 * 53 - 1):
        found = [one["fine"].output for one in pipeline.decode_batch(files)]
    assert seen == [(False, (2, 3, 37, 53)), (True, (2, 3, 37, 53))]
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_a_cut_file_is_not_whole(pipeline: Pipeline, picture: Tensor) -> None:
    blob = pipeline.encode(picture)
    assert pipeline.decode(blob).complete
    cut = pipeline.decode(blob[:-5])
    assert not cut.complete and list(cut) == ["labels", "classes", "coarse"]


def test_files_of_as_many_pixels_in_another_shape_are_not_decoded_together(pipeline: Pipeline, picture: Tensor) -> None:
    turned = picture.transpose(1, 2)
    blobs = [read(pipeline.encode(one)) for one in (picture, turned, picture, turned)]
    found = list(pipeline.decode_many(blobs, batch=2))
    assert [one.size for one in found] == [(37, 53), (53, 37)] * 2


def test_an_enhancement_that_reads_fields_is_given_the_picture_itself(
    pipeline: Pipeline, picture: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = pipeline.encode(picture)
    monkeypatch.setattr(type(pipeline.enhancement), "reads_fields", True)
    assert pipeline.encode(picture) == expected
