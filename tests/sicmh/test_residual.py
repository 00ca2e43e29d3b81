"""The enhancement layer: Eq. 21-24, and its exact coding."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import torch

from icm_core import BitstreamError, InputError, Quality, WeightsError
from icm_core.coding import to_fixed, to_float
from icm_core.types import Level, SideInfo, SideInfoLayout
from icm_sicmh import Residual, prediction
from icm_sicmh import residual as residual_module
from icm_sicmh.density import gaussian_bits
from icm_sicmh.layers import pad_to
from icm_sicmh.prediction import predict

SIZES = [(1, 1), (7, 100), (64, 64), (65, 130)]
QUALITIES = [1, 1.5, 2.9375, 4]


def test_strips_of_what_h1_tells_follow_one_another_and_say_what_it_says_at_once(
    residual, example, monkeypatch
) -> None:
    _, _, side = example(200, 130)
    gain = residual.gain.row(Quality.of(2))
    ((rows, mean, told),) = residual._distribution(side, gain)
    assert (rows.start, rows.stop) == (0, 16) and mean.shape == told.shape == (1, 12, 16, 12)
    monkeypatch.setattr(prediction, "_POSITIONS_AT_ONCE", 12 * 5)
    strips = list(residual._distribution(side, gain))
    assert [(one.start, one.stop) for one, _, _ in strips] == [(0, 5), (5, 10), (10, 15), (15, 16)]
    assert torch.equal(torch.cat([part for _, part, _ in strips], 2), mean)
    assert torch.equal(torch.cat([part for *_, part in strips], 2), told)


def test_it_is_equations_21_to_24(residual, example) -> None:
    x, coarse, side = example(65, 130, 2)
    quality = torch.tensor([1.5, 4.0])
    gain = residual.gain.log2(quality).exp2()
    y_r = residual.encoder_r(pad_to(x - coarse, 64))  # Eq. 21
    mean, log2_sigma = predict(residual.prediction, residual.decoder_h1r(side.levels[0])).chunk(2, 1)
    symbols = ((y_r - mean) * gain).round()
    y_hat = symbols / gain + mean
    x_f = coarse + residual.decoder_r(y_hat)[..., :65, :130]  # Eq. 22-23
    bits = gaussian_bits(symbols, log2_sigma.exp2() * gain).flatten(1).sum(1)  # Eq. 24
    found, rate = residual(x, coarse, side, quality)
    torch.testing.assert_close(found, x_f)
    if type(residual) is Residual:  # tests/sicmh/test_residual_context.py has the other's
        torch.testing.assert_close(rate, bits)


@pytest.mark.parametrize("quality", QUALITIES, ids=lambda q: f"q{q:g}")
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_decoder_goes_on_with_what_the_encoder_had(residual, example, symbols, size, quality) -> None:
    x, coarse, side = example(*size, batch=2)
    for seen in symbols:
        seen.clear()
    payloads = residual.encode(x, coarse, side, Quality.of(quality))
    decoded: list[torch.Tensor] = []
    residual.decoder_r.register_forward_pre_hook(lambda module, args: decoded.append(args[0]))
    residual.decode(payloads, coarse, side, Quality.of(quality))
    ((coded, mean),), ((pulled, its_mean),) = symbols
    assert torch.equal(pulled, coded) and torch.equal(its_mean, mean)
    assert bool(coded.any())
    # What they stand for: latents within half a step of Eq. 21's, around the mean that Eq. 22's networks give.
    y_r = residual.encoder_r(pad_to(x - coarse, 64))
    step = 1 / residual.gain.log2(torch.tensor([float(quality)])).exp2()
    assert float(((decoded[0] - y_r).abs() / step).max()) < 0.51
    expected, _ = predict(residual.prediction, residual.decoder_h1r(side.levels[0])).chunk(2, 1)
    torch.testing.assert_close(to_float(mean), expected, rtol=0, atol=0.01)


def test_under_autocast_the_fine_picture_is_float32_arithmetic(residual, example) -> None:
    x, coarse, side = example(64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        found, bits = residual(x, coarse.bfloat16(), side, torch.tensor([2.0]))
    assert found.dtype == bits.dtype == torch.float32


@pytest.mark.parametrize("wider", [0.0, 5.0])
def test_a_stream_costs_what_scales_of_any_width_say(residual, example, wider) -> None:
    x, coarse, side = example(128, 192)
    residual.prediction[7].bias[12:] += wider
    _, bits = residual(x, coarse, side, torch.tensor([3.0]))
    (payload,) = residual.encode(x, coarse, side, Quality.of(3))
    assert abs(len(payload) - float(bits) / 8) <= 0.02 * float(bits) / 8 + 12


def test_what_is_decoded_is_the_coarse_picture_and_decoder_r_within_0_and_1(residual, example) -> None:
    x, coarse, side = example(65, 130)
    residual.decoder_r[-1].weight.mul_(10)
    latents: list[torch.Tensor] = []
    residual.decoder_r.register_forward_pre_hook(lambda module, args: latents.append(args[0]))
    found = residual.decode(residual.encode(x, coarse, side, Quality.of(3)), coarse, side, Quality.of(3))
    expected = coarse + residual.decoder_r(latents[0])[..., :65, :130]
    assert float(expected.min()) < 0 or float(expected.max()) > 1
    assert torch.equal(found, expected.clamp(0, 1))


def test_it_recovers_exactly_the_codecs_integers_from_float_side_information(codec, picture, integers) -> None:
    payloads = codec.encode(picture(65, 130), Quality.of(3))
    integers()
    side = codec.decode(payloads, (65, 130), Quality.of(3))
    _, *groups = integers()
    assert side.levels[0].dtype == torch.float32
    assert torch.equal(to_fixed(side.levels[0]), torch.cat(groups, 1))


def test_float_modes_and_threads_do_not_matter(residual, example, threads) -> None:
    x, coarse, side = example(65, 130)
    with threads(1), torch.autocast("cpu", torch.bfloat16):
        payloads = residual.to(memory_format=torch.channels_last).encode(x, coarse, side, Quality.of(2))
    latents: list[torch.Tensor] = []
    residual.decoder_r.register_forward_pre_hook(lambda module, args: latents.append(args[0].clone()))
    last = SideInfo(tuple(t.contiguous(memory_format=torch.channels_last) for t in side.levels), side.size)
    with threads(2), torch.backends.mkldnn.flags(enabled=False):
        residual.to(memory_format=torch.contiguous_format).decode(payloads, coarse, side, Quality.of(2))
    with threads(1), torch.inference_mode():
        residual.decode(payloads, coarse, last, Quality.of(2))
    with torch.autocast("cpu", torch.bfloat16):
        residual.decode(payloads, coarse, side, Quality.of(2))
    assert torch.equal(latents[0], latents[1]) and torch.equal(latents[0], latents[2])


def test_the_coarse_picture_of_the_decoder_may_differ_in_its_last_bits(residual, example) -> None:
    x, coarse, side = example(64, 64)
    payloads = residual.encode(x, coarse, side, Quality.of(3))
    near = coarse + 1e-6
    found = residual.decode(payloads, near, side, Quality.of(3))
    torch.testing.assert_close(found, residual.decode(payloads, coarse, side, Quality.of(3)), rtol=0, atol=1e-5)


def test_a_batch_of_8_decodes_like_8_pictures_alone(residual, example) -> None:
    x, coarse, side = example(64, 100, 8)
    payloads = residual.encode(x, coarse, side, Quality.of(3))
    latents: list[torch.Tensor] = []
    residual.decoder_r.register_forward_pre_hook(lambda module, args: latents.append(args[0]))
    residual.decode(payloads, coarse, side, Quality.of(3))
    for i, payload in enumerate(payloads):
        own = SideInfo(tuple(level[i : i + 1] for level in side.levels), side.size)
        residual.decode([payload], coarse[i : i + 1], own, Quality.of(3))
    assert torch.equal(latents[0], torch.cat(latents[1:]))


def test_strips_of_rows_change_neither_bytes_nor_latents(residual, example, monkeypatch) -> None:
    x, coarse, side = example(200, 130)
    (payload,) = residual.encode(x, coarse, side, Quality.of(3))
    latent = residual.latent([payload], side, Quality.of(3))
    for module in (prediction, residual_module):
        monkeypatch.setattr(module, "_POSITIONS_AT_ONCE", 12 * 3)
    assert residual.encode(x, coarse, side, Quality.of(3)) == [payload]
    assert torch.equal(residual.latent([payload], side, Quality.of(3)), latent)


def test_encoding_twice_gives_the_same_bytes(residual, example) -> None:
    arguments = (*example(65, 130), Quality.of(2))
    assert residual.encode(*arguments) == residual.encode(*arguments)


@pytest.mark.parametrize("quality", QUALITIES, ids=lambda q: f"q{q:g}")
def test_bytes_are_within_1_percent_and_8_bytes_of_the_models_estimate(residual, example, quality) -> None:
    x, coarse, side = example(128, 192)
    _, bits = residual(x, coarse, side, torch.tensor([float(quality)]))
    (payload,) = residual.encode(x, coarse, side, Quality.of(quality))
    assert abs(len(payload) - float(bits) / 8) <= 0.01 * float(bits) / 8 + 8


def test_every_damaged_byte_is_an_error_or_other_latents(residual, example) -> None:
    x, coarse, side = example(64, 64)
    (payload,) = residual.encode(x, coarse, side, Quality.of(1))
    right = residual.latent([payload], side, Quality.of(1))

    def outcome(place: int) -> str:
        damaged = bytearray(payload)
        damaged[place] ^= 0x55
        try:
            found = residual.latent([bytes(damaged)], side, Quality.of(1))
        except BitstreamError:
            return "refused"
        return "taken for right" if torch.equal(found, right) else "other latents"

    outcomes = Counter(outcome(place) for place in range(len(payload)))
    # Coding the symbols again shows nearly all damage; what it leaves is for the container's CRC.
    assert outcomes["refused"] > 0.9 * len(payload)
    assert outcomes["refused"] + outcomes["other latents"] == len(payload)


@pytest.mark.parametrize("length", [8, 40, 400])
def test_noise_is_refused_and_never_a_crash(residual, example, length) -> None:
    _, coarse, side = example(64, 64)
    for seed in range(5):
        with pytest.raises(BitstreamError, match="the coded stream"):
            residual.decode([random.Random(seed).randbytes(length)], coarse, side, Quality.of(1))


@pytest.mark.parametrize("end", [0, 4, 8, -5, -4, -1])
def test_cut_payloads_are_an_error(residual, example, end) -> None:
    x, coarse, side = example(64, 64)
    (payload,) = residual.encode(x, coarse, side, Quality.of(2))
    with pytest.raises(BitstreamError):
        residual.decode([payload[:end]], coarse, side, Quality.of(2))


def test_a_quality_beyond_the_trained_ones_is_refused(residual, example) -> None:
    with pytest.raises(InputError, match=r"quality 4\.5 is out of range; this model has 1 to 4"):
        residual.encode(*example(64, 64), Quality.of(4.5))


def test_an_enhancement_without_tables_is_refused(codec, example) -> None:
    with pytest.raises(WeightsError, match="the coding tables are empty"):
        Residual(Residual.Params(), codec.layout).encode(*example(64, 64), Quality.of(1))


def test_freezing_again_changes_nothing(residual) -> None:
    before, digest = residual.gain.table.clone(), residual.coding_state()
    residual.freeze_tables()
    assert torch.equal(residual.gain.table, before) and residual.coding_state() == digest


@pytest.mark.parametrize("qualities", [2, 6])
def test_untrained_gains_go_from_2_to_8_over_all_its_qualities(qualities) -> None:
    params = Residual.Params(qualities=qualities)
    fresh = Residual(params, SideInfoLayout((Level(8, 32), Level(4, 64)), 8))
    fresh.freeze_tables()
    assert fresh.quality_range == (1, qualities)
    assert [int(fresh.gain.row(Quality.of(q)).gain[0, 5]) for q in (1, qualities)] == [2 * 4096, 8 * 4096]
    with pytest.raises(InputError, match=f"this model has 1 to {qualities}"):
        fresh.gain.row(Quality.of(qualities + 1))
