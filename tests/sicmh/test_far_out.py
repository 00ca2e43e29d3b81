"""Means, symbols and scales that toy weights never reach and trained ones may, and gradients around rounding."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn

import icm_sicmh
from icm_core import InputError, Quality, SpecError, build, build_registry, parse_spec
from icm_core.coding import CdfTables, StreamDecoder
from icm_core.coding.rans import MAX_SYMBOL
from icm_core.types import Level, SideInfo, SideInfoLayout
from icm_sicmh import codec as codec_module
from icm_sicmh import residual as residual_module
from icm_sicmh import residual_context
from icm_sicmh.adapters import MultiScale, OneScale
from icm_sicmh.coarse import Coarse
from icm_sicmh.coarse_to_fine import CoarseToFine
from icm_sicmh.codec import Hyperprior
from icm_sicmh.density import FactorizedDensity, gaussian_bits
from icm_sicmh.gain import ExactGain, GainUnit
from icm_sicmh.klt import pyramid, start_encoder, start_scales
from icm_sicmh.layers import GDN, conv, pad_to, round_ste, started
from icm_sicmh.networks import encoder
from icm_sicmh.prediction import predict, prediction_layers
from icm_sicmh.residual import Residual
from icm_sicmh.residual_context import ContextResidual

Example = Callable[..., tuple[Tensor, Tensor, SideInfo]]


def made(cls: Any, *more: Any, **params: Any) -> Any:
    return cls(cls.Params(**params), *more)


# --- the enhancement -------------------------------------------------------------------------------------------------


def test_large_symbols_of_the_enhancement_come_back(residual: Any, example: Example, symbols: Any) -> None:
    x, coarse, side = example(65, 130)
    residual.encoder_r[-1].weight.mul_(300)
    for seen in symbols:
        seen.clear()
    payloads = residual.encode(x, coarse, side, Quality.of(4))
    residual.decode(payloads, coarse, side, Quality.of(4))
    ((coded, _),), ((pulled, _),) = symbols
    assert 1000 < int(coded.abs().max()) <= MAX_SYMBOL and torch.equal(coded, pulled)


def test_means_of_the_enhancement_may_be_large(residual: Any, example: Example) -> None:
    x, coarse, side = example(65, 130)
    channels = len(residual.prediction[-1].bias) // 2
    residual.prediction[-1].bias[:channels] += torch.linspace(-40, 40, channels)
    y = residual.encoder_r(pad_to(x - coarse, 64))
    latent = residual.latent(residual.encode(x, coarse, side, Quality.of(2)), side, Quality.of(2))
    steps = (latent - y) * residual.gain.log2(torch.tensor([2.0])).exp2()
    assert float(steps.abs().max()) < 0.51


def test_the_enhancements_latent_may_be_narrower_than_the_codec(codec: Any) -> None:
    residual = made(Residual, codec.layout, latent_channels=8)
    assert codec.layout.width == 12 and residual.groups == (slice(0, 8),)
    assert residual.encoder_r(torch.zeros(1, 3, 64, 64)).shape == (1, 8, 4, 4)


def test_scales_beyond_16_bits_are_the_largest_at_the_coder_too(settled_context: Any, example: Example) -> None:
    x, coarse, side = example(64, 128)
    payloads = []
    for more in (12.0, 15.0):
        residual = copy.deepcopy(settled_context)
        residual.prediction[-1].bias[12:] += more
        payloads += residual.encode(x, coarse, side, Quality.of(2))
    assert payloads[0] == payloads[1]


def test_the_coder_shows_the_context_the_very_magnitudes_of_training(example: Example, codec: Any) -> None:
    """A network that adds a whole octave to the scale for each step of one symbol costs what training says."""
    torch.manual_seed(3)
    residual = made(ContextResidual, codec.layout, groups=2, context_channels=8).eval()
    residual.requires_grad_(False)
    residual.encoder_r[-1].weight.mul_(4)
    first, second, last = (layer for layer in residual.context[1] if isinstance(layer, nn.Conv2d))
    for layer in (first, second, last):
        layer.weight.zero_()
    first.weight[0, 12, 1, 1] = second.weight[0, 0, 1, 1] = 1  # of channel 0's magnitude, behind twelve scales
    last.weight[:, 0] = 1
    residual.freeze_tables()
    x, coarse, side = example(128, 192)
    _, bits = residual(x, coarse, side, torch.tensor([3.0]))
    (payload,) = residual.encode(x, coarse, side, Quality.of(3))
    assert abs(len(payload) - float(bits) / 8) <= 0.01 * float(bits) / 8 + 8
    last.weight.zero_()
    assert float((bits - residual(x, coarse, side, torch.tensor([3.0]))[1]).abs()) > 0.1 * float(bits)


def test_what_a_context_sees_at_the_edge_of_a_strip_is_what_it_sees_inside(
    settled_context: Any, example: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two layers of 3x3 see two rows above and below."""
    residual = copy.deepcopy(settled_context)
    for network in residual.context:
        for layer in (network[0], network[2], network[4]):
            layer.weight.zero_()
            layer.bias.zero_()
        network[0].weight[0, -1] = network[2].weight[0, 0] = 0.5  # of all nine places alike
        network[4].weight[:, 0] = 0.5
    arguments = (*example(200, 130), Quality.of(3))
    whole = residual.encode(*arguments)
    monkeypatch.setattr(residual_context, "_POSITIONS_AT_ONCE", 12 * 2)
    assert residual.encode(*arguments) == whole


