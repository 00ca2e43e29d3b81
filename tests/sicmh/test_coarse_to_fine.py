"""The coarse-to-fine codec: y, h1 and h2 in one payload, symbols exact."""

from __future__ import annotations

import copy

import pytest
import torch

from icm_core import BitstreamError, Quality, WeightsError
from icm_core.coding import to_fixed, to_float
from icm_sicmh import CoarseToFine, Hyperprior
from icm_sicmh.density import gaussian_bits
from icm_sicmh.layers import pad_to
from icm_sicmh.prediction import predict

WIDTHS = {"width": 12, "h1_channels": 16, "h2_channels": 8, "groups": 4, "context_channels": 8, "qualities": 4}


@pytest.fixture(scope="module")
def settled(settled_codec: Hyperprior) -> CoarseToFine:
    torch.manual_seed(5)
    codec = CoarseToFine(CoarseToFine.Params.model_validate(WIDTHS)).eval().requires_grad_(False)
    codec.load_state_dict({**codec.state_dict(), **settled_codec.state_dict()})
    codec.freeze_tables()
    return codec


@pytest.fixture
def fine(settled: CoarseToFine) -> CoarseToFine:
    return copy.deepcopy(settled)


def latents_of(codec: CoarseToFine) -> list[torch.Tensor]:
    """What `decoder` is called with from now on: the decoded y, call by call."""
    seen: list[torch.Tensor] = []
    codec.decoder.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    return seen


def test_its_networks_take_the_weights_of_the_hyperprior(fine, settled_codec) -> None:
    own = fine.state_dict()
    assert settled_codec.state_dict().keys() < own.keys()
    assert fine.layout.alignment == 1


def test_training_pass_is_what_its_drawing_says(fine, picture) -> None:
    x, quality = picture(64, 128, 2), torch.tensor([1.5, 4.0])
    y, h1, h2 = fine.analyse(pad_to(x, 64))
    (h1_hat, h2_hat), bits = fine.quantised(h1, h2, quality)
    gain = fine.gain_y.log2(quality).exp2()
    mean, log2_sigma = predict(fine.prediction_y, fine.decoder_h1y(h1_hat)).chunk(2, 1)
    symbols = ((y - mean) * gain).round()
    own = fine.decoder(symbols / gain + mean)
    pair = torch.cat([fine.decoder_h1c(h1_hat), torch.nn.functional.pixel_shuffle(fine.decoder_h2c(h2_hat), 2)], 1)
    found = fine(x, quality)
    torch.testing.assert_close(found.side.levels[0], own + fine.fuse_mix(torch.cat([fine.fuse_up(pair), own], 1)))
    torch.testing.assert_close(found.bits["y"], gaussian_bits(symbols, log2_sigma.exp2() * gain).flatten(1).sum(1))
    torch.testing.assert_close(found.total_bits, bits["h1"] + bits["h2"] + found.bits["y"])


def test_in_training_noise_stands_for_rounding_in_the_rate_of_y_and_not_in_the_picture(fine, picture) -> None:
    x, quality = picture(64, 128), torch.tensor([2.0])
    torch.manual_seed(0)
    one, two = (fine.train()(x, quality) for _ in range(2))
    assert float(one.bits["y"]) != float(two.bits["y"])
    assert torch.equal(one.side.levels[0], two.side.levels[0])


def test_freezing_writes_the_tables_of_all_three_latents() -> None:
    fresh = CoarseToFine(CoarseToFine.Params.model_validate(WIDTHS)).eval()
    tables = (fresh.gain_h1.table, fresh.gain_h2.table, fresh.gain_y.table, fresh.h2_cdf)
    assert not any(bool(table.any()) for table in tables)
    fresh.freeze_tables()
    assert all(bool(table.any()) for table in tables)


def test_an_untrained_picture_is_grey(picture) -> None:
    torch.manual_seed(0)
    fresh = CoarseToFine(CoarseToFine.Params.model_validate(WIDTHS)).eval()
    with torch.no_grad():
        found = fresh(picture(64, 64), torch.tensor([2.0])).side.levels[0]
    assert float(found.mean()) == pytest.approx(0.5, abs=0.15)


def test_pictures_are_held_within_0_and_1_on_both_sides_but_not_in_training(fine, picture) -> None:
    fine.decoder[-1].weight.mul_(30)
    x = picture(65, 130)
    trained = fine(x, torch.tensor([2.0])).side.levels[0]
    assert float(trained.min()) < 0 and float(trained.max()) > 1
    payloads, side = fine.encode_with_side(x, Quality.of(2))
    decoded = fine.decode(payloads, (65, 130), Quality.of(2))
    for found in (side.levels[0], decoded.levels[0]):
        assert (float(found.min()), float(found.max())) == (0, 1)
    torch.testing.assert_close(decoded.levels[0], side.levels[0])


@pytest.mark.parametrize("quality", [1, 2.5, 4])
@pytest.mark.parametrize("size", [(1, 1), (65, 130)], ids=str)
def test_the_decoder_has_the_encoders_y(fine, picture, size, quality) -> None:
    seen = latents_of(fine)
    payloads, written = fine.encode_with_side(picture(*size, 2), Quality.of(quality))
    read = fine.decode(payloads, size, Quality.of(quality))
    assert torch.equal(to_fixed(seen[0]), to_fixed(seen[1]))
    assert read.size == size and read.levels[0].shape == (2, 3, *size)
    torch.testing.assert_close(read.levels[0], written.levels[0])


