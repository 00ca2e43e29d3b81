"""Pictures to base layers and back: the decoder goes on with exactly what the encoder went on with."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress

import pytest
import torch
from torch import Tensor

from icm_core import BitstreamError, InputError, Quality, SideInfo, WeightsError
from icm_core.coding import to_fixed
from icm_sicmh import Hyperprior
from icm_sicmh.layers import pad_to

SIZES = [(1, 1), (7, 100), (64, 64), (65, 130)]
QUALITIES = [1, 1.0625, 1.5, 2, 2.9375, 3, 3.3125, 4]


def same(one: SideInfo, other: SideInfo) -> bool:
    return one.size == other.size and all(map(torch.equal, one.levels, other.levels))


def of_integers(latents: list[Tensor]) -> tuple[Tensor, Tensor]:
    """(h1, h2) from what a coder went on with: h2 first, then the groups of h1."""
    h2, *groups = latents
    return torch.cat(groups, 1), h2


@pytest.mark.parametrize("quality", QUALITIES, ids=lambda q: f"q{q:g}")
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_decoded_side_information_is_what_the_encoder_went_on_with(codec, picture, integers, size, quality) -> None:
    payloads = codec.encode(picture(*size, batch=2), Quality.of(quality))
    h1, h2 = of_integers(integers())
    side = codec.decode(payloads, size, Quality.of(quality))
    assert side.size == size
    assert torch.equal(to_fixed(side.levels[0]), h1)
    assert torch.equal(to_fixed(side.levels[1]), h2)


@pytest.mark.parametrize("quality", range(16, 65))
def test_every_step_of_quality_can_be_coded(codec, picture, integers, quality) -> None:
    payloads = codec.encode(picture(64, 64), Quality(quality))
    h1, h2 = of_integers(integers())
    side = codec.decode(payloads, (64, 64), Quality(quality))
    assert torch.equal(to_fixed(side.levels[0]), h1) and torch.equal(to_fixed(side.levels[1]), h2)
    assert bool(h1.any()) and bool(h2.any())


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_side_information_has_the_padded_pictures_shape(codec, picture, size) -> None:
    side = codec.decode(codec.encode(picture(*size), Quality.of(2)), size, Quality.of(2))
    rows, columns = (-(-s // 64) for s in size)
    assert [tuple(level.shape) for level in side.levels] == [(1, 16, 2 * rows, 2 * columns), (1, 8, rows, columns)]
    assert {level.dtype for level in side.levels} == {torch.float32}


def test_side_information_is_near_the_training_forwards(codec, picture) -> None:
    x = picture(128, 192)
    decoded = codec.decode(codec.encode(x, Quality.of(3)), (128, 192), Quality.of(3))
    trained = codec(x, torch.tensor([3.0])).side
    for level, its_float_form, unit in zip(decoded.levels, trained.levels, (codec.gain_h1, codec.gain_h2), strict=True):
        step = 1 / unit.log2(torch.tensor([3.0])).exp2()
        assert float(((level - its_float_form).abs() / step).max()) < 1.1  # a rounding may fall to the other side
        assert float(((level - its_float_form).abs() / step > 0.1).float().mean()) < 0.02


def test_higher_qualities_keep_more_and_cost_more(codec, picture) -> None:
    x = picture(128, 128)
    h1, _ = codec.latents(x)
    lengths, errors = [], []
    for quality in (1, 2, 3, 4):
        (payload,) = codec.encode(x, Quality.of(quality))
        side = codec.decode([payload], (128, 128), Quality.of(quality))
        lengths.append(len(payload))
        errors.append(float((side.levels[0] - h1).square().mean()))
    assert lengths == sorted(set(lengths))
    assert errors == sorted(errors, reverse=True)


Mode = Callable[[Hyperprior], tuple[Hyperprior, AbstractContextManager[object]]]
MODES: dict[str, Mode] = {
    "fp32": lambda codec: (codec, nullcontext()),
    "bf16": lambda codec: (codec, torch.autocast("cpu", torch.bfloat16)),
    "channels_last": lambda codec: (codec.to(memory_format=torch.channels_last), nullcontext()),
    "bf16, channels_last": lambda codec: (
        codec.to(memory_format=torch.channels_last),
        torch.autocast("cpu", torch.bfloat16),
    ),
    "without mkldnn": lambda codec: (codec, torch.backends.mkldnn.flags(enabled=False)),
    "inference mode": lambda codec: (codec, torch.inference_mode()),
}


@pytest.mark.parametrize("decoding", MODES)
@pytest.mark.parametrize("encoding", MODES)
def test_all_float_modes_decode_what_any_of_them_encoded(codec, picture, integers, threads, encoding, decoding) -> None:
    x, quality = picture(65, 130), Quality.of(2.5)
    encoder, mode = MODES[encoding](copy.deepcopy(codec))
    with threads(1), mode:
        payloads = encoder.encode(x, quality)
    h1, h2 = of_integers(integers())
    decoder, mode = MODES[decoding](copy.deepcopy(codec))
    with threads(2), mode:
        side = decoder.decode(payloads, (65, 130), quality)
    assert torch.equal(to_fixed(side.levels[0]), h1)
    assert torch.equal(to_fixed(side.levels[1]), h2)


def test_a_batch_of_8_decodes_like_8_pictures_alone(codec, picture) -> None:
    payloads = codec.encode(picture(64, 100, batch=8), Quality.of(3))
    assert len(set(payloads)) == 8
    together = codec.decode(payloads, (64, 100), Quality.of(3))
    alone = [codec.decode([payload], (64, 100), Quality.of(3)) for payload in payloads]
    for i, level in enumerate(together.levels):
        assert torch.equal(level, torch.cat([side.levels[i] for side in alone]))


def test_encoding_twice_gives_the_same_bytes(codec, picture) -> None:
    x = picture(65, 130)
    assert codec.encode(x, Quality.of(2)) == codec.encode(x, Quality.of(2))


def test_a_copy_with_the_same_state_decodes_the_same(codec, picture) -> None:
    payloads = codec.encode(picture(64, 64), Quality.of(4))
    other = Hyperprior(codec.params).eval()
    other.load_state_dict(codec.state_dict())
    assert same(other.decode(payloads, (64, 64), Quality.of(4)), codec.decode(payloads, (64, 64), Quality.of(4)))


@pytest.mark.parametrize("quality", [1, 2.5, 4], ids=lambda q: f"q{q:g}")
def test_tables_of_h2_are_its_density_in_steps_of_its_own_gains(codec, quality) -> None:
    """A symbol's share of 65536 is the probability that its bits in training say."""
    gain = codec.gain_h2.log2(torch.tensor([float(quality)])).exp2()
    rows, first = codec.h2_cdf[Quality.of(quality).index], codec.h2_first[Quality.of(quality).index]
    symbols = first[:, None] + torch.arange(rows.shape[1] - 2)
    bits = codec.density.bits(symbols[None, :, :, None].float(), gain)[0, :, :, 0]
    likely = bits < 8
    assert int(likely.sum()) > 40
    torch.testing.assert_close(16 - rows.diff(dim=1)[:, :-1].float().log2()[likely], bits[likely], rtol=0, atol=0.05)


