"""Every network at the paper's widths, against the layer table of its method: N = 192, h1 256, h2 128."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from icm_core.types import Level, SideInfoLayout
from icm_sicmh import Coarse, Hyperprior, MultiScale, OneScale, Residual, TwoScale
from icm_sicmh import networks as net
from icm_sicmh.adapters import OneScale as Adapter
from icm_sicmh.prediction import CAHCM, predict, prediction_layers

N, H1, H2, K, HIDDEN, QUALITIES = 192, 256, 128, 8, 128, 4
LAYOUT = SideInfoLayout((Level(H1, 32), Level(H2, 64)), N)


def conv(inputs: int, outputs: int, kernel: int) -> int:
    """Parameters of a convolution, transposed or not, with its bias."""
    return inputs * outputs * kernel**2 + outputs


def gdn(channels: int) -> int:
    return channels**2 + channels


def upward(channels: int, outputs: int) -> int:
    """Decoder_h2 and Decoder_h1 alike: three TConv k1, Depth2Space, TConv k3."""
    wide = 4 * outputs
    return conv(channels, wide, 1) + 2 * conv(wide, wide, 1) + conv(outputs, outputs, 3)


ENCODER = conv(3, N, 5) + 3 * conv(N, N, 5) + 3 * gdn(N)
ENCODER_H1 = conv(N, 2 * N, 3) + conv(8 * N, 4 * N, 1) + conv(4 * N, 4 * N, 1) + conv(4 * N, H1, 1)
ENCODER_H2 = conv(H1, H1, 3) + conv(4 * H1, H2, 1) + 2 * conv(H2, H2, 1)
DECODER_H2 = conv(H2, H1, 1) + 2 * conv(H1, H1, 1) + conv(H1 // 4, H1, 3)
DECODER_H1 = upward(H1, N)
DECODER = 3 * conv(N, N, 5) + conv(N, 3, 5) + 3 * gdn(N)
FUSE_UP = (
    conv(N + H1 // 4, N, 5) + conv(N, N // 2, 5) + conv(N // 2, N // 4, 5) + conv(N // 4, N // 4, 5)
)  # h~1 and the shuffled h~2 at 1/16 -> N/4 channels at full size
FUSE_MIX = conv(N // 4 + 3, N // 4, 3) + conv(N // 4, 3, 3)
DENSITY = H2 * ((3 + 9 + 9 + 3) + (3 + 3 + 3 + 1) + (3 + 3 + 3))  # filters 1-3-3-3-1: matrices, biases, factors


def prediction(channels: int) -> int:
    return 3 * conv(channels, channels, 3) + conv(9 * channels, 2 * channels, 1)


def cahcm(channels: int, groups: int, hidden: int) -> int:
    own = channels // groups
    return sum(
        conv(2 * channels + k * own, hidden, 3) + conv(hidden, hidden, 3) + conv(hidden, 2 * own, 1)
        for k in range(groups)
    )


# make, shape of one input, shape of its output, parameters by the formula and as a number
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[int, ...], int, int]] = {
    "Encoder": (lambda: net.encoder(N), (3, 128, 192), (N, 8, 12), ENCODER, 2_891_136),
    "Encoder_h1": (lambda: net.encoder_h1(N, H1), (N, 8, 12), (H1, 4, 6), ENCODER_H1, 2_631_808),
    "Encoder_h2": (lambda: net.encoder_h2(H1, H2), (H1, 4, 6), (H2, 2, 3), ENCODER_H2, 754_304),
    "Decoder_h2": (lambda: net.decoder_h2(H2, H1), (H2, 2, 3), (H1, 4, 6), DECODER_H2, 312_320),
    "Decoder_h1": (lambda: net.decoder_h1(H1, N), (H1, 4, 6), (N, 8, 12), DECODER_H1, 1_710_528),
    "Decoder": (lambda: net.decoder(N), (N, 8, 12), (3, 128, 192), DECODER, 2_890_947),
    "FuseConcat, TConvs": (
        lambda: net.fuse_concat_up(N + H1 // 4, N),
        (256, 8, 12),
        (48, 128, 192),
        FUSE_UP,
        1_862_784,
    ),
    "FuseConcat, convs": (lambda: net.fuse_concat_mix(N), (51, 128, 192), (3, 128, 192), FUSE_MIX, 23_379),
    "Prediction Model of h1": (lambda: prediction_layers(H1), (H1, 5, 5), (2 * H1,), prediction(H1), 2_950_400),
    "Prediction Model of y_r": (lambda: prediction_layers(N), (N, 5, 5), (2 * N,), prediction(N), 1_659_840),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_and_parameters_of_each_network(name: str) -> None:
    make, inputs, outputs, formula, number = NETWORKS[name]
    with torch.device("meta"), torch.no_grad():
        network = make()
        assert tuple(network(torch.empty(2, *inputs)).shape) == (2, *outputs)
    assert sum(p.numel() for p in network.parameters()) == formula == number


@pytest.mark.parametrize(
    ("network", "last", "inputs"),
    [
        (lambda: net.decoder(48), -1, 48 * 25 / 4 * 100),
        (lambda: net.fuse_concat_mix(192), -1, 48 * 9 * 100),
        (lambda: net.encoder(48), -1, 48 * 25),
        (lambda: net.fuse_concat_up(64, 48), -2, 12 * 25 / 4 / 2),
    ],
    ids=["Decoder", "FuseConcat, convs", "Encoder", "FuseConcat, TConvs"],
)
def test_networks_that_end_in_a_picture_begin_with_a_tenth(
    network: Callable[[], nn.Sequential], last: int, inputs: float
) -> None:
    torch.manual_seed(0)
    assert float(network()[last].weight.detach().var()) == pytest.approx(1 / inputs, rel=0.1)


def test_cahcm_has_one_network_a_group_each_wider_by_a_group() -> None:
    with torch.device("meta"), torch.no_grad():
        context = CAHCM(H1, K, HIDDEN)
        h2p, decoded = torch.empty(2, 2 * H1, 4, 6), []
        for k, network in enumerate(context.networks):
            mean, log2_sigma = context.parameters_of(k, network, h2p, decoded)
            assert mean.shape == log2_sigma.shape == (2, H1 // K, 4, 6)
            decoded.append(mean)
    assert sum(p.numel() for p in context.parameters()) == cahcm(H1, K, HIDDEN) == 6_998_528


def test_prediction_model_keeps_the_size_of_its_map() -> None:
    with torch.device("meta"), torch.no_grad():
        assert predict(prediction_layers(H1), torch.empty(2, H1, 4, 6)).shape == (2, 2 * H1, 4, 6)


A = (
    ENCODER
    + ENCODER_H1
    + ENCODER_H2
    + DECODER_H2
    + prediction(H1)
    + cahcm(H1, K, HIDDEN)
    + DENSITY
    + QUALITIES * (H1 + H2)
)
B = DECODER_H2 + 2 * DECODER_H1 + 2 * DECODER
C = DECODER + DECODER_H1 + DECODER_H2 + FUSE_UP + FUSE_MIX
D = ENCODER + DECODER + DECODER_H1 + prediction(N) + QUALITIES * N


def coarse() -> Coarse:
    return Coarse(Coarse.Params(), MultiScale(OneScale.Params(), LAYOUT).features)


def adapter(cls: type[Adapter]) -> Callable[[], nn.Module]:
    return lambda: cls(cls.Params(), LAYOUT)


COMPONENTS: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "A, the codec": (lambda: Hyperprior(Hyperprior.Params()), A, 16_545_536),
    "B, one scale": (adapter(OneScale), DECODER_H2 + DECODER_H1 + DECODER, 4_913_795),
    "B, two scales": (adapter(TwoScale), DECODER_H2 + 2 * DECODER_H1 + DECODER, 6_624_323),
    "B, multi-scale": (adapter(MultiScale), B, 9_515_270),
    "C, the coarse head": (coarse, C, 6_799_958),
    "D, the enhancement": (lambda: Residual(Residual.Params(), LAYOUT), D, 9_153_219),
}


@pytest.mark.parametrize("name", COMPONENTS)
def test_parameters_of_each_component_at_the_papers_widths(name: str) -> None:
    make, formula, number = COMPONENTS[name]
    with torch.device("meta"):
        component = make()
    assert {tensor.device.type for tensor in component.state_dict().values()} == {"meta"}
    assert sum(p.numel() for p in component.parameters()) == formula == number


def test_shapes_through_the_whole_method_at_the_papers_widths() -> None:
    with torch.device("meta"), torch.no_grad():
        codec, fusion, head = Hyperprior(Hyperprior.Params()), MultiScale(OneScale.Params(), LAYOUT), coarse()
        enhancement = Residual(Residual.Params(), LAYOUT)
        x, quality = torch.empty(2, 3, 128, 192), torch.ones(2)
        out = codec(x, quality)
        assert [tuple(level.shape) for level in out.side.levels] == [(2, H1, 4, 6), (2, H2, 2, 3)]
        assert {name: tuple(bits.shape) for name, bits in out.bits.items()} == {"h1": (2,), "h2": (2,)}
        features = fusion(out.side)
        assert {name: tuple(value.shape) for name, value in features.maps.items()} == {
            "image": (2, 3, 128, 192),
            "fused": (2, N, 8, 12),
            "h1": (2, H1, 4, 6),
            "h2": (2, H2, 2, 3),
        }
        x_c = head(features)
        assert x_c.shape == (2, 3, 128, 192)
        x_f, bits = enhancement(x, x_c, out.side, quality)
        assert (tuple(x_f.shape), tuple(bits.shape)) == ((2, 3, 128, 192), (2,))


def test_codec_announces_its_side_information() -> None:
    with torch.device("meta"):
        codec = Hyperprior(Hyperprior.Params())
    assert codec.layout == LAYOUT
    assert codec.layout.alignment == 64
    assert codec.quality_range == (1.0, 4.0)
