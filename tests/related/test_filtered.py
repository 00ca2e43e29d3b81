"""A filter before a codec: what it hands on, and what it leaves as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icm_baselines.still import JPEG
from icm_core import Quality
from icm_core.interfaces import Nested, TaskHead
from icm_core.types import Features
from icm_related.filtered import Filtered
from icm_related.label_map import LabelMap
from icm_related.recurrent import Recurrent
from icm_related.travelling import WithAnswer
from icm_sicmh.coarse_to_fine import CoarseToFine
from icm_sicmh.codec import Hyperprior

ONE = Quality.of(1)
WIDTHS = {"width": 8, "h1_channels": 8, "h2_channels": 4, "groups": 2, "context_channels": 8, "qualities": 4}


def made(cls: Any, *more: Any, **params: Any) -> Any:
    return cls(cls.Params(**params), *more)


class Normed(TaskHead):
    """A segmentation network with a batch norm."""

    name = "tests.normed"
    kind = "segmentation"
    labels = ("a", "b", "c")

    def __init__(self, params: Any, features: Any) -> None:
        super().__init__(params, features)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, features: Features) -> Tensor:
        found: Tensor = self.norm(features.cropped("image"))
        return found

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target, reduction="none").flatten(1).mean(1)


class Brightest(TaskHead):
    """A classifier: which colour a picture has most of."""

    name = "tests.brightest"
    kind = "classification"
    labels = ("red", "green", "blue")

    def forward(self, features: Features) -> Tensor:
        return features.cropped("image").mean((2, 3))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target, reduction="none")


@pytest.fixture
def x() -> Tensor:
    return torch.rand(2, 3, 64, 128, generator=torch.Generator().manual_seed(3))


def test_behind_a_learned_codec_the_gradient_is_that_codecs_alone(x: Tensor) -> None:
    torch.manual_seed(0)
    filtered = made(Filtered, codec=Nested.of(CoarseToFine, **WIDTHS), channels=4).train()
    weights = torch.rand(x.shape, generator=torch.Generator().manual_seed(4))

    def gradient(level: Tensor) -> Tensor:
        found: Tensor = torch.autograd.grad((weights * level).sum(), filtered.before.change[-1].bias)[0]
        return found

    torch.manual_seed(1)
    found = gradient(filtered(x, torch.ones(2)).side.levels[0])
    torch.manual_seed(1)
    expected = gradient(filtered.codec(filtered.before(x), torch.ones(2)).side.levels[0])
    torch.testing.assert_close(found, expected)


def test_an_encoder_that_also_gives_the_side_information_filters_too(x: Tensor) -> None:
    filtered = made(Filtered, codec=Nested.of(JPEG)).eval()
    nn.init.constant_(filtered.before.change[-1].bias, 0.2)
    payloads, side = filtered.encode_with_side(x, ONE)
    assert payloads == made(JPEG).encode((x + 0.2).clamp(0, 1), ONE)
    assert torch.equal(side.levels[0], filtered.decode(payloads, (64, 128), ONE).levels[0])


def test_a_frozen_codecs_batch_norms_stay_as_they_were_while_the_filter_learns(x: Tensor) -> None:
    filtered = made(Filtered, codec=Nested.of(LabelMap, segmenter=Nested.of(Normed))).eval()
    filtered.before.train()
    before = {name: value.clone() for name, value in filtered.codec.state_dict().items()}
    filtered(x, torch.ones(2))
    after = filtered.codec.state_dict()
    assert any("running_mean" in name for name in before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_what_a_codec_sends_beside_the_picture_stays_behind_it(x: Tensor) -> None:
    codec = Nested.of(WithAnswer, codec=Nested.of(JPEG), head=Nested.of(Brightest), top=2)
    filtered = made(Filtered, codec=codec).eval()
    found = filtered(x, torch.ones(2)).side
    expected = filtered.codec(x, torch.ones(2)).side
    assert len(found.levels) == 2 and found.levels[0].requires_grad
    assert torch.equal(found.levels[1], expected.levels[1])


def test_all_that_is_asked_of_a_filtered_codec_is_the_codecs() -> None:
    filtered = made(Filtered, codec=Nested.of(Hyperprior, **{**WIDTHS, "qualities": 3})).requires_grad_(False)
    assert filtered.quality_range == (1, 3) and filtered.layout == filtered.codec.layout
    filtered.freeze_tables()
    assert bool(filtered.codec.gain_h1.table.all())
    assert list(filtered.prove()) == filtered.codec.prove() != []


@pytest.mark.parametrize("layers", [2, 3, 7])
def test_a_filter_has_as_many_layers_and_channels_as_it_is_told(layers: int) -> None:
    filtered = made(Filtered, codec=Nested.of(JPEG), channels=6, layers=layers)
    widths = [(one.in_channels, one.out_channels) for one in filtered.before.change if isinstance(one, nn.Conv2d)]
    assert widths == [(3, 6), *[(6, 6)] * (layers - 2), (6, 3)]


@pytest.mark.parametrize("quality", [1.0, 2.0, 3.0])
def test_the_codec_codes_and_reads_what_was_filtered_at_the_quality_asked_for(x: Tensor, quality: float) -> None:
    torch.manual_seed(0)
    filtered = made(Filtered, codec=Nested.of(Recurrent, width=4, code_channels=8, passes=3)).eval()
    nn.init.constant_(filtered.before.change[-1].bias, 0.6)
    for name, parameter in filtered.codec.analysis.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)  # codes are of either sign
    wanted, codec = Quality.of(quality), filtered.codec
    payloads = codec.encode((x + 0.6).clamp(max=1), wanted)  # a codec that clamps nothing itself
    assert payloads != codec.encode(x + 0.6, wanted)
    assert filtered.encode(x, wanted) == payloads == filtered.encode_with_side(x, wanted)[0]
    found, expected = (one.decode(payloads, (64, 128), wanted).levels[0] for one in (filtered, codec))
    assert torch.equal(found, expected)
    torch.testing.assert_close(filtered.encode_with_side(x, wanted)[1].levels[0], expected)
