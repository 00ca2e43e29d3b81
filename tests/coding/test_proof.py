"""Bounds of integer networks: no input reaches them, and the worst one comes as near as can be."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from icm_core import WeightsError
from icm_core.coding import LIMIT, IntegerNetwork
from icm_core.coding.bounds import Bound, refuse_inexact


def test_each_layer_with_a_sum_has_a_bound_under_its_own_name() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.LeakyReLU(0.2), nn.ConvTranspose2d(3, 4, 1), nn.PixelShuffle(2))
    bounds = IntegerNetwork("net", network).prove()
    assert [bound.layer for bound in bounds] == ["net.0", "net.2"]
    assert {bound.limit for bound in bounds} == {2**53}
    assert all(bound.margin_bits > 0 for bound in bounds)


def test_the_worst_input_attains_the_bound() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 1, 3)
    weight = layer.weight.detach().double()
    shift = 15 - int(torch.frexp(weight.abs().max())[1])
    integers = (weight * 2.0**shift).round()
    offset = round(float(layer.bias.detach()) * 2.0 ** (shift + 12))
    sign = 1 if offset >= 0 else -1
    total = int((integers.long() * (integers.sign().long() * sign * LIMIT)).sum()) + offset
    (bound,) = IntegerNetwork("net", nn.Sequential(layer)).prove()
    assert bound.largest == abs(total) + 2 ** (shift - 1)


def test_of_several_sums_the_one_that_reaches_farthest_counts() -> None:
    """The weights of one sum are larger, and the bias of another is so large that it reaches farther."""
    layer = nn.Conv2d(2, 3, 1)
    assert layer.bias is not None
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, 0.5], [-0.25, 0.5], [0.0, 0.0]]).view(3, 2, 1, 1))
        layer.bias.copy_(torch.tensor([0.0, -1024.0, 7.0]))
    (bound,) = IntegerNetwork("net", nn.Sequential(layer)).prove()  # weights at 2**15, sums at 2**27
    assert bound.largest == (2**13 + 2**14) * LIMIT + 1024 * 2**27 + 2**14
    assert bound.arithmetic == "float64 sum"


def test_a_bound_grows_with_the_weights() -> None:
    narrow, wide = nn.Linear(4, 1, bias=False), nn.Linear(4000, 1, bias=False)
    for layer in (narrow, wide):
        nn.init.ones_(layer.weight)
    one, two = (IntegerNetwork("net", nn.Sequential(layer)).prove()[0] for layer in (narrow, wide))
    assert two.bits - one.bits == pytest.approx(torch.log2(torch.tensor(1000.0)).item(), abs=1e-3)


@pytest.mark.parametrize(("largest", "bits"), [(0, 0), (1, 0), (2, 1), (2**40, 40), (3 * 2**40, 41.585)])
def test_bits_are_logarithms_and_a_margin_is_what_is_left(largest: int, bits: float) -> None:
    bound = Bound("net.0", "float64 sum", largest, 2**53)
    assert (bound.bits, bound.limit_bits) == (pytest.approx(bits, abs=1e-3), 53)
    assert bound.margin_bits == pytest.approx(53 - bits, abs=1e-3)


@pytest.mark.parametrize(("largest", "refused"), [(2**53 - 1, False), (2**53, True), (2**60, True)])
def test_what_reaches_the_limit_is_refused_by_name(largest: int, refused: bool) -> None:
    bounds = [Bound("fine", "float64 sum", 5, 2**53), Bound("net.7", "float64 sum", largest, 2**53)]
    if not refused:
        refuse_inexact(bounds)
        return
    with pytest.raises(WeightsError, match=r"layer 'net\.7' of the coding path can reach 2\^.* exact below 2\^53"):
        refuse_inexact(bounds)
