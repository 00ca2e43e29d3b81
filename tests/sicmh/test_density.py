"""The factorized density, its tables, and the rate of conditional Gaussians."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from icm_core.coding.tables import SIGMA_MIN
from icm_sicmh.density import FactorizedDensity, gaussian_bits

HALF = 32


@pytest.fixture
def density() -> FactorizedDensity:
    torch.manual_seed(0)
    density = FactorizedDensity(6).requires_grad_(False)
    for factor in density.factors:
        factor.uniform_(-1, 1)  # off the sigmoid that it starts as
    return density


@pytest.fixture
def gains() -> torch.Tensor:
    return torch.tensor([0.5, 2.0, 8.0])[:, None].repeat(1, 6) * torch.linspace(0.8, 1.2, 6)


def test_all_layers_bend_but_the_last() -> None:
    """Filters of 3, 3, 3 and 1 outputs, as in Ballé's."""
    found = FactorizedDensity(5)
    assert [tuple(matrix.shape) for matrix in found.matrices] == [(5, 3, 1), (5, 3, 3), (5, 3, 3), (5, 1, 3)]
    assert [tuple(factor.shape) for factor in found.factors] == [(5, 3, 1)] * 3


def test_logits_are_layers_of_positive_weights_each_bent_by_less_than_it_rises(density) -> None:
    """f = H x + b and f + tanh(a) tanh(f) with H = softplus of what is stored, channel by channel (Ballé et al.)."""
    generator = torch.Generator().manual_seed(1)
    for parameter in density.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator))
    x = torch.linspace(-30, 30, 41, dtype=torch.float64)
    found = density.double().logits(x.expand(6, 1, -1))
    for channel in range(6):
        f = x.numpy()[None]
        for layer in range(4):
            weight, bias = (p[layer][channel].numpy() for p in (density.matrices, density.biases))
            f = np.log1p(np.exp(weight)) @ f + bias
            if layer < 3:
                f = f + np.tanh(density.factors[layer][channel].numpy()) * np.tanh(f)
        np.testing.assert_allclose(found[channel].numpy(), f, rtol=1e-9)


def test_the_cumulative_rises_from_0_to_1(density) -> None:
    x = torch.linspace(-300, 300, 2001).repeat(6, 1, 1)
    cumulative = density.logits(x).sigmoid()
    assert bool((cumulative.diff(dim=-1) >= 0).all())
    assert float(cumulative[..., 0].max()) < 1e-3 and float(cumulative[..., -1].min()) > 1 - 1e-3


def test_probabilities_of_all_symbols_sum_to_one(density) -> None:
    low = torch.arange(-3000, 3000).double().repeat(6, 1, 1) - 0.5
    mass = density.double().mass(low, low + 1)
    assert float(mass.min()) >= 0
    torch.testing.assert_close(mass.sum(-1), torch.ones(6, 1, dtype=torch.float64), rtol=0, atol=1e-6)


def test_it_starts_as_wide_as_it_is_told() -> None:
    torch.manual_seed(0)
    density = FactorizedDensity(4, scale=10.0)
    for bias in density.biases:
        torch.nn.init.zeros_(bias)
    edge = torch.full((4, 1, 1), 10.0)
    torch.testing.assert_close(density.logits(edge), torch.ones(4, 1, 1))


def test_bits_are_of_the_interval_that_a_step_covers(density) -> None:
    generator = torch.Generator().manual_seed(0)
    value = torch.randint(-9, 9, (2, 6, 3, 4), generator=generator).float()
    gain = torch.rand(2, 6, 1, 1, generator=generator) + 0.5
    bits = density.bits(value, gain)
    for b in range(2):
        for c in range(6):
            edges = torch.stack([(value[b, c] - 0.5) / gain[b, c], (value[b, c] + 0.5) / gain[b, c]])
            x = torch.zeros(6, 1, 24)
            x[c, 0] = edges.flatten()
            low, high = density.double().logits(x.double())[c, 0].sigmoid().chunk(2)
            density.float()
            expected = -(high - low).log2().reshape(3, 4)
            torch.testing.assert_close(bits[b, c].double(), expected, rtol=1e-3, atol=1e-3)


def test_small_probabilities_keep_their_digits_on_either_side(density) -> None:
    middle = torch.linspace(-400, 400, 1601).expand(6, 1, -1)
    found = density.mass(middle - 0.5, middle + 0.5).double()
    expected = density.double().mass(middle.double() - 0.5, middle.double() + 0.5)
    small = (expected > 1e-15) & (expected < 1e-9)
    below = density.logits(middle.double()) < 0
    assert int((small & below).sum()) > 50 < int((small & ~below).sum())
    torch.testing.assert_close(found[small], expected[small], rtol=0.01, atol=0)


