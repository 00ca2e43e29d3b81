"""Gain units: real qualities between the trained ones, and the integer tables."""

from __future__ import annotations

import pytest
import torch

from icm_core import InputError, Quality, WeightsError
from icm_core.coding import FRACTION_BITS, LIMIT
from icm_core.coding.rans import MAX_SYMBOL
from icm_sicmh.gain import INVERSE_BITS, ExactGain, GainUnit

ONE = 2**FRACTION_BITS
STEPS = [Quality(16 + i) for i in range(49)]


@pytest.fixture
def unit() -> GainUnit:
    torch.manual_seed(0)
    unit = GainUnit(5, 4, 2.0, 8.0).requires_grad_(False)
    unit.log2_gain.uniform_(-2, 4)
    unit.freeze()
    return unit


def gains(unit: GainUnit, *qualities: float) -> torch.Tensor:
    return unit.log2(torch.tensor(qualities, dtype=torch.float64)).exp2()[:, :, 0, 0]


def test_gains_start_geometrically_from_lowest_to_highest() -> None:
    unit = GainUnit(2, 4, 2.0, 16.0)
    torch.testing.assert_close(unit.log2_gain.exp2()[:, 0], torch.tensor([2.0, 4.0, 8.0, 16.0]))


def test_trained_qualities_have_their_own_gains(unit) -> None:
    torch.testing.assert_close(gains(unit, 1, 2, 3, 4), unit.log2_gain.double().exp2())


