"""Gradients of the training forward reach what coding and rate depend on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from icm_sicmh import Hyperprior, Residual

QUALITY = torch.tensor([1.0, 2.5, 4.0])


def without_gradient(module: nn.Module) -> set[str]:
    return {name for name, p in module.named_parameters() if p.grad is None or not bool(p.grad.any())}


def loss_of(codec: Hyperprior, x: torch.Tensor) -> torch.Tensor:
    out = codec(x, QUALITY)
    generator = torch.Generator().manual_seed(0)
    use = sum((level * torch.randn(level.shape, generator=generator)).mean() for level in out.side.levels)
    return out.total_bits.mean() / 1000 + use


@pytest.fixture
def fresh(codec) -> Hyperprior:
    torch.manual_seed(0)
    return Hyperprior(codec.params).train()


def test_an_untrained_codec_learns_everywhere_but_before_cahcms_zero_layers(fresh, picture) -> None:
    loss_of(fresh, picture(64, 128, 3)).backward()
    inner = {f"cahcm.networks.{k}.{i}.{part}" for k in range(4) for i in (0, 2) for part in ("weight", "bias")}
    assert without_gradient(fresh) == inner


def test_once_those_layers_have_moved_every_parameter_learns(fresh, picture) -> None:
    for network in fresh.cahcm.networks:
        nn.init.normal_(network[-1].weight, std=0.01)
    loss_of(fresh, picture(64, 128, 3)).backward()
    assert without_gradient(fresh) == set()
    assert all(bool(p.grad.isfinite().all()) for p in fresh.parameters() if p.grad is not None)


def test_the_rate_alone_reaches_the_encoders_and_the_context_model(fresh, picture) -> None:
    fresh(picture(64, 128, 3), QUALITY).total_bits.mean().backward()
    silent = without_gradient(fresh)
    assert not [name for name in silent if not name.startswith("cahcm.networks")]


def test_side_information_passes_gradients_straight_through_the_rounding(fresh, picture, monkeypatch) -> None:
    h1 = torch.randn(3, 16, 2, 4, requires_grad=True)
    h2 = torch.randn(3, 8, 1, 2, requires_grad=True)
    monkeypatch.setattr(fresh, "latents", lambda x, quality: (h1, h2))
    side = fresh(picture(64, 128, 3), QUALITY).side
    for latent, level in zip((h1, h2), side.levels, strict=True):
        (gradient,) = torch.autograd.grad(level.sum(), latent, retain_graph=True)
        torch.testing.assert_close(gradient, torch.ones_like(latent))


def test_in_training_noise_stands_for_rounding_in_the_rate_only(fresh, picture) -> None:
    x = picture(64, 128, 3)
    torch.manual_seed(0)
    one = fresh(x, QUALITY)
    two = fresh(x, QUALITY)
    assert all(bool((one.bits[name] != two.bits[name]).all()) for name in ("h1", "h2"))
    assert all(map(torch.equal, one.side.levels, two.side.levels))


def test_in_evaluation_the_rate_is_that_of_the_rounded_latents(fresh, picture) -> None:
    x = picture(64, 128, 3)
    assert torch.equal(fresh.eval()(x, QUALITY).total_bits, fresh(x, QUALITY).total_bits)


def test_each_picture_of_a_batch_has_its_own_quality_and_bits(fresh, picture) -> None:
    x = picture(64, 128, 3)
    together = fresh.eval()(x, QUALITY)
    for i in range(3):
        alone = fresh(x[i : i + 1], QUALITY[i : i + 1])
        for name, bits in together.bits.items():
            torch.testing.assert_close(alone.bits[name], bits[i : i + 1])


def test_bits_and_side_information_are_float32_under_autocast(fresh, picture) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        out = fresh(picture(64, 128, 3), QUALITY)
    assert {tensor.dtype for tensor in (*out.side.levels, *out.bits.values())} == {torch.float32}


def test_the_codec_learns_under_autocast(fresh, picture) -> None:
    for network in fresh.cahcm.networks:
        nn.init.normal_(network[-1].weight, std=0.01)
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(fresh, picture(64, 128, 3))
    loss.backward()
    assert without_gradient(fresh) == set()
    assert all(bool(p.grad.isfinite().all()) for p in fresh.parameters() if p.grad is not None)


@pytest.mark.parametrize("groups", [1, 16])
def test_any_number_of_groups_trains(codec, picture, groups) -> None:
    torch.manual_seed(0)
    params = codec.params.model_copy(update={"groups": groups})
    other = Hyperprior(params).train()
    for network in other.cahcm.networks:
        nn.init.normal_(network[-1].weight, std=0.01)
    loss_of(other, picture(64, 128, 3)).backward()
    assert without_gradient(other) == set()


def test_every_parameter_of_the_enhancement_learns(codec, picture, side) -> None:
    torch.manual_seed(0)
    residual = Residual(Residual.Params(), codec.layout).train()
    x = picture(64, 128, 3)
    refined, bits = residual(x, x * 0.5 + 0.2, side(64, 128, 3), QUALITY)
    ((refined - x).square().mean() + bits.mean() / 1000).backward()
    assert without_gradient(residual) == set()


def test_the_enhancements_rate_alone_reaches_its_encoder_and_its_prediction(codec, picture, side) -> None:
    torch.manual_seed(0)
    residual = Residual(Residual.Params(), codec.layout).train()
    x = picture(64, 128, 3)
    residual(x, x * 0.5 + 0.2, side(64, 128, 3), QUALITY)[1].mean().backward()
    assert {name.split(".")[0] for name in without_gradient(residual)} == {"decoder_r"}