@pytest.mark.parametrize("quality", [1, 2, 2.5, 3, 4], ids=lambda q: f"q{q:g}")
@pytest.mark.parametrize("size", [(256, 256), (320, 448)], ids=str)
def test_bytes_are_within_1_percent_and_8_bytes_of_the_models_estimate(codec, picture, size, quality) -> None:
    x = picture(*size)
    estimate = float(codec(pad_to(x, 64), torch.tensor([float(quality)])).total_bits) / 8
    (payload,) = codec.encode(x, Quality.of(quality))
    assert abs(len(payload) - estimate) <= 0.01 * estimate + 8


def test_latents_far_out_are_clamped_and_still_decode(codec, monkeypatch, integers) -> None:
    h1 = torch.randn(1, 16, 2, 2, generator=torch.Generator().manual_seed(0)) * 1e5
    h2 = torch.randn(1, 8, 1, 1, generator=torch.Generator().manual_seed(1)) * 1e5
    monkeypatch.setattr(codec, "latents", lambda x, quality: (h1, h2))
    payloads = codec.encode(torch.zeros(1, 3, 64, 64), Quality.of(4))
    expected = of_integers(integers())
    side = codec.decode(payloads, (64, 64), Quality.of(4))
    assert all(torch.equal(to_fixed(level), n) for level, n in zip(side.levels, expected, strict=True))


@pytest.fixture
def payload(codec, picture) -> bytes:
    return codec.encode(picture(64, 64), Quality.of(3))[0]


def decodes_otherwise(codec: Hyperprior, payload: bytes, right: SideInfo) -> bool:
    """Whether a payload is refused, or at least not taken for the right one."""
    try:
        return not same(codec.decode([payload], (64, 64), Quality.of(3)), right)
    except BitstreamError:
        return True


def test_every_byte_of_a_payload_matters(codec, payload) -> None:
    right = codec.decode([payload], (64, 64), Quality.of(3))
    for place in range(len(payload)):
        for flip in (0x01, 0x10, 0xFF):
            damaged = bytearray(payload)
            damaged[place] ^= flip
            assert decodes_otherwise(codec, bytes(damaged), right), f"byte {place}"


