"""Answers that travel, classifiers of latents, passes and lossless pictures: what they keep and what they refuse."""

from __future__ import annotations

import struct
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock

from icm_baselines.still import JPEG
from icm_core import BitstreamError, Quality, SpecError
from icm_core.interfaces import Nested, TaskHead
from icm_core.types import Features, Level, SideInfo, SideInfoLayout
from icm_related.latent import LatentClassifier, Preview
from icm_related.lossless import Lossless
from icm_related.recurrent import Recurrent
from icm_related.travelling import AnswerAdapter, Told, WithAnswer
from icm_sicmh.codec import Hyperprior

ONE = Quality.of(1)
TOY = {"width": 8, "h1_channels": 8, "h2_channels": 4, "groups": 2, "context_channels": 8, "qualities": 4}


def made(cls: Any, *more: Any, **params: Any) -> Any:
    return cls(cls.Params(**params), *more)


class Stripes(TaskHead):
    """A classifier of what JPEG takes away: how far columns differ from the next, in steps."""

    name = "tests.stripes"
    kind = "classification"
    labels = tuple("abcde")

    def forward(self, features: Features) -> Tensor:
        between = features.cropped("image").diff(dim=-1).abs().mean((1, 2, 3))
        return -(between[:, None] - torch.linspace(0, 0.4, 5)).abs()

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target, reduction="none")


# --- answers ---------------------------------------------------------------------------------------------------------


def test_the_classifier_sees_the_clean_picture_and_not_what_the_codec_leaves_of_it() -> None:
    x = torch.full((1, 3, 64, 80), 0.5)
    x[..., ::2] += 0.05
    x[..., 1::2] -= 0.05
    told = made(WithAnswer, codec=Nested.of(JPEG, settings=(1,)), head=Nested.of(Stripes), top=1).eval()
    codec = told.codec
    blurred = codec.decode(codec.encode(x, ONE), (64, 80), ONE).levels[0]
    clean, coded = (told.head(Features({"image": one}, (64, 80))).argmax().item() for one in (x, blurred))
    assert (clean, coded) == (1, 0)
    payloads, side = told.encode_with_side(x, ONE)
    found = told(x, torch.ones(1)).side
    for levels in (side.levels, found.levels, told.decode(payloads, (64, 80), ONE).levels):
        assert levels[-1].flatten().tolist() == [0, 1, 0, 0, 0]


def test_the_codec_beside_an_answer_is_frozen_proven_and_asked_for_its_qualities() -> None:
    told = made(WithAnswer, codec=Nested.of(Hyperprior, **TOY), head=Nested.of(Stripes))
    told.requires_grad_(False)
    assert isinstance(told.codec, Hyperprior) and told.quality_range == (1, 4)
    assert told.layout == SideInfoLayout((Level(8, 32), Level(4, 64), Level(5, 0)), 8)
    told.freeze_tables()
    assert bool(told.codec.gain_h1.table.all())
    assert list(told.prove()) == told.codec.prove() != []


@pytest.mark.parametrize("classes", [4, 6])
def test_a_head_is_told_as_many_classes_as_it_has_names_for(classes: int) -> None:
    with pytest.raises(SpecError, match=f"is told {classes} classes"):
        made(Told, {"answer": Level(5, 0)}, classes=classes)
    made(Told, {"answer": Level(5, 0)}, classes=5)


def test_a_classifier_of_latents_has_as_many_blocks_in_each_of_two_groups() -> None:
    head = made(LatentClassifier, {"latent": Level(6, 16)}, classes=5, width=4, blocks=3)
    blocks = [block for block in head.groups if isinstance(block, BasicBlock)]
    assert [block.conv1.out_channels for block in blocks] == [4, 4, 4, 8, 8, 8]
    assert [block.conv1.stride for block in blocks] == [(1, 1)] * 3 + [(2, 2), (1, 1), (1, 1)]


