"""The fusion block and its ablations, equation by equation from its own networks (Eq. 4-11, Fig. 19)."""

from __future__ import annotations

import pytest
import torch

from icm_core import SpecError
from icm_core.types import Level, SideInfoLayout
from icm_sicmh import MultiScale, OneScale, TwoScale

ADAPTERS = [OneScale, TwoScale, MultiScale]


@pytest.fixture
def make(codec):
    def build(cls):
        torch.manual_seed(0)
        adapter = cls(cls.Params(), codec.layout).eval().requires_grad_(False)
        for parameter in adapter.parameters():
            parameter.mul_(2)  # so that no equation's term is lost beside another
        return adapter

    return build


def test_one_scale_fuses_at_1_32(make, side) -> None:
    b = make(OneScale)
    info = side(64, 128, 2)
    h1, h2 = info.levels
    h_fused = h1 + b.decoder_h2side(h2)
    found = b(info).maps
    torch.testing.assert_close(found["fused"], b.decoder_side1(h_fused))
    torch.testing.assert_close(found["image"], b.decoder_side2(b.decoder_side1(h_fused)))


def test_two_scale_also_fuses_at_1_16(make, side) -> None:
    b = make(TwoScale)
    info = side(64, 128, 2)
    h1, h2 = info.levels
    h2_1 = b.decoder_h2side(h2)
    fused = b.decoder_side3(h2_1) + b.decoder_side1(h1 + h2_1)
    found = b(info).maps
    torch.testing.assert_close(found["fused"], fused)
    torch.testing.assert_close(found["image"], b.decoder_side2(fused))


def test_multi_scale_is_equations_4_to_11(make, side) -> None:
    b = make(MultiScale)
    info = side(64, 128, 2)
    h1, h2 = info.levels
    h2_1 = b.decoder_h2side(h2)  # Eq. 4
    h_1 = h1 + h2_1  # Eq. 5, fusion 1
    h2_2 = b.decoder_side3(h2_1)  # Eq. 6
    h_1_1 = b.decoder_side1(h_1)  # Eq. 7
    h_2 = h2_2 + h_1_1  # Eq. 8, fusion 2
    h_2_2 = b.decoder_side2(h_2)  # Eq. 9
    h2_3 = b.decoder_side4(h2_2)  # Eq. 10
    h_3 = h2_3 + h_2_2  # Eq. 11, fusion 3
    found = b(info).maps
    torch.testing.assert_close(found["fused"], h_2)
    torch.testing.assert_close(found["image"], h_3)


@pytest.mark.parametrize("cls", ADAPTERS)
def test_features_are_what_was_announced(make, side, cls) -> None:
    adapter = make(cls)
    features = adapter(side(65, 130, 2))
    padded = (128, 192)
    assert features.size == (65, 130)
    assert {name: tuple(value.shape) for name, value in features.maps.items()} == {
        name: (2, level.channels, padded[0] // level.stride, padded[1] // level.stride)
        for name, level in adapter.features.items()
    }


@pytest.mark.parametrize("cls", ADAPTERS)
def test_side_information_is_passed_on_as_it_was_decoded(make, side, cls) -> None:
    info = side(64, 64)
    maps = make(cls)(info).maps
    assert maps["h1"] is info.levels[0]
    assert maps["h2"] is info.levels[1]


@pytest.mark.parametrize(
    ("cls", "networks"),
    [
        (OneScale, {"decoder_h2side", "decoder_side1", "decoder_side2"}),
        (TwoScale, {"decoder_h2side", "decoder_side1", "decoder_side2", "decoder_side3"}),
        (MultiScale, {"decoder_h2side", "decoder_side1", "decoder_side2", "decoder_side3", "decoder_side4"}),
    ],
)
def test_each_structure_has_only_its_own_networks(make, cls, networks) -> None:
    assert {name for name, _ in make(cls).named_children()} == networks


@pytest.mark.parametrize("cls", ADAPTERS)
def test_every_parameter_learns(codec, side, cls) -> None:
    torch.manual_seed(0)
    adapter = cls(cls.Params(), codec.layout).train()
    maps = adapter(side(64, 64)).maps
    (maps["image"].square().mean() + maps["fused"].square().mean()).backward()
    assert [n for n, p in adapter.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("cls", ADAPTERS)
def test_an_untrained_semantic_image_is_grey(codec, side, cls) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        image = cls(cls.Params(), codec.layout)(side(64, 64)).maps["image"]
    assert image.mean().item() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("cls", ADAPTERS)
@pytest.mark.parametrize("strides", [(16, 64), (32,), (32, 64, 128)], ids=str)
def test_other_strides_are_refused(cls, strides) -> None:
    layout = SideInfoLayout(tuple(Level(8, stride) for stride in strides), 8)
    with pytest.raises(SpecError, match=rf"adapter '{cls.name}' fuses .* strides 32 and 64; this codec gives \["):
        cls(cls.Params(), layout)