def test_every_cut_payload_is_an_error(codec, payload) -> None:
    for end in range(len(payload)):
        with pytest.raises(BitstreamError):
            codec.decode([payload[:end]], (64, 64), Quality.of(3))


def test_a_stream_has_to_have_the_bytes_that_the_likeliest_symbols_take(codec) -> None:
    """Of h2 alone: 10 x 10 places, each channel's most probable symbol at each of them."""
    likeliest = codec.h2_cdf[Quality.of(3).index].diff(dim=1).amax(1).double() / 65536
    bits = -100 * float(likeliest.log2().sum())
    with pytest.raises(BitstreamError, match=r"has 8 bytes; a picture of the size .* takes at least") as caught:
        codec.decode([bytes(8)], (640, 600), Quality.of(3))
    least = int(str(caught.value).rsplit(" ", 1)[1])
    assert 0.95 * bits <= 8 * least <= bits + 64
    with pytest.raises(BitstreamError, match=f"takes at least {least}"):
        codec.decode([bytes(least - 1)], (640, 600), Quality.of(3))
    with pytest.raises(BitstreamError) as caught:
        codec.decode([bytes(least + 4)], (640, 600), Quality.of(3))
    assert "takes at least" not in str(caught.value)


def test_of_a_huge_picture_each_symbol_may_take_a_little_less_than_its_information(codec) -> None:
    """2**20 places of h2; the coder rounds in a stream's favour by up to 2**-13 bits a symbol."""
    likeliest = codec.h2_cdf[Quality.of(3).index].diff(dim=1).amax(1).double() / 65536
    bits = -float(likeliest.log2().sum()) * 2**20
    with pytest.raises(BitstreamError, match="takes at least") as caught:
        codec.decode([bytes(8)], (2**16, 2**16), Quality.of(3))
    least = int(str(caught.value).rsplit(" ", 1)[1])
    assert least == pytest.approx((bits - len(likeliest) * 2**20 / 2**13 + 30) / 8, abs=2)


@pytest.mark.parametrize("tail", [b"\0", bytes(4), b"\xff" * 8])
def test_a_payload_with_something_behind_it_is_an_error(codec, payload, tail) -> None:
    with pytest.raises(BitstreamError):
        codec.decode([payload + tail], (64, 64), Quality.of(3))


@pytest.mark.parametrize("length", [8, 12, 16, 40, 100, 400])
def test_noise_is_refused_and_never_a_crash(codec, length) -> None:
    # It would have to be, by chance, what its symbols code to.
    source = random.Random(length)
    for _ in range(8):
        with pytest.raises(BitstreamError, match="the coded stream"):
            codec.decode([source.randbytes(length)], (64, 64), Quality.of(3))


def test_one_damaged_payload_of_a_batch_is_an_error(codec, picture) -> None:
    payloads = codec.encode(picture(64, 64, batch=2), Quality.of(3))
    with pytest.raises(BitstreamError):
        codec.decode([payloads[0], payloads[1][:-4]], (64, 64), Quality.of(3))


@pytest.mark.parametrize(("size", "quality"), [((64, 65), 3), ((128, 64), 3), ((64, 64), 2), ((64, 64), 3.0625)])
def test_another_size_or_quality_is_an_error_or_other_side_information(codec, payload, size, quality) -> None:
    right = codec.decode([payload], (64, 64), Quality.of(3))
    with suppress(BitstreamError):
        assert not same(codec.decode([payload], size, Quality.of(quality)), right)


def test_a_quality_beyond_the_trained_ones_is_refused(codec, picture) -> None:
    with pytest.raises(InputError, match="quality 5 is out of range; this model has 1 to 4"):
        codec.encode(picture(64, 64), Quality.of(5))
    with pytest.raises(InputError, match="quality 5 is out of range; this model has 1 to 4"):
        codec.decode([bytes(8)], (64, 64), Quality.of(5))


def test_a_codec_without_tables_is_refused(codec, picture) -> None:
    fresh = Hyperprior(codec.params)
    with pytest.raises(WeightsError, match="the coding tables are empty"):
        fresh.encode(picture(64, 64), Quality.of(1))
    with pytest.raises(WeightsError, match="the coding tables are empty"):
        fresh.decode([bytes(8)], (64, 64), Quality.of(1))


def test_freezing_again_changes_nothing(codec) -> None:
    before = {name: value.clone() for name, value in codec.state_dict().items()}
    digest = codec.coding_state()
    codec.freeze_tables()
    after = codec.state_dict()
    assert all(after[name].dtype == before[name].dtype and torch.equal(after[name], before[name]) for name in before)
    assert codec.coding_state() == digest
