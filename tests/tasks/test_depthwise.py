"""Strided depthwise convolutions: PyTorch's forward pass, and the gradients that PyTorch finds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from icm_tasks.depthwise import depthwise
from icm_tasks.networks import create

CASES = [
    ((3, 3), (2, 2), (1, 1)),
    ((5, 5), (2, 2), (0, 0)),
    ((5, 3), (3, 2), (2, 0)),
    ((2, 2), (3, 3), (0, 1)),
    ((2, 1), (1, 2), (3, 2)),  # more padding than the kernel reaches
]
Layer = Callable[..., Tensor]


def plain(x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    return F.conv2d(x, weight, bias, stride, padding, groups=len(weight))


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


@pytest.mark.parametrize("size", [(16, 16), (15, 22), (9, 13)])
@pytest.mark.parametrize(("kernel", "stride", "padding"), CASES)
@pytest.mark.parametrize("with_bias", [True, False])
def test_values_and_gradients_are_pytorchs(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], size: tuple[int, int], with_bias: bool
) -> None:
    found = []
    for layer in (plain, depthwise):
        x, weight = random(2, 6, *size, seed=1), random(6, 1, *kernel, seed=2)
        bias = random(6, seed=3) if with_bias else None
        output = layer(x, weight, bias, stride, padding)
        (output * torch.linspace(-1, 2, output.numel()).view_as(output)).sum().backward()
        found.append([output.detach(), x.grad, weight.grad, *([bias.grad] if bias is not None else [])])
    assert torch.equal(found[0][0], found[1][0])
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_without_gradients_it_is_pytorchs() -> None:
    x, weight, bias = random(2, 4, 9, 8, seed=4), random(4, 1, 3, 3, seed=5), random(4, seed=3)
    with torch.no_grad():
        assert torch.equal(
            depthwise(x, weight, bias, (2, 1), (1, 0)), F.conv2d(x, weight, bias, (2, 1), (1, 0), groups=4)
        )


def test_gradients_of_gradients_are_pytorchs() -> None:
    found = []
    for layer in (plain, depthwise):
        x, weight = random(1, 4, 9, 8, seed=4), random(4, 1, 3, 3, seed=5)
        (gradient,) = torch.autograd.grad(layer(x, weight, None, (2, 2), (1, 1)).square().sum(), x, create_graph=True)
        gradient.square().sum().backward()
        found.append((x.grad, weight.grad))
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-3)


def test_frozen_weights_get_no_gradient() -> None:
    x, weight = random(1, 4, 8, 8, seed=6), random(4, 1, 3, 3, seed=7).detach()
    depthwise(x, weight, None, (2, 2), (1, 1)).sum().backward()
    assert x.grad is not None and weight.grad is None


def test_mixed_precision_gives_gradients_of_the_inputs_types() -> None:
    x, weight, bias = random(1, 4, 9, 9, seed=8), random(4, 1, 3, 3, seed=9), random(4, seed=10)
    half = bias.detach().bfloat16().requires_grad_()
    for its_bias in (bias, half):
        with torch.autocast("cpu", torch.bfloat16):
            output = depthwise(x, weight, its_bias, (2, 2))
        assert output.dtype == torch.bfloat16
        output.sum().backward()
    for given in (x, weight, bias, half):
        assert given.grad is not None and given.grad.dtype == given.dtype


def test_efficientnet_lite_uses_it_and_has_the_gradients_of_timms() -> None:
    import timm

    torch.manual_seed(0)
    theirs = timm.create_model("tf_efficientnet_lite0", num_classes=3).eval()
    ours = create("tf_efficientnet_lite0", num_classes=3).eval()
    ours.load_state_dict(theirs.state_dict())
    found = []
    for network in (theirs, ours):
        x = random(1, 3, 70, 65, seed=10)
        network(x).square().sum().backward()
        found.append((x.grad, network.blocks[1][0].conv_dw.weight.grad))
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_gradients_of_biases_are_summed_in_float32_under_autocast() -> None:
    x, weight, bias = random(1, 2, 66, 66, seed=0), random(2, 1, 3, 3, seed=1), random(2, seed=2)
    with torch.autocast("cpu", torch.bfloat16):
        found = depthwise(x, weight, bias, (2, 2), (1, 1))
    found.backward(torch.ones_like(found))
    assert bias.grad is not None and bias.grad.tolist() == [33 * 33] * 2  # 1089, which bfloat16 does not have