# --- what is learned -------------------------------------------------------------------------------------------------


def test_means_do_not_move_what_is_decoded(codec: Any, example: Example) -> None:
    """round((h - m) g) / g + m, with rounding passed straight through, has no gradient in m."""
    x, coarse, side = example(64, 128, 2)
    quality = torch.tensor([1.5, 3.0])
    torch.manual_seed(4)
    fine = CoarseToFine(codec.params).train()
    residual = made(Residual, codec.layout).train()
    codec.train().requires_grad_(True)
    parts: Any = (
        (codec(x, quality).side.levels[0], codec.prediction[-1].bias, codec.encoder[0].weight),
        (residual(x, coarse, side, quality)[0], residual.prediction[-1].bias, residual.encoder_r[0].weight),
        (fine(x, quality).side.levels[0], fine.prediction_y[-1].bias, fine.encoder[0].weight),
    )
    for decoded, bias, weight in parts:
        values = torch.rand(decoded.shape, generator=torch.Generator().manual_seed(1))
        of_means, of_latents = torch.autograd.grad((values * decoded).sum(), [bias, weight])
        assert float(of_means.abs().max()) < 1e-4 * float(of_latents.abs().max())


def test_a_gradient_passes_rounding_as_it_is() -> None:
    x = torch.tensor([0.2, 1.7, -2.4], requires_grad=True)
    (found,) = torch.autograd.grad(round_ste(x), x, torch.tensor([0.3, -1.6, 2.5]))
    assert found.tolist() == pytest.approx([0.3, -1.6, 2.5])


def test_h2s_density_begins_ten_wide_to_each_side(codec: Any) -> None:
    density: Any = Hyperprior(codec.params).density
    for bias in density.biases:
        nn.init.zeros_(bias)
    edge = torch.full((8, 1, 1), 10.0)
    torch.testing.assert_close(density.logits(edge), torch.ones(8, 1, 1))


def test_a_density_may_be_even() -> None:
    """Without biases it is the same to both sides, and the symbol in the middle is the likeliest."""
    density = FactorizedDensity(3, scale=2.0).requires_grad_(False)
    for bias in density.biases:
        nn.init.zeros_(bias)
    values = torch.arange(-2.0, 3.0).expand(1, 3, 1, 5)
    bits = density.bits(values, torch.ones(1, 3, 1, 1))[0, 0, 0]
    torch.testing.assert_close(bits, bits.flip(0))
    assert bits[2] < bits[1] < bits[0]
    edges = torch.tensor([[[-0.5, 0.5]]]).expand(3, 1, 2)
    low, high = density.logits(edges)[0, 0].sigmoid()
    assert float(bits[2]) == pytest.approx(-float((high - low).log2()), rel=1e-5)