@pytest.mark.parametrize("part", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("below", [1, 2, 3])
def test_between_them_gains_are_interpolated_geometrically(unit, below, part) -> None:
    low, high, between = gains(unit, below, below + 1, below + part)
    torch.testing.assert_close(between, low ** (1 - part) * high**part)


def test_beyond_the_trained_qualities_gains_stay(unit) -> None:
    torch.testing.assert_close(gains(unit, 0.5, 7), gains(unit, 1, 4))


@pytest.mark.parametrize("shift", [0, 6], ids=["small gains", "large gains"])
def test_the_bound_is_the_largest_product_by_hand(unit, shift) -> None:
    """Of a mean, which is two numbers within the limit, with a gain; and of what is gained, with the inverse."""
    unit.log2_gain.add_(shift)
    unit.freeze()
    products = []
    for step in unit.table.tolist():
        for gain, inverse, _ in zip(*step, strict=True):
            gained = MAX_SYMBOL * ONE + 2 * LIMIT * gain // ONE + 1
            products += [2 * LIMIT * gain, gained * inverse]
    bound = unit.bound("codec.gain")
    assert (bound.layer, bound.arithmetic, bound.largest, bound.limit) == (
        "codec.gain", "int64 product", max(products), 2**63
    )  # fmt: skip


def test_a_batch_may_mix_qualities(unit) -> None:
    mixed = gains(unit, 1.5, 4, 2)
    torch.testing.assert_close(mixed, torch.cat([gains(unit, q) for q in (1.5, 4, 2)]))


def test_two_qualities_are_enough() -> None:
    unit = GainUnit(1, 2, 2.0, 8.0)
    torch.testing.assert_close(gains(unit, 1, 1.5, 2)[:, 0], torch.tensor([2.0, 4.0, 8.0]).double())


@pytest.mark.parametrize("quality", STEPS, ids=lambda q: f"{q.value:g}")
def test_tables_hold_the_float_gains_at_every_step(unit, quality) -> None:
    row, (gain,) = unit.row(quality), gains(unit, quality.value)
    assert row.gain.dtype == torch.int64
    assert row.gain.shape == row.inverse.shape == row.log2.shape == (1, 5, 1, 1)
    torch.testing.assert_close(row.gain.flatten(), (gain * ONE).round().long(), rtol=0, atol=1)
    torch.testing.assert_close(row.log2.flatten(), (gain.log2() * ONE).round().long(), rtol=0, atol=1)


def test_the_inverse_belongs_to_the_rounded_gain(unit) -> None:
    for quality in STEPS:
        row = unit.row(quality)
        product = row.gain * row.inverse  # of 2**(12 + 20)
        assert int((product - 2 ** (FRACTION_BITS + INVERSE_BITS)).abs().max()) <= int(row.gain.max()) // 2 + 1


def test_extreme_gains_are_held_within_what_integers_allow() -> None:
    unit = GainUnit(2, 2, 1.0, 1.0).requires_grad_(False)
    unit.log2_gain.copy_(torch.tensor([[-100.0, 100.0]]).repeat(2, 1))
    unit.freeze()
    assert unit.row(Quality.of(1)).gain.flatten().tolist() == [2**5, 2**22]


def test_freezing_again_changes_nothing(unit) -> None:
    before = unit.table.clone()
    unit.freeze()
    assert torch.equal(unit.table, before)


def test_tables_stay_until_they_are_frozen_again(unit) -> None:
    before = unit.table.clone()
    unit.log2_gain.add_(1)
    assert torch.equal(unit.table, before)
    unit.freeze()
    assert torch.equal(unit.row(Quality.of(1)).log2.flatten(), before[0, 2].long() + ONE)


@pytest.mark.parametrize("value", [4.0625, 5, 15.9375])
def test_a_quality_beyond_the_trained_ones_is_refused(unit, value) -> None:
    with pytest.raises(InputError, match=rf"quality {value:g} is out of range; this model has 1 to 4"):
        unit.row(Quality.of(value))


def test_tables_that_were_never_frozen_are_refused() -> None:
    with pytest.raises(WeightsError, match="the coding tables are empty; load trained weights, or call freeze_tables"):
        GainUnit(5, 4, 2.0, 8.0).row(Quality.of(1))


def test_symbols_are_the_gained_distances_from_the_mean(unit) -> None:
    row = unit.row(Quality.of(2.5))
    generator = torch.Generator().manual_seed(0)
    latent, mean = (torch.randint(-(2**16), 2**16, (3, 5, 4, 4), generator=generator) for _ in range(2))
    gain = row.gain.double() / ONE
    expected = (latent - mean).double() / ONE * gain
    assert float((row.quantize(latent, mean, 2**14) - expected).abs().max()) <= 0.5 + 2 / ONE


def test_latents_come_back_within_half_a_step(unit) -> None:
    for quality in STEPS[::7]:
        row = unit.row(quality)
        generator = torch.Generator().manual_seed(0)
        latent, mean = (torch.randint(-(2**16), 2**16, (3, 5, 4, 4), generator=generator) for _ in range(2))
        back = row.dequantize(row.quantize(latent, mean, 2**14), mean)
        half_step = ONE**2 / row.gain / 2
        assert bool(((back - latent).abs() <= half_step * 1.001 + 4).all())


def test_what_is_decoded_codes_to_the_same_symbols_again(unit) -> None:
    row = unit.row(Quality.of(3))
    symbols = torch.arange(-500, 500).reshape(1, 5, 20, 10)
    mean = torch.randint(-(2**14), 2**14, symbols.shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(row.quantize(row.dequantize(symbols, mean), mean, 2**14), symbols)


def test_symbols_are_held_within_the_limit(unit) -> None:
    row = unit.row(Quality.of(4))
    latent = torch.tensor([LIMIT, -LIMIT]).repeat(5).reshape(1, 5, 1, 2)
    assert row.quantize(latent, torch.zeros_like(latent), 7).unique().tolist() == [-7, 7]


def test_latents_are_held_within_the_limit(unit) -> None:
    row = unit.row(Quality.of(1))
    symbols = torch.tensor([2**14, -(2**14)]).repeat(5).reshape(1, 5, 1, 2)
    found = row.dequantize(symbols, symbols.sign() * LIMIT)
    assert int(found.abs().max()) == LIMIT


def test_a_part_has_the_gains_of_its_channels(unit) -> None:
    row = unit.row(Quality.of(2))
    part: ExactGain = row.part(slice(1, 3))
    for name in ("gain", "inverse", "log2"):
        assert torch.equal(getattr(part, name), getattr(row, name)[:, 1:3])