def test_a_latent_is_brought_to_variance_1_before_it_is_read() -> None:
    torch.manual_seed(0)
    head = made(LatentClassifier, {"latent": Level(6, 16)}, classes=5, width=4, blocks=1).train()
    latent = torch.randn(4, 6, 4, 5)
    scale, shift = torch.tensor([1.0, 2.0, 5.0, 0.1, 3.0, 10.0]), torch.arange(6.0)
    plain, moved = (
        head(Features({"latent": one}, (64, 80)))
        for one in (latent, latent * scale[:, None, None] + shift[:, None, None])
    )
    torch.testing.assert_close(plain, moved, rtol=1e-2, atol=1e-2)


def test_an_answer_is_read_where_it_stands_among_the_levels() -> None:
    layout = SideInfoLayout((Level(3, 1), Level(5, 0), Level(2, 4)), 8)
    adapter = made(AnswerAdapter, layout)
    assert adapter.features == {"answer": Level(5, 0)}
    levels = (torch.zeros(2, 3, 8, 12), torch.rand(2, 5, 1, 1), torch.ones(2, 2, 2, 3))
    found = adapter(SideInfo(levels, (8, 12)))
    assert found.size == (8, 12) and torch.equal(found.maps["answer"], levels[1])


@pytest.mark.parametrize("cls", [LatentClassifier, Preview])
@pytest.mark.parametrize(
    ("features", "named"), [({"image": Level(3, 1), "h1": Level(4, 8)}, "image, h1"), ({}, "nothing")]
)
def test_a_head_of_latents_says_what_it_is_given_instead(cls: Any, features: dict[str, Level], named: str) -> None:
    with pytest.raises(SpecError, match=f"head '{cls.name}' needs 'latent', and its adapter gives {named}$"):
        made(cls, features)


@pytest.mark.parametrize("quality", [1.0, 2.0])
def test_the_codec_beside_an_answer_codes_at_the_quality_that_is_asked_for(quality: float) -> None:
    x = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(6))
    told = made(WithAnswer, codec=Nested.of(JPEG, settings=(5, 90)), head=Nested.of(Stripes), top=2).eval()
    wanted = Quality.of(quality)
    payloads = told.encode(x, wanted)
    assert payloads == told.encode_with_side(x, wanted)[0]
    assert [payload[told.length :] for payload in payloads] == told.codec.encode(x, wanted)


def test_every_picture_has_its_own_answer_the_best_class_in_front() -> None:
    """Base 5, the best class in front: 2 and 3 are 2 * 5 + 3."""
    stripes = torch.tensor([0.21, 0.02])[:, None, None, None]
    x = (0.5 + stripes / 2 * torch.tensor([1.0, -1.0]).repeat(24)).expand(2, 3, 32, 48)
    told = made(WithAnswer, codec=Nested.of(Lossless), head=Nested.of(Stripes), top=2).eval()
    payloads = told.encode(x, ONE)
    assert [payload[: told.length] for payload in payloads] == [bytes([2 * 5 + 3]), bytes([0 * 5 + 1])]
    scores = [[0, 0, 2, 1, 0], [2, 1, 0, 0, 0]]
    for side in (told.decode(payloads, (32, 48), ONE), told.encode_with_side(x, ONE)[1]):
        assert side.levels[-1].flatten(1).tolist() == scores


# --- passes ----------------------------------------------------------------------------------------------------------


def test_passes_are_held_within_0_and_1_but_in_training() -> None:
    torch.manual_seed(0)
    codec = made(Recurrent, width=4, code_channels=8, passes=1)
    with torch.no_grad():
        codec.synthesis.leave.bias.copy_(torch.tensor([2.0, -2.0, 0.0]))
        x = torch.rand(1, 3, 32, 48)
        trained = codec.train()(x, torch.ones(1)).side.levels[0]
        found = codec.eval()(x, torch.ones(1)).side.levels[0]
    assert float(trained[:, 0].min()) > 1.5 and float(trained[:, 1].max()) < -0.5
    assert found[:, 0].unique().tolist() == [1] and found[:, 1].unique().tolist() == [0]