def test_what_is_beyond_a_table_has_what_is_left_of_the_probability() -> None:
    density = FactorizedDensity(2, scale=10.0).requires_grad_(False)
    for bias in density.biases:
        nn.init.zeros_(bias)
    rows, _ = density.tables(torch.ones(1, 2), 4)
    edge = density.logits(torch.full((2, 1, 1), 4.5))[0, 0, 0].sigmoid()
    escaped = (rows[0, :, -1] - rows[0, :, -2]) / 65536
    assert escaped.tolist() == pytest.approx([2 * (1 - float(edge))] * 2, abs=1e-3)


def test_a_value_far_below_its_mean_costs_what_one_far_above_costs() -> None:
    values = torch.linspace(0, 9, 60)
    for sigma in (0.5, 1.0, 1.7):
        scale = torch.full_like(values, sigma)
        assert torch.equal(gaussian_bits(values, scale), gaussian_bits(-values, scale))


def test_halves_are_rounded_up() -> None:
    one, inverse = torch.full((1, 1, 1, 1), 4096), torch.full((1, 1, 1, 1), 2**20)
    gain = ExactGain(one, inverse, torch.zeros_like(one))
    latent = torch.tensor([-6144, -2049, -2048, -2047, 2047, 2048, 6144]).reshape(1, 1, 1, 7)
    assert gain.quantize(latent, torch.zeros_like(latent), 9).flatten().tolist() == [-1, -1, 0, 0, 0, 1, 2]


@pytest.mark.parametrize("inverse", [False, True], ids=["GDN", "IGDN"])
def test_divisive_normalisation_of_nothing_is_nothing(inverse: bool) -> None:
    layer = GDN(3, inverse).requires_grad_(False)
    layer.beta_root.zero_()
    assert not layer(torch.zeros(1, 3, 2, 2)).any()


def test_the_rate_of_a_density_is_float32_arithmetic_under_autocast() -> None:
    torch.manual_seed(0)
    density = FactorizedDensity(4).requires_grad_(False)
    values, gain = torch.arange(-6.0, 6.0).reshape(1, 1, 3, 4).expand(1, 4, 3, 4), torch.full((1, 4, 1, 1), 3.0)
    plain = density.bits(values, gain)
    with torch.autocast("cpu", torch.bfloat16):
        found = density.bits(values, gain)
    torch.testing.assert_close(found, plain)


def test_a_logarithm_that_is_a_percent_off_does_not_belong_to_its_gain() -> None:
    unit = GainUnit(3, 2, 2.0, 8.0).requires_grad_(False)
    unit.freeze()
    assert unit.problem({"table": unit.table}) is None
    for steps in (-60, 60):  # of 1/4096 octave
        table = unit.table.clone()
        table[5, 2, 1] += steps
        assert unit.problem({"table": table}) == ("table", "has logarithms that do not belong to its gains")


# --- how networks begin ----------------------------------------------------------------------------------------------


def test_before_a_leaky_relu_weights_begin_as_before_a_relu() -> None:
    torch.manual_seed(0)
    network: Any = started(nn.Sequential(conv(40, 60, 3), nn.LeakyReLU(0.2), conv(60, 80, 3)))
    for number, variance in ((0, 2 / (40 * 9)), (2, 1 / (60 * 9))):
        assert float(network[number].weight.detach().var()) == pytest.approx(variance, rel=0.05)