def test_a_value_far_out_costs_the_least_probability(density) -> None:
    bits = density.bits(torch.full((1, 6, 1, 1), 1e6), torch.ones(1, 6, 1, 1))
    torch.testing.assert_close(bits, torch.full_like(bits, 1e-9).log2().neg())


def test_tables_are_rows_from_0_to_65536(density, gains) -> None:
    rows, first = density.tables(gains, HALF)
    assert rows.shape == (3, 6, 2 * HALF + 3) and first.shape == (3, 6)
    assert rows.dtype == first.dtype == torch.int32
    assert bool((rows[..., 0] == 0).all() and (rows[..., -1] == 65536).all())
    assert bool((rows.diff(dim=-1) >= 1).all())


def test_tables_are_centred_on_each_channels_median(density, gains) -> None:
    _, first = density.tables(gains, HALF)
    median = (first + HALF) / gains
    for s in range(3):
        below = density.logits(((first[s] + HALF - 0.5001) / gains[s])[:, None, None])
        above = density.logits(((first[s] + HALF + 0.5001) / gains[s])[:, None, None])
        assert bool((below <= 0).all() and (above >= 0).all())
    assert float((median.max(0).values - median.min(0).values).max()) <= 1 / float(gains.min())


def test_estimated_bits_are_what_the_tables_cost(density, gains) -> None:
    rows, first = density.tables(gains, HALF)
    for s in range(3):
        symbols = first[s, :, None] + torch.arange(2 * HALF + 1)
        estimated = density.bits(symbols[None, :, :, None].float(), gains[s, None, :, None, None])[0, :, :, 0]
        cost = 16 - rows[s].diff(dim=-1)[:, :-1].double().log2()
        likely = estimated < 8
        assert int(likely.sum()) > 30
        torch.testing.assert_close(estimated[likely].double(), cost[likely], rtol=0, atol=0.02)
        probability = torch.exp2(-estimated.double())
        excess = (probability * (cost - estimated)).sum(-1)
        assert float(excess.abs().max()) < 0.02  # bits a symbol


def test_making_tables_leaves_the_density_as_it_was(density, gains) -> None:
    before = {name: value.clone() for name, value in density.state_dict().items()}
    density.tables(gains, HALF)
    after = density.state_dict()
    assert all(after[name].dtype == torch.float32 and torch.equal(after[name], before[name]) for name in before)


VALUES = [0.0, 0.3, -0.5, 1.0, -2.7, 6.0]
SCALES = [0.11, 0.3, 1.0, 4.0, 50.0]


@pytest.mark.parametrize("sigma", SCALES)
@pytest.mark.parametrize("value", VALUES)
def test_gaussian_bits_are_of_an_interval_of_width_1(value: float, sigma: float) -> None:
    upper, lower = (0.5 * math.erfc((abs(value) + d) / sigma / math.sqrt(2)) for d in (-0.5, 0.5))
    expected = -math.log2(max(upper - lower, 1e-9))
    bits = gaussian_bits(torch.tensor([value]), torch.tensor([sigma]))
    assert bits.item() == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_gaussian_probabilities_sum_to_one() -> None:
    symbols = torch.arange(-60, 61).double()
    for sigma in SCALES[:4]:
        p = torch.exp2(-gaussian_bits(symbols, torch.tensor(sigma).double()))
        assert float(p[p > 2.0**-15.9].sum()) == pytest.approx(1, abs=2e-3)


def test_scales_below_the_smallest_count_as_the_smallest() -> None:
    value = torch.tensor([0.0, 0.6, 1.0])
    smallest = gaussian_bits(value, torch.full((3,), SIGMA_MIN))
    for sigma in (torch.full((3,), 0.01), torch.full((3,), 0.01, requires_grad=True)):
        assert torch.equal(gaussian_bits(value, sigma), smallest)


@pytest.mark.parametrize(("value", "sign"), [(0.6, -1), (0.4, 0)], ids=["it should grow", "it should shrink"])
def test_a_scale_below_the_smallest_learns_only_to_grow(value: float, sign: int) -> None:
    sigma = torch.tensor([0.05], requires_grad=True)
    gaussian_bits(torch.tensor([value]), sigma).backward()
    assert sigma.grad.sign().item() == sign


def test_gradients_of_a_larger_scale_are_those_of_the_formula() -> None:
    value = torch.tensor([0.3, 1.4, -2.2], dtype=torch.float64, requires_grad=True)
    sigma = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gaussian_bits, (value, sigma))