def test_passes_are_whole_numbers_whatever_the_precision_of_the_rest() -> None:
    torch.manual_seed(0)
    codec = made(Recurrent, width=8, code_channels=64, passes=3).eval()
    for name, parameter in codec.analysis.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.zeros_(parameter)  # some of the codes are near zero
    x = torch.rand(1, 3, 128, 160)
    plain = codec.encode(x, Quality.of(3))
    with torch.autocast("cpu", torch.bfloat16):
        assert codec.encode(x, Quality.of(3)) == plain


def test_passes_have_cells_of_their_own_and_no_bias_but_at_their_inputs() -> None:
    codec = made(Recurrent, width=8, code_channels=16, passes=2)
    cells = {"given.weight": (32, 8, 3, 3), "given.bias": (32,), "kept.weight": (32, 8, 1, 1)}
    quarter = {**cells, "given.weight": (32, 2, 3, 3)}
    expected = {
        "analysis.enter.weight": (8, 3, 3, 3), "analysis.enter.bias": (8,),
        "analysis.code.weight": (16, 8, 1, 1), "analysis.code.bias": (16,),
        "synthesis.enter.weight": (8, 16, 1, 1), "synthesis.enter.bias": (8,),
        "synthesis.leave.weight": (3, 2, 1, 1), "synthesis.leave.bias": (3,),
    }  # fmt: skip
    expected |= {f"analysis.cells.{cell}.{name}": shape for cell in range(3) for name, shape in cells.items()}
    expected |= {
        f"synthesis.cells.{cell}.{name}": shape
        for cell in range(4)
        for name, shape in (quarter if cell else cells).items()
    }
    assert {name: tuple(value.shape) for name, value in codec.named_parameters()} == expected


def test_every_cell_remembers_for_the_next_pass_and_pictures_go_on_as_at_their_edge() -> None:
    codec = made(Recurrent, width=8, code_channels=16, passes=2).eval()
    given: list[Tensor] = []
    codec.analysis.register_forward_pre_hook(lambda _, told: given.append(told[0]))
    states: list[Any] = [None] * 4
    codec.synthesis(torch.ones(1, 16, 2, 3), states)
    assert all(state is not None for state in states)
    x = torch.rand(1, 3, 20, 30)
    codec.encode(x, ONE)
    torch.testing.assert_close(given[0], F.pad(x, (0, 2, 0, 12), mode="replicate") - 0.5)


def test_a_pass_too_many_is_refused() -> None:
    codec = made(Recurrent, width=4, code_channels=8, passes=4)
    (payload,) = codec.encode(torch.rand(1, 3, 32, 48), Quality.of(2))
    with pytest.raises(BitstreamError, match="has 12 bytes, and 1 passes of this size 6"):
        codec.decode([payload], (32, 48), ONE)


# --- lossless pictures -----------------------------------------------------------------------------------------------


def test_less_effort_makes_a_larger_file_of_the_same_picture() -> None:
    codec = made(Lossless, settings=(0, 100))
    x = (F.interpolate(torch.rand(1, 3, 9, 7), (90, 70), mode="bilinear") * 255).round() / 255
    quick, thorough = (codec.encode(x, Quality.of(number)) for number in (1, 2))
    assert len(quick[0]) > len(thorough[0])
    for number, payloads in ((1, quick), (2, thorough)):
        torch.testing.assert_close(codec.decode(payloads, (90, 70), Quality.of(number)).levels[0], x)


@pytest.mark.parametrize("size", [(5001, 2), (2, 5001)])
def test_a_picture_may_be_longer_than_4096(size: tuple[int, int]) -> None:
    codec, x = made(Lossless), torch.zeros(1, 3, *size)
    assert codec.decode(codec.encode(x, ONE), size, ONE).levels[0].shape == x.shape


def test_a_file_without_the_signature_of_a_lossless_stream_is_refused_before_it_is_read() -> None:
    codec = made(Lossless)
    (payload,) = codec.encode(torch.zeros(1, 3, 6, 9), ONE)
    assert payload[20] == 0x2F and struct.unpack_from("<I", payload, 21)[0] & 0x3FFF == 9 - 1
    with pytest.raises(BitstreamError, match="it is no lossless WebP file"):
        codec.decode([payload[:20] + b"\x2e" + payload[21:]], (6, 9), ONE)