@pytest.mark.parametrize("turned", [False, True])
def test_the_first_of_each_components_largest_numbers_is_above_0(monkeypatch: pytest.MonkeyPatch, turned: bool) -> None:
    """A library may turn eigenvectors round, and which of two is larger may be rounding; all start alike."""
    eigh = torch.linalg.eigh

    def other(matrix: Tensor) -> tuple[Tensor, Tensor]:
        values, vectors = eigh(matrix)
        noise = torch.linspace(-1e-12, 1e-12, len(vectors), dtype=torch.float64)[:, None]
        return values, -vectors * (1 + noise)

    if turned:
        monkeypatch.setattr(torch.linalg, "eigh", other)
    for level in pyramid((24, 24, 48)):
        for row in level.matrix.flatten(1).tolist():
            largest = max(map(abs, row))
            assert next(value for value in row if abs(value) > 0.999 * largest) > 0


def test_a_start_keeps_a_500th_of_what_was_there_so_that_nothing_is_symmetric() -> None:
    torch.manual_seed(0)
    network: Any = encoder(12).requires_grad_(False)
    before = copy.deepcopy(network)
    levels = pyramid((12, 12, 12, 12))
    start_encoder(network, levels)
    expected = 0.002 * before[0].weight
    expected[:, :, 2:4, 2:4] += levels[0].matrix * 0.5
    torch.testing.assert_close(network[0].weight, expected)


def test_a_start_of_a_block_transform_hears_next_to_nothing_of_h2(codec: Any, side: Any) -> None:
    torch.manual_seed(0)
    adapter = made(OneScale, codec.layout).eval().requires_grad_(False)
    adapter.start_from("klt")
    info = side(64, 128)
    other = SideInfo((info.levels[0], -info.levels[1]), info.size)
    images = [adapter(one).maps["image"] for one in (info, other)]
    assert float((images[0] - images[1]).abs().max()) < 0.02 * float(images[0].std())


def test_a_start_expects_nothing_of_what_it_is_not_told() -> None:
    """A linear layer's own start has offsets; here mean 0 and a standard deviation are all that is said."""
    torch.manual_seed(0)
    network: Any = prediction_layers(4, 6)
    start_scales(network, torch.tensor([1.0, 2.0, 4.0, 8.0, 0.5, 0.25]))
    assert network[-1].bias.tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 2, 3, -1, -2]


def test_h2_predicts_all_four_places_of_its_channels_alike_and_nothing_of_its_neighbours() -> None:
    """Begun as a block transform, h1's mean is the mean of four places; weights besides are left small."""
    torch.manual_seed(0)
    widths = {"width": 24, "h1_channels": 40, "h2_channels": 16, "groups": 4, "context_channels": 8}
    codec = Hyperprior(Hyperprior.Params.model_validate(widths)).eval().requires_grad_(False)
    codec.start_from("klt")
    std = 16 * pyramid((24, 24, 24, 24, 40))[-1].std
    for value in (1.0, -2.0):
        h2 = torch.zeros(1, 16, 3, 4)
        h2[0, :8, 1, 2] = value * std[:8]  # at one place of the eight channels that are told of
        mean, _ = predict(codec.prediction, codec.decoder_h2(h2)).chunk(2, 1)
        told = torch.zeros(1, 40, 6, 8)
        told[0, :8, 2:4, 4:6] = value * std[:8, None, None]
        error = (mean - told)[:, :8] / std[:8, None, None]
        assert float(error.abs().max()) < 0.3


def test_the_heads_own_decoder_begins_as_the_block_transform(codec: Any, picture: Any) -> None:
    torch.manual_seed(0)
    widths = {"width": 24, "h1_channels": 40, "h2_channels": 16, "groups": 4, "context_channels": 8}
    begun = Hyperprior(Hyperprior.Params.model_validate(widths)).eval().requires_grad_(False)
    adapter = made(MultiScale, begun.layout).eval().requires_grad_(False)
    head: Any = made(Coarse, adapter.features).eval().requires_grad_(False)
    for part in (begun, adapter, head):
        part.start_from("klt")
    x = picture(128, 192)
    shown = head.decoder(adapter(SideInfo(begun.latents(x), (128, 192))).maps["fused"])
    assert float((shown + 0.5 - x).square().mean()) < 0.01 < 0.05 < float((x - 0.5).square().mean())


# --- the codec -------------------------------------------------------------------------------------------------------


