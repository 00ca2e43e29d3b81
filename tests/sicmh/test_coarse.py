"""The coarse picture, equation by equation from its own networks (Eq. 15-19)."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from icm_core import SpecError
from icm_core.types import Level
from icm_sicmh import Coarse, MultiScale, OneScale


@pytest.fixture
def adapter(codec) -> MultiScale:
    torch.manual_seed(0)
    return MultiScale(OneScale.Params(), codec.layout).eval().requires_grad_(False)


@pytest.fixture
def head(adapter) -> Coarse:
    torch.manual_seed(1)
    return Coarse(Coarse.Params(), adapter.features).eval().requires_grad_(False)


def test_it_is_equations_15_to_19(adapter, head, side) -> None:
    features = adapter(side(64, 128, 2))
    maps = features.maps
    h_sum = head.decoder(maps["fused"])  # Eq. 15
    h_1 = head.decoder_h1(maps["h1"])  # Eq. 16
    h_2 = head.decoder_h2c(maps["h2"])  # Eq. 17
    up = head.fuse_up(torch.cat([h_1, functional.pixel_shuffle(h_2, 2)], 1))  # Eq. 18, FuseConcat
    fused = head.fuse_mix(torch.cat([up, h_sum], 1))
    torch.testing.assert_close(head(features), maps["image"] + fused)  # Eq. 19


@pytest.mark.parametrize("size", [(1, 1), (7, 100), (65, 130)], ids=str)
def test_padding_is_cropped_away(adapter, head, side, size) -> None:
    features = adapter(side(*size))
    found = head(features)
    assert found.shape == (1, 3, *size)
    padded = side(*size)
    whole = head(adapter(type(padded)(padded.levels, tuple(-(-s // 64) * 64 for s in size))))
    torch.testing.assert_close(found, whole[..., : size[0], : size[1]])


def test_a_prediction_is_a_picture_within_0_and_1(adapter, head, side) -> None:
    head.fuse_mix[-1].weight.mul_(1000)
    features = adapter(side(64, 64))
    found = head.predict(features)
    assert found.kind == "reconstruction" and found.labels == ()
    assert float(head(features).min()) < 0 and float(head(features).max()) > 1
    assert torch.equal(found.output, head(features).clamp(0, 1))


def test_under_autocast_a_prediction_is_float32(adapter, head, side) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert head.predict(adapter(side(64, 64))).output.dtype == torch.float32


def test_loss_is_the_mean_squared_error(head) -> None:
    output, target = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]])
    assert head.loss(output, target).tolist() == pytest.approx([2.5])


def test_every_parameter_learns(adapter, side) -> None:
    torch.manual_seed(0)
    head = Coarse(Coarse.Params(), adapter.features).train()
    for module in head.modules():
        if isinstance(module, nn.ConvTranspose2d | nn.Conv2d) and module.bias is not None:
            nn.init.constant_(module.bias, 0.1)  # no ReLU is dead at first
    head.loss(head(adapter(side(64, 64, 2))), torch.rand(2, 3, 64, 64)).mean().backward()
    assert [n for n, p in head.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("missing", ["image", "fused", "h1", "h2"])
def test_an_adapter_without_one_of_its_features_is_refused(adapter, missing) -> None:
    layout: dict[str, Level] = {name: level for name, level in adapter.features.items() if name != missing}
    with pytest.raises(SpecError, match=rf"head 'sicmh.coarse' needs the features \['{missing}'\]"):
        Coarse(Coarse.Params(), layout)
