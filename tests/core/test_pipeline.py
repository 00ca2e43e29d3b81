"""Pictures to files and back, with a tiny codec that really codes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image

from icm_core import BitstreamError, InputError, Pipeline, Quality, Registry, build, parse_spec
from icm_core.bitstream.container import Container, Layer, LayerKind, read, write


def calls(module: torch.nn.Module) -> list[int]:
    """Counts how often a module runs."""
    count = [0]

    def hook(*_: Any) -> None:
        count[0] += 1

    module.register_forward_hook(hook)
    return count


def test_a_picture_goes_there_and_back(pipeline: Pipeline, picture: torch.Tensor) -> None:
    out = pipeline.decode(pipeline.encode(picture, 4))
    assert list(out) == ["labels", "classes", "coarse", "fine"]
    assert {name: tuple(out[name].output.shape) for name in out} == {
        "labels": (1, 4, 37, 53),
        "classes": (1, 3),
        "coarse": (1, 3, 37, 53),
        "fine": (1, 3, 37, 53),
    }
    assert (out.size, out.quality, out.complete) == ((37, 53), Quality.of(4), True)
    assert out["classes"].labels == ("class 0", "class 1", "class 2")
    errors = [(out[name].output - picture).abs().mean() for name in ("coarse", "fine")]
    assert errors[0] < 0.1 and errors[1] < errors[0] / 2
    assert len(out.side.levels) == 2


def test_state_dict_keys(pipeline: Pipeline) -> None:
    prefixes = {".".join(key.split(".")[:3]) if key.startswith("tasks") else key for key in pipeline.state_dict()}
    assert prefixes == {
        "codec.mix.weight",
        "codec.table",
        "enhancement.scale",
        *(f"tasks.{task}.{part}" for task in ("labels", "classes", "coarse") for part in ("adapter", "head")),
    }


def test_pictures_of_all_kinds_give_the_same_file(pipeline: Pipeline) -> None:
    values = torch.randint(0, 256, (3, 20, 30), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    blob = pipeline.encode(values)
    assert blob == pipeline.encode(values[None]) == pipeline.encode(values.float() / 255)
    assert blob == pipeline.encode(Image.fromarray(values.permute(1, 2, 0).numpy()))


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("a path", "not str"),
        (torch.zeros(1, 4, 4), "not (1, 4, 4)"),
        (torch.zeros(2, 3, 4, 4), "not (2, 3, 4, 4)"),
        (torch.zeros(3, 0, 4), "4x0 pixels"),
        (torch.zeros(3, 1, 70000), "70000x1 pixels"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "not of torch.int64"),
        (torch.full((3, 4, 4), 255.0), "go from 255 to 255"),
        (torch.full((3, 4, 4), -0.1), "go from -0.1"),
        (torch.full((3, 4, 4), float("nan")), "go from nan"),
    ],
)
def test_what_is_no_picture(pipeline: Pipeline, image: Any, says: str) -> None:
    with pytest.raises(InputError) as caught:
        pipeline.encode(image)
    assert says in str(caught.value)


@pytest.mark.parametrize("quality", [0.5, 4.1, 15.0, 99, float("nan"), float("inf")])
def test_quality_out_of_range(pipeline: Pipeline, picture: torch.Tensor, quality: float) -> None:
    with pytest.raises(InputError, match="out of range"):
        pipeline.encode(picture, quality)


def test_a_quality_counts_as_the_sixteenth_that_a_file_can_hold(pipeline: Pipeline, picture: torch.Tensor) -> None:
    assert pipeline.encode(picture, 4.03) == pipeline.encode(picture, 4)
    assert read(pipeline.encode(picture, 2.3)).quality == Quality(37)


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (16, 16), (17, 31)])
def test_any_size(pipeline: Pipeline, size: tuple[int, int]) -> None:
    out = pipeline.decode(pipeline.encode(torch.rand(3, *size)))
    assert out["fine"].output.shape[-2:] == size


def test_base_only(pipeline: Pipeline, picture: torch.Tensor) -> None:
    blob = pipeline.encode(picture, enhancement=False)
    assert len(blob) < len(pipeline.encode(picture))
    out = pipeline.decode(blob)
    assert list(out) == ["labels", "classes", "coarse"] and out.complete
    with pytest.raises(BitstreamError, match="the file has no enhancement layer, so it has no 'fine' picture"):
        pipeline.decode(blob, ["fine"])


def test_a_file_cut_after_its_base_layer_is_base_only(pipeline: Pipeline, picture: torch.Tensor) -> None:
    blob = pipeline.encode(picture)
    base = pipeline.encode(picture, enhancement=False)
    assert blob.startswith(base)
    out = pipeline.decode(blob[:-1])
    assert "fine" not in out and not out.complete
    assert torch.equal(out["coarse"].output, pipeline.decode(base)["coarse"].output)
    with pytest.raises(BitstreamError, match="was cut inside its enhancement layer"):
        pipeline.decode(blob[:-1], ["fine"])
    with pytest.raises(BitstreamError):
        pipeline.decode(base[:-1])


def test_a_task_decodes_without_anything_else(pipeline: Pipeline, picture: torch.Tensor) -> None:
    blob = pipeline.encode(picture)
    counts = {name: calls(pipeline.task(name).head) for name in pipeline.tasks}
    assert list(pipeline.decode(blob, ["labels"])) == ["labels"]
    assert {name: count[0] for name, count in counts.items()} == {"labels": 1, "classes": 0, "coarse": 0}
    assert list(pipeline.decode(blob, ["fine"])) == ["fine"]
    assert {name: count[0] for name, count in counts.items()} == {"labels": 1, "classes": 0, "coarse": 1}
    assert list(pipeline.decode(blob, ["fine", "coarse"])) == ["fine", "coarse"]
    assert counts["coarse"] == [2]
    assert len(pipeline.decode(blob, [])) == 0
    assert list(pipeline.decode(blob, "labels")) == ["labels"]


def test_unknown_task(pipeline: Pipeline, picture: torch.Tensor) -> None:
    blob = pipeline.encode(picture)
    with pytest.raises(
        InputError, match=r"unknown task 'lables'; did you mean 'labels'\? known: classes, coarse, fine"
    ):
        pipeline.decode(blob, ["lables"])


def test_without_enhancement(registry: Registry, data: dict[str, Any], picture: torch.Tensor) -> None:
    full = build(parse_spec(data), registry)
    data["enhancement"] = None
    plain = build(parse_spec(data), registry)
    assert plain.over is None and plain.enhancement_fingerprint is None
    assert list(plain.decode(plain.encode(picture))) == ["labels", "classes", "coarse"]
    # It reads the base layer of files that have more.
    assert list(plain.decode(full.encode(picture))) == ["labels", "classes", "coarse"]
    with pytest.raises(InputError, match="unknown task 'fine'"):
        plain.decode(full.encode(picture), ["fine"])


def test_another_codec_is_refused_by_fingerprint(
    pipeline: Pipeline, registry: Registry, data: dict[str, Any], picture: torch.Tensor
) -> None:
    data["codec"]["params"] = {"steps": 9}
    other = build(parse_spec({**data, "name": "other"}), registry)
    with pytest.raises(BitstreamError) as caught:
        other.decode(pipeline.encode(picture))
    message = str(caught.value)
    assert pipeline.base_fingerprint.hex() in message and other.base_fingerprint.hex() in message
    assert "base layer was written by another pipeline" in message


def test_another_enhancement_still_reads_the_base_layer(pipeline: Pipeline, picture: torch.Tensor) -> None:
    blob = pipeline.encode(picture)
    with torch.no_grad():
        pipeline.task("coarse").head.shift.add_(0.25)
    assert list(pipeline.decode(blob, ["labels"])) == ["labels"]
    with pytest.raises(BitstreamError, match="enhancement layer was written by another pipeline"):
        pipeline.decode(blob)


def test_heads_are_in_no_fingerprint(pipeline: Pipeline) -> None:
    before = pipeline.base_fingerprint, pipeline.enhancement_fingerprint
    with torch.no_grad():
        for name in ("labels", "classes"):
            for parameter in pipeline.task(name).parameters():
                parameter.add_(1)
    assert before == (pipeline.base_fingerprint, pipeline.enhancement_fingerprint)


def test_fingerprints_follow_the_weights(pipeline: Pipeline) -> None:
    seen = {pipeline.enhancement_fingerprint}
    coarse = pipeline.task("coarse")
    with torch.no_grad():
        coarse.adapter.color.bias.add_(0.5)
    seen.add(pipeline.enhancement_fingerprint)
    state = {key: value + 1 if key == "enhancement.scale" else value for key, value in pipeline.state_dict().items()}
    pipeline.load_state_dict(state)
    seen.add(pipeline.enhancement_fingerprint)
    optimizer = torch.optim.SGD(pipeline.parameters(), lr=0.1)
    pipeline.task("coarse").head.shift.sum().backward()
    optimizer.step()
    seen.add(pipeline.enhancement_fingerprint)
    pipeline.codec.table = pipeline.codec.table + 1
    seen.add(pipeline.enhancement_fingerprint)
    assert len(seen) == 5
    base = pipeline.base_fingerprint
    assert pipeline.to(torch.float64).base_fingerprint == base  # its coding state is integers
    assert pipeline.enhancement_fingerprint not in seen


def test_damaged_payloads_are_bitstream_errors(pipeline: Pipeline, picture: torch.Tensor) -> None:
    file = read(pipeline.encode(picture))
    base, fine = file.layers
    for layers in (
        (Layer(base.kind, base.fingerprint, b"\x00garbage"), fine),
        (base, Layer(fine.kind, fine.fingerprint, b"")),
    ):
        blob = write(Container(file.height, file.width, file.quality, layers))
        with pytest.raises(BitstreamError):
            pipeline.decode(blob)
    wrong = write(Container(file.height, file.width, Quality.of(9), (base,)))
    with pytest.raises(BitstreamError, match="the file claims quality 9; pipeline 'tiny' has 1 to 4"):
        pipeline.decode(wrong)


def test_every_flipped_byte_is_noticed(pipeline: Pipeline) -> None:
    blob = pipeline.encode(torch.rand(3, 16, 16))
    for index in range(len(blob)):
        broken = bytearray(blob)
        broken[index] ^= 0x55
        with pytest.raises(BitstreamError):
            pipeline.decode(bytes(broken))


def test_predictions_are_float32_without_gradients_in_any_precision(pipeline: Pipeline, picture: torch.Tensor) -> None:
    exact = pipeline.encode(picture)
    pipeline.precision = "bf16"
    blob = pipeline.encode(picture)
    assert read(blob).base == read(exact).base
    for prediction in pipeline.decode(blob).values():
        assert prediction.output.dtype == torch.float32 and not prediction.output.requires_grad
    with pytest.raises(InputError, match="precision 'fp16' is unknown; it is one of fp32, bf16"):
        pipeline.precision = "fp16"


def test_modes_are_put_back(pipeline: Pipeline, picture: torch.Tensor) -> None:
    assert not pipeline.training
    blob = pipeline.encode(picture)
    pipeline.train()
    pipeline.codec.eval()
    modes = [module.training for module in pipeline.modules()]
    norm = pipeline.task("classes").head.norm.running_mean.clone()
    assert pipeline.encode(picture) == blob
    pipeline.decode(blob)
    assert [module.training for module in pipeline.modules()] == modes
    assert torch.equal(pipeline.task("classes").head.norm.running_mean, norm)
    assert pipeline.base_fingerprint == read(blob).base.fingerprint
    assert [module.training for module in pipeline.modules()] == modes
    with pytest.raises(BitstreamError):
        pipeline.decode(b"nothing")
    assert [module.training for module in pipeline.modules()] == modes


def test_both_sides_refine_the_picture_that_is_shown(pipeline: Pipeline, picture: torch.Tensor) -> None:
    file = read(pipeline.encode(picture, 2.25))
    found = pipeline.decode(file)
    enhancement = pipeline.enhancement
    assert enhancement is not None and file.enhancement is not None
    refining = found["coarse"].output, found.side, Quality.of(2.25)
    payloads = [file.enhancement.payload]
    with torch.inference_mode():
        assert enhancement.encode(picture, *refining) == payloads
        assert torch.equal(enhancement.decode(payloads, *refining), found["fine"].output)


def test_analyse_gives_what_the_decoder_has(pipeline: Pipeline, picture: torch.Tensor) -> None:
    side = pipeline.analyse(picture, 2)
    decoded = pipeline.decode(pipeline.encode(picture, 2), []).side
    assert all(torch.equal(a, b) for a, b in zip(side.levels, decoded.levels, strict=True))


def test_layer_kinds_and_fingerprints_in_the_file(pipeline: Pipeline, picture: torch.Tensor) -> None:
    file = read(pipeline.encode(picture, 2.3))
    assert [layer.kind for layer in file.layers] == [LayerKind.BASE, LayerKind.ENHANCEMENT]
    assert file.quality.step == 37
    assert [layer.fingerprint for layer in file.layers] == [
        pipeline.base_fingerprint,
        pipeline.enhancement_fingerprint,
    ]


def test_builds_on_meta_without_memory(registry: Registry, data: dict[str, Any]) -> None:
    with torch.device("meta"):
        pipeline = build(parse_spec(data), registry)
    assert pipeline.device.type == "meta" and not pipeline.training
    assert all(tensor.is_meta for tensor in pipeline.state_dict().values())