def test_the_rate_of_h1_is_that_of_gaussians_narrow_and_wide(codec: Any, picture: Any) -> None:
    """(mu, log2 sigma) of a group from the Prediction Model and CAHCM; an interval of one step around each symbol."""
    x, quality = picture(64, 128, 2), torch.tensor([1.5, 4.0])
    codec.prediction[-1].bias[16:] += torch.linspace(-4, 5, 16)
    found = codec(x, quality)
    h1, _ = codec.latents(x)
    gain = codec.gain_h1.log2(quality).exp2()
    h2p = predict(codec.prediction, codec.decoder_h2(found.side.levels[1]))
    bits, decoded = np.zeros(2), list(found.side.levels[0].chunk(4, 1))
    for k, network in enumerate(codec.cahcm.networks):
        correction = network(torch.cat([h2p, *decoded[:k]], 1))
        own = slice(4 * k, 4 * k + 4)
        mean = h2p[:, own] + correction[:, :4]
        sigma = ((h2p[:, 16:][:, own] + correction[:, 4:]).exp2() * gain[:, own]).double().numpy()
        symbols = ((h1[:, own] - mean) * gain[:, own]).round().double().abs().numpy()
        mass = norm.sf((symbols - 0.5) / sigma.clip(0.11)) - norm.sf((symbols + 0.5) / sigma.clip(0.11))
        bits -= np.log2(mass.clip(1e-9)).sum((1, 2, 3))
    assert found.bits["h1"].tolist() == pytest.approx(bits.tolist(), rel=1e-3)


def test_the_encoder_hands_on_the_decoders_side_information(codec: Any, picture: Any) -> None:
    payloads, side = codec.encode_with_side(picture(65, 130), Quality.of(2))
    decoded = codec.decode(payloads, (65, 130), Quality.of(2))
    assert side.size == decoded.size == (65, 130)
    assert all(map(torch.equal, side.levels, decoded.levels))


def test_a_searchs_objective_is_told_the_pictures_size(codec: Any, picture: Any) -> None:
    sizes: list[tuple[int, int]] = []

    def objective(side: SideInfo, bits: Tensor) -> Tensor:
        sizes.append(side.size)
        return bits

    codec.search(picture(65, 130), Quality.of(2), objective, 0)
    assert sizes == [(65, 130)]


@pytest.mark.parametrize("layer", ["codec", "enhancement"])
def test_a_stream_is_made_ready_for_as_many_symbols_as_are_read(
    codec: Any, residual: Any, example: Example, monkeypatch: pytest.MonkeyPatch, layer: str
) -> None:
    """Past the end of a damaged stream the coder reads on; what is behind it is room for the symbols it is told of."""
    counted: list[list[int]] = []

    class Counting(StreamDecoder):
        def __init__(self, payload: bytes, capacity: int) -> None:
            super().__init__(payload, capacity)
            counted.append([capacity, 0])

        def pull_into(self, symbols: Tensor, indexes: Tensor, tables: CdfTables) -> None:
            counted[-1][1] += indexes.numel()
            super().pull_into(symbols, indexes, tables)

    x, coarse, side = example(65, 200)
    payloads = codec.encode(x, Quality.of(3)), residual.encode(x, coarse, side, Quality.of(3))
    for module in (codec_module, residual_module):
        monkeypatch.setattr(module, "StreamDecoder", Counting)
    if layer == "codec":
        codec.decode(payloads[0], (65, 200), Quality.of(3))
        assert counted == [[2 * 4 * (8 + 4 * 16)] * 2]  # h2 at 1/64 and h1 at 1/32
    else:
        residual.decode(payloads[1], coarse, side, Quality.of(3))
        assert counted == [[2 * 4 * 16 * 12] * 2]  # y_r at 1/16


# --- doors -----------------------------------------------------------------------------------------------------------


def test_the_codec_that_sends_y_hands_on_a_picture(codec: Any) -> None:
    assert CoarseToFine(codec.params).layout == SideInfoLayout((Level(3, 1),), 3)


