"""The Prediction Model against a loop over positions, and the order of groups in CAHCM."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from icm_core import Quality
from icm_core.coding import IntegerNetwork, to_fixed
from icm_sicmh import prediction as module
from icm_sicmh.prediction import CAHCM, predict, prediction_layers

C = 6


@pytest.fixture(scope="module")
def layers():
    torch.manual_seed(0)
    return prediction_layers(C).eval().requires_grad_(False)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, C, 4, 7, generator=torch.Generator().manual_seed(0))


def naive(layers, x: Tensor) -> Tensor:
    """One explicit 5x5 patch after another, zeros beyond the border."""
    batch, channels, height, width = x.shape
    output = x.new_zeros(batch, 2 * channels, height, width)
    for b in range(batch):
        for i in range(height):
            for j in range(width):
                patch = x.new_zeros(1, channels, 5, 5)
                for u in range(5):
                    for v in range(5):
                        row, column = i + u - 2, j + v - 2
                        if 0 <= row < height and 0 <= column < width:
                            patch[0, :, u, v] = x[b, :, row, column]
                output[b, :, i, j] = layers(patch).flatten()
    return output


def test_it_is_one_network_at_each_position(layers, x) -> None:
    torch.testing.assert_close(predict(layers, x), naive(layers, x))


def test_in_integers_it_is_exactly_the_loop(layers, x) -> None:
    exact, n = IntegerNetwork("net", layers), to_fixed(x).double()
    assert torch.equal(predict(exact, n), naive(exact, n))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2)], ids=str)
def test_maps_smaller_than_the_neighbourhood_work(layers, size) -> None:
    x = torch.randn(1, C, *size, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(predict(layers, x), naive(layers, x))


@pytest.mark.parametrize("at_once", [1, 3, 56, 57])
def test_how_many_positions_run_at_once_does_not_matter(layers, x, monkeypatch, at_once) -> None:
    exact, n = IntegerNetwork("net", layers), to_fixed(x).double()
    in_floats, in_integers = predict(layers, x), predict(exact, n)
    monkeypatch.setattr(module, "_POSITIONS_AT_ONCE", at_once)
    torch.testing.assert_close(predict(layers, x), in_floats)
    assert torch.equal(predict(exact, n), in_integers)


@pytest.fixture
def context() -> CAHCM:
    torch.manual_seed(0)
    return CAHCM(8, 4, 6)


def test_cahcm_starts_as_the_prediction_model_alone(context) -> None:
    h2p = torch.randn(1, 16, 3, 3, generator=torch.Generator().manual_seed(0))
    decoded: list[Tensor] = []
    for k, network in enumerate(context.networks):
        mean, log2_sigma = context.parameters_of(k, network, h2p, decoded)
        assert torch.equal(mean, h2p[:, 2 * k : 2 * k + 2])
        assert torch.equal(log2_sigma, h2p[:, 8 + 2 * k : 10 + 2 * k])
        decoded.append(torch.randn(1, 2, 3, 3))


def test_cahcm_corrects_the_prediction_model_by_its_network(context) -> None:
    for parameter in context.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    h2p = torch.randn(1, 16, 3, 3, generator=torch.Generator().manual_seed(0))
    decoded = [torch.ones(1, 2, 3, 3), torch.zeros(1, 2, 3, 3)]
    mean, log2_sigma = context.parameters_of(2, context.networks[2], h2p, decoded)
    correction = context.networks[2](torch.cat([h2p, *decoded], 1))
    torch.testing.assert_close(mean, h2p[:, 4:6] + correction[:, :2])
    torch.testing.assert_close(log2_sigma, h2p[:, 12:14] + correction[:, 2:])


@pytest.fixture
def dependence(codec, monkeypatch) -> Tensor:
    """How strongly each group's parameters depend on each group of h1 in the codec's own forward pass, (K, K)."""
    torch.manual_seed(0)
    h1 = torch.randn(1, 16, 4, 4, requires_grad=True)
    h2 = torch.randn(1, 8, 2, 2)
    monkeypatch.setattr(codec, "latents", lambda x, quality: (h1, h2))
    found: list[Tensor] = []
    original = codec.cahcm.parameters_of

    def parameters_of(*args):
        found.append(torch.cat(original(*args), 1))
        return found[-1]

    monkeypatch.setattr(codec.cahcm, "parameters_of", lambda *args: parameters_of(*args).chunk(2, 1))
    codec(torch.zeros(1, 3, 128, 128), torch.tensor([3.0]))
    gradients = [
        torch.autograd.grad(group.square().sum(), h1, retain_graph=True, materialize_grads=True)[0]
        if group.requires_grad
        else torch.zeros_like(h1)
        for group in found
    ]
    return torch.stack([g.abs().reshape(4, -1).sum(1) for g in gradients])


def test_a_groups_parameters_see_no_group_from_its_own_on(dependence) -> None:
    assert not dependence.triu().any()


def test_a_groups_parameters_see_each_group_before_it(dependence) -> None:
    assert bool((dependence + torch.ones(4, 4).triu() > 0).all())


def test_later_groups_leave_earlier_ones_as_they_were_decoded(codec, monkeypatch, integers) -> None:
    h1 = torch.randn(2, 16, 4, 4, generator=torch.Generator().manual_seed(0))
    h2 = torch.randn(1, 8, 2, 2, generator=torch.Generator().manual_seed(1)).repeat(2, 1, 1, 1)
    h1[1, :8] = h1[0, :8]
    monkeypatch.setattr(codec, "latents", lambda x, quality: (h1, h2))
    codec.encode(torch.zeros(2, 3, 128, 128), Quality.of(3))
    _, *groups = integers()
    same = [torch.equal(group[0], group[1]) for group in groups]
    assert same == [True, True, False, False]
