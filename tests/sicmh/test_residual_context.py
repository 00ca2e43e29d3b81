"""The enhancement layer with a context: what it adds to the paper's, which tests/sicmh/test_residual.py holds it to."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

from icm_core import Quality, SpecError
from icm_sicmh import ContextResidual, Residual, residual_context
from icm_sicmh.density import gaussian_bits
from icm_sicmh.layers import pad_to
from icm_sicmh.prediction import predict

GROUPS = [(0, 3), (3, 6), (6, 12)]


@pytest.fixture
def residual(settled_context):
    return copy.deepcopy(settled_context)


def without_context(residual: ContextResidual) -> ContextResidual:
    """A copy whose groups' networks correct nothing."""
    other = copy.deepcopy(residual)
    for network in other.context:
        network[-1].weight.zero_()
        network[-1].bias.zero_()
    return other


def test_scales_are_corrected_by_the_groups_before(residual, example) -> None:
    x, coarse, side = example(65, 130, 2)
    quality = torch.tensor([1.5, 4.0])
    gain = residual.gain.log2(quality)
    mean, log2_sigma = predict(residual.prediction, residual.decoder_h1r(side.levels[0])).chunk(2, 1)
    symbols = ((residual.encoder_r(pad_to(x - coarse, 64)) - mean) * gain.exp2()).round()
    told = (log2_sigma + gain).clamp(-32767 / 4096, 32767 / 4096)
    bits = torch.zeros(2)
    for (start, end), network in zip(GROUPS, residual.context, strict=True):
        seen = [told[:, start:end]]
        if start:
            seen = [told[:, :start], *seen, symbols[:, :start].abs().clamp(max=4)]
        hidden = F.leaky_relu(F.conv2d(torch.cat(seen, 1), network[0].weight, network[0].bias, padding=1), 0.2)
        hidden = F.leaky_relu(F.conv2d(hidden, network[2].weight, network[2].bias, padding=1), 0.2)
        corrected = told[:, start:end] + F.conv2d(hidden, network[4].weight, network[4].bias)
        assert float((corrected - told[:, start:end]).abs().max()) > 0.05
        bits += gaussian_bits(symbols[:, start:end], corrected.exp2()).flatten(1).sum(1)
    _, rate = residual(x, coarse, side, quality)
    torch.testing.assert_close(rate, bits)


def test_scales_are_held_within_16_bits_of_fixed_point(residual) -> None:
    """What h1 tells waits as 16 bits at the coder, of which 12 are behind the point."""
    plain = without_context(residual)
    predicted = torch.tensor([-9.0, -7.5, 6.0, 9.0])[:, None, None, None].expand(4, 12, 3, 5)
    found = plain.scales(predicted, torch.zeros_like(predicted))
    largest = 8 - 2**-12
    expected = torch.tensor([-largest, -7.5, 6.0, largest])[:, None, None, None].expand(4, 12, 3, 5)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_in_training_the_context_sees_whole_symbols_and_the_rate_has_noise(residual, example, monkeypatch) -> None:
    seen = []
    scales = residual.scales
    monkeypatch.setattr(residual, "scales", lambda *given: seen.append(given[1]) or scales(*given))
    arguments = (*example(64, 128), torch.tensor([2.0]))
    torch.manual_seed(0)
    one, two = (residual.train()(*arguments)[1] for _ in range(2))
    assert float(one) != float(two)
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[0], seen[0].round()) and bool(seen[0].any())


def test_a_group_is_as_wide_as_all_before_it(residual) -> None:
    assert [(group.start, group.stop) for group in residual.groups] == GROUPS


def test_before_training_it_is_the_papers(codec, example) -> None:
    torch.manual_seed(5)
    ours = ContextResidual(ContextResidual.Params(groups=2, context_channels=8), codec.layout).eval()
    papers = Residual(Residual.Params(), codec.layout).eval()
    papers.load_state_dict({name: value for name, value in ours.state_dict().items() if not name.startswith("context")})
    arguments = (*example(64, 100), torch.tensor([2.0]))
    for found, expected in zip(ours(*arguments), papers(*arguments), strict=True):
        torch.testing.assert_close(found, expected)


def test_a_context_changes_bytes_and_no_latent(residual, example) -> None:
    x, coarse, side = example(65, 130)
    plain, quality = without_context(residual), Quality.of(3)
    (ours,), (theirs,) = (layer.encode(x, coarse, side, quality) for layer in (residual, plain))
    assert ours != theirs
    assert torch.equal(residual.latent([ours], side, quality), plain.latent([theirs], side, quality))


def test_strips_of_rows_do_not_show(residual, example, monkeypatch) -> None:
    arguments = (*example(200, 130), Quality.of(3))
    whole = residual.encode(*arguments)
    monkeypatch.setattr(residual_context, "_POSITIONS_AT_ONCE", 12 * 3)
    assert residual.encode(*arguments) == whole


def test_the_rate_teaches_every_group(residual, example) -> None:
    residual.train().requires_grad_(True)
    x, coarse, side = example(64, 128)
    bits = residual(x, coarse, side, torch.tensor([2.0]))[1]
    bits.sum().backward()
    taught = {name for name, p in residual.context.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert taught == {name for name, _ in residual.context.named_parameters()}


@pytest.mark.parametrize("name", ["context.0.0.weight", "context.2.2.bias", "context.1.4.weight"])
def test_the_digest_covers_the_context(residual, name) -> None:
    other = copy.deepcopy(residual)
    state = other.state_dict()
    other.load_state_dict({**state, name: state[name] + 1})
    assert other.coding_state() != residual.coding_state()


def test_it_is_another_coding_path_than_the_papers(residual, codec) -> None:
    papers = Residual(Residual.Params(), codec.layout)
    papers.load_state_dict({n: v for n, v in residual.state_dict().items() if not n.startswith("context")})
    assert papers.coding_state() != without_context(residual).coding_state()


def test_the_proof_names_the_contexts_layers(residual) -> None:
    layers = {bound.layer for bound in residual.prove()}
    assert {f"enhancement.context.{k}.{layer}" for k in range(3) for layer in (0, 2, 4)} < layers
    assert "enhancement.prediction.7" in layers


def test_channels_that_cannot_be_halved_so_often_are_refused(residual, codec) -> None:
    with pytest.raises(SpecError, match="halves the 12 channels of y_r 4 times for 5 groups; take a multiple of 16"):
        ContextResidual(ContextResidual.Params(), codec.layout)