def test_cameras_code_h1_and_h2_alone(codec: Any) -> None:
    assert codec.camera_tables()["gain_h1"].shape == (49, 3, 16)
    with pytest.raises(InputError, match=r"codec 'sicmh\.coarse_to_fine' has no tables for cameras"):
        made(CoarseToFine, **codec.params.model_dump()).camera_tables()


def test_the_context_has_five_groups_unless_told_otherwise() -> None:
    layer = made(ContextResidual, SideInfoLayout((Level(16, 32), Level(8, 64)), 32))
    assert [group.stop for group in layer.groups] == [2, 4, 8, 16, 32]


def test_the_codec_that_sends_y_has_no_search() -> None:
    widths = {"width": 8, "h1_channels": 8, "h2_channels": 4, "groups": 2, "context_channels": 8, "qualities": 2}
    task = {"adapter": {"use": "baselines.pixels"}, "head": {"use": "baselines.picture"}, "search": [1.0, 1.0]}
    codec = {"use": "sicmh.coarse_to_fine", "params": widths}
    data = {"icm": 1, "name": "fine", "codec": codec, "tasks": {"picture": task}}
    pipe = build(parse_spec(data), build_registry())
    pipe.codec.freeze_tables()
    with pytest.raises(InputError, match="has no search"):
        pipe.encode(torch.rand(1, 3, 64, 64), 1, effort=2)


def test_channels_are_halved_as_often_as_there_are_groups_but_one() -> None:
    layout = SideInfoLayout((Level(16, 32), Level(8, 64)), 12)
    made(ContextResidual, layout, groups=3)
    with pytest.raises(SpecError, match="halves the 12 channels of y_r 3 times for 4 groups; take a multiple of 8"):
        made(ContextResidual, layout, groups=4)


@pytest.mark.parametrize("quality", [1, 4])
def test_latents_hundreds_of_steps_away_come_back_within_half_a_step(codec: Any, quality: int) -> None:
    """Beyond the rows of h2's tables and the coder's Gaussians."""
    generator = torch.Generator().manual_seed(0)
    wanted = Quality.of(quality)
    h1 = 100 * torch.randn(2, 16, 4, 6, generator=generator)
    h2 = 40 * torch.randn(2, 8, 2, 3, generator=generator)
    payloads, written = codec.encode_latents(h1, h2, wanted)
    side = codec.decode(payloads, (100, 130), wanted)
    for latent, mine, theirs, unit in zip((h1, h2), written, side.levels, (codec.gain_h1, codec.gain_h2), strict=True):
        assert torch.equal(mine, theirs)
        gain = unit.log2(torch.tensor([float(quality)])).exp2()
        assert 150 < float((latent * gain).abs().max()) < 4000 and float(((theirs - latent).abs() * gain).max()) < 0.6


def test_tables_of_h2_are_in_steps_of_the_gains_that_are_coded_with(codec: Any) -> None:
    """Gains beyond what integers allow are held there, and so are the steps of the tables."""
    codec.gain_h2.log2_gain.fill_(-12.0)  # held at -7
    codec.freeze_tables()
    medians = codec.h2_first.double() + codec_module._H2_HALF_SUPPORT
    rows, first = codec.density.tables(torch.full_like(medians, 2.0**-7), codec_module._H2_HALF_SUPPORT)
    assert torch.equal(codec.h2_cdf, rows) and torch.equal(codec.h2_first, first)
    assert int((codec.h2_cdf.diff(dim=-1) > 20_000).sum(-1).max()) >= 1  # a step holds most of the density


# --- parts that are no other part ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda codec: CoarseToFine(codec.params),
        lambda codec: MultiScale(MultiScale.Params(), codec.layout),
        lambda codec: Coarse(Coarse.Params(), MultiScale(MultiScale.Params(), codec.layout).features),
        lambda codec: ContextResidual(ContextResidual.Params(groups=3, context_channels=8), codec.layout),
    ],
    ids=["coarse to fine", "adapter", "head", "enhancement"],
)
def test_no_two_networks_share_their_weights(codec: Any, make: Callable[[Any], nn.Module]) -> None:
    network = make(codec)
    once = [name for name, _ in network.named_parameters()]
    assert [name for name, _ in network.named_parameters(remove_duplicate=False)] == once