@pytest.mark.parametrize("quality", [1, 2.5, 4])
def test_symbols_of_y_are_its_distances_from_the_mean_that_h1_gives(fine, picture, symbols, quality) -> None:
    x = picture(65, 130)
    seen = latents_of(fine)
    (payload,), _ = fine.encode_with_side(x, Quality.of(quality))
    coded, mean = symbols[0][-1]  # y comes last
    fine.decode([payload], (65, 130), Quality.of(quality))
    assert torch.equal(symbols[1][-1][0], coded) and torch.equal(symbols[1][-1][1], mean)
    first = payload[4 : 4 + int.from_bytes(payload[:4], "big")]
    h1 = Hyperprior.decode(fine, [first], (65, 130), Quality.of(quality)).levels[0]
    expected, _ = predict(fine.prediction_y, fine.decoder_h1y(h1)).chunk(2, 1)
    torch.testing.assert_close(to_float(mean), expected, rtol=0, atol=0.01)
    step = 1 / fine.gain_y.log2(torch.tensor([float(quality)])).exp2()
    y = fine.analyse(pad_to(x, 64))[0]
    assert float(((seen[0] - y).abs() / step).max()) < 0.51


def test_threads_and_bfloat16_do_not_matter_to_symbols(fine, picture, threads) -> None:
    seen = latents_of(fine)
    with threads(1), torch.autocast("cpu", torch.bfloat16):
        payloads, _ = fine.encode_with_side(picture(65, 130), Quality.of(3))
    with threads(2), torch.backends.mkldnn.flags(enabled=False):
        fine.decode(payloads, (65, 130), Quality.of(3))
    assert torch.equal(seen[0].float(), seen[1].float())


def test_bytes_are_within_1_percent_and_16_bytes_of_the_estimate(fine, picture) -> None:
    x = picture(128, 192)
    bits = float(fine(x, torch.tensor([3.0])).total_bits)
    (payload,) = fine.encode(x, Quality.of(3))
    assert abs(len(payload) - bits / 8) <= 0.01 * bits / 8 + 16


@pytest.mark.parametrize("wider", [-2.0, 0.0, 4.0])
def test_the_stream_of_y_costs_what_scales_of_any_width_say(fine, picture, wider) -> None:
    fine.prediction_y[7].bias[12:] += wider
    x = picture(128, 192)
    bits = float(fine(x, torch.tensor([3.0])).bits["y"])
    (payload,) = fine.encode(x, Quality.of(3))
    second = len(payload) - 4 - int.from_bytes(payload[:4], "big")
    assert abs(second - bits / 8) <= 0.01 * bits / 8 + 12


def test_its_first_stream_is_the_hyperpriors(fine, codec, picture) -> None:
    x = picture(65, 130)
    (payload,), (base,) = fine.encode(x, Quality.of(2)), codec.encode(x, Quality.of(2))
    assert payload[:4] == len(base).to_bytes(4, "big") and payload[4 : 4 + len(base)] == base


@pytest.mark.parametrize("what", ["empty", "cut length", "cut", "longer", "length beyond", "swapped"])
def test_damaged_payloads(fine, picture, what) -> None:
    (good,) = fine.encode(picture(65, 130), Quality.of(3))
    bad = {
        "empty": b"",
        "cut length": good[:3],
        "cut": good[:-4],
        "longer": good + bytes(4),
        "length beyond": b"\xff\xff\xff\xff" + good[4:],
        "swapped": (4).to_bytes(4, "big") + good[4:],
    }[what]
    with pytest.raises(BitstreamError):
        fine.decode([bad], (65, 130), Quality.of(3))


def test_fingerprint_covers_the_coding_path_of_y_and_no_synthesis(fine) -> None:
    before = fine.coding_state()
    fine.decoder[0].weight.add_(1)
    assert fine.coding_state() == before
    fine.decoder_h1y[0].weight.add_(1)
    assert fine.coding_state() != before


def test_gradients_reach_every_parameter(fine, picture) -> None:
    fine.train().requires_grad_(True)
    x = picture(64, 64, 1)
    found = fine(x, torch.tensor([2.0]))
    (found.total_bits.sum() + (found.side.levels[0] - x).square().sum()).backward()
    without = [name for name, parameter in fine.named_parameters() if parameter.grad is None]
    assert without == []


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("gain_y.table", True), ("decoder_h1y.0.weight", True), ("prediction_y.7.bias", True), ("h2_cdf", True),
        ("gain_y.log2_gain", False), ("decoder.0.weight", False), ("fuse_mix.0.weight", False),
    ],
)  # fmt: skip
def test_the_digest_covers_what_symbols_depend_on(fine, name, counts) -> None:
    before = fine.coding_state()
    fine.state_dict()[name].add_(1)
    assert (fine.coding_state() != before) == counts


def test_the_proof_has_the_layers_and_gains_of_y_too(fine) -> None:
    bounds = [bound.layer for bound in fine.prove()]
    parts = {"decoder_h1y": (0, 1, 3, 6), "prediction_y": (0, 2, 4, 7)}
    path = [f"codec.{part}.{number}" for part, numbers in parts.items() for number in numbers]
    assert bounds == [*(bound.layer for bound in Hyperprior.prove(fine)), *path, "codec.gain_y"]
    fine.decoder_h1y[3].weight.fill_(1e-5)  # a fine scale, which a large offset does not fit
    fine.decoder_h1y[3].bias.fill_(60_000.0)
    with pytest.raises(WeightsError, match=r"layer 'codec\.decoder_h1y\.3' of the coding path can"):
        fine.prove()