def test_the_codec_that_sends_y_has_the_deep_encoder_too(codec: Any, picture: Any) -> None:
    torch.manual_seed(0)
    params = {**codec.params.model_dump(), "deep": 16}
    made_of = CoarseToFine(CoarseToFine.Params.model_validate(params)).eval().requires_grad_(False)
    made_of.load_state_dict(codec.state_dict(), strict=False)
    made_of.freeze_tables()
    assert made_of.deep is not None
    nn.init.constant_(made_of.deep.last.bias, 2.0)  # steps
    x, quality = picture(64, 100), Quality.of(3)
    fast, deep = (made_of.with_encoder(name).encode(x, quality) for name in ("fast", "deep"))
    streams = [payload[4 : 4 + int.from_bytes(payload[:4], "big")] for (payload,) in (fast, deep)]
    h1 = [Hyperprior.decode(made_of, [stream], (64, 100), quality).levels[0] for stream in streams]
    moved = (h1[1] - h1[0]) * made_of.gain_h1.log2(torch.tensor([3.0])).exp2()
    assert float(moved.median()) == pytest.approx(2, abs=0.3)


def test_a_second_start_is_the_first(codec: Any) -> None:
    """Biases are written, and not added to: what a start finds there does not matter."""
    adapter = made(OneScale, codec.layout)
    adapter.start_from("klt")
    biases = [name for name, _ in adapter.named_parameters() if name.startswith("decoder_side1") and "bias" in name]
    before = {name: adapter.get_parameter(name).detach().clone() for name in biases}
    adapter.start_from("klt")
    assert any(bool(value.any()) for value in before.values())
    assert all(torch.equal(adapter.get_parameter(name), value) for name, value in before.items())


def test_divisive_normalisation_begins_with_a_tenth_of_its_own_square() -> None:
    layer = GDN(3)
    gamma = layer.gamma_root.detach().square()
    expected = torch.full((3, 3), 1e-4)
    expected.fill_diagonal_(0.32**2)
    torch.testing.assert_close(gamma, expected)
    assert layer.beta_root.tolist() == [1, 1, 1]


def test_halves_are_rounded_to_even_in_training() -> None:
    found = round_ste(torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]))
    assert found.tolist() == [-2, -2, 0, 0, 2, 2]


def test_the_contexts_integers_are_made_once(settled_context: Any) -> None:
    before = settled_context._context()
    assert settled_context._context() is before


def test_gains_of_all_latents_begin_from_2_at_the_first_quality_to_8_at_the_last(codec: Any) -> None:
    fresh = CoarseToFine(codec.params)
    units = [fresh.gain_h1, fresh.gain_h2, fresh.gain_y, made(Residual, codec.layout, qualities=3).gain]
    assert [len(unit.log2_gain) for unit in units] == [4, 4, 4, 3]
    for unit in units:
        ends = unit.log2_gain[[0, -1]].detach().exp2()
        torch.testing.assert_close(ends, torch.tensor([[2.0], [8.0]]).expand_as(ends))


def test_in_training_side_information_knows_the_pictures_size(codec: Any, picture: Any) -> None:
    found = codec(picture(65, 130, 2), torch.tensor([1.0, 4.0])).side
    assert found.size == (65, 130)
    assert [tuple(level.shape) for level in found.levels] == [(2, 16, 4, 6), (2, 8, 2, 3)]


def test_every_spec_of_the_folder_is_brought() -> None:
    folder = Path(icm_sicmh.__file__).with_name("specs")
    found = [path.name for path in icm_sicmh.icm_specs()]
    assert found == sorted(path.name for path in folder.iterdir() if path.suffix == ".json") and len(found) > 2
    assert icm_sicmh.icm_default_pipelines() == ["sicmh-small"]
