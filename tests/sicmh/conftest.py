"""Toy widths, with weights that are random yet behave like trained ones: varied scales, few escapes."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from icm_core import Quality
from icm_core.types import SideInfo
from icm_sicmh import ContextResidual, Hyperprior, Residual
from icm_sicmh.gain import ExactGain

TOY = {"width": 12, "h1_channels": 16, "h2_channels": 8, "groups": 4, "context_channels": 8, "qualities": 4}


def stir(module: nn.Module, seed: int) -> None:
    """Weights that give the context model something to say, from a seed of their own."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.startswith(("cahcm", "context")) and name.endswith("4.weight"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
            if "gain" in name:
                parameter.add_(torch.rand(parameter.shape, generator=generator) - 0.5)
            if name == "encoder_h2.6.weight":
                parameter.mul_(5)  # untrained, it would give hardly anything but zeros
            if "density.biases" in name:
                parameter.mul_(0.1)  # medians near zero, where the latents are
            if name == "prediction.7.weight":
                parameter.mul_(2)
            if name == "prediction.7.bias":
                parameter[len(parameter) // 2 :].sub_(0.5)


@pytest.fixture(scope="session")
def settled_codec() -> Hyperprior:
    torch.manual_seed(0)
    codec = Hyperprior(Hyperprior.Params.model_validate(TOY)).eval().requires_grad_(False)
    stir(codec, 1)
    codec.freeze_tables()
    return codec


@pytest.fixture
def codec(settled_codec: Hyperprior) -> Hyperprior:
    """A codec at toy widths, tables frozen; each test has its own."""
    return copy.deepcopy(settled_codec)


def settled(residual: Residual) -> Residual:
    """An enhancement with weights as `stir` makes them and tables frozen."""
    residual = residual.eval().requires_grad_(False)
    stir(residual, 3)
    with torch.no_grad():
        residual.encoder_r[-1].weight.mul_(4)  # untrained, it would give hardly anything but zeros
    residual.freeze_tables()
    return residual


@pytest.fixture(scope="session")
def settled_paper(settled_codec: Hyperprior) -> Residual:
    torch.manual_seed(2)
    return settled(Residual(Residual.Params(), settled_codec.layout))


@pytest.fixture(scope="session")
def settled_context(settled_codec: Hyperprior) -> Residual:
    torch.manual_seed(2)
    return settled(ContextResidual(ContextResidual.Params(groups=3, context_channels=8), settled_codec.layout))


@pytest.fixture(params=["settled_paper", "settled_context"])
def residual(request: pytest.FixtureRequest) -> Residual:
    """An enhancement for `codec`, tables frozen: the paper's, then the same with a context."""
    return copy.deepcopy(request.getfixturevalue(request.param))


@pytest.fixture
def picture() -> Callable[..., Tensor]:
    """Smooth pictures of a size, (B, 3, H, W) in [0, 1], each of a batch another one."""

    def make(height: int, width: int, batch: int = 1) -> Tensor:
        rows, columns = torch.arange(height)[:, None] / 17, torch.arange(width)[None, :] / 23
        waves = [
            torch.sin(rows * (1 + b) + c) * torch.cos(columns * (2 - b / 8) - c * rows / 5)
            for b in range(batch)
            for c in range(3)
        ]
        return (torch.stack(waves) / 2 + 0.5).reshape(batch, 3, height, width)

    return make


@pytest.fixture
def side(codec: Hyperprior) -> Callable[..., SideInfo]:
    """Random side information for pictures of a size."""

    def make(height: int, width: int, batch: int = 1) -> SideInfo:
        generator = torch.Generator().manual_seed(height + width)
        h, w = -(-height // 64), -(-width // 64)
        h1, h2 = codec.layout.levels
        levels = (
            torch.randn(batch, h1.channels, 2 * h, 2 * w, generator=generator),
            torch.randn(batch, h2.channels, h, w, generator=generator),
        )
        return SideInfo(levels, (height, width))

    return make


@pytest.fixture
def example(codec: Hyperprior, picture: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, Tensor, SideInfo]]:
    """A picture, its coarse picture as a decoder might have it, and its decoded side information."""

    def make(height: int, width: int, batch: int = 1) -> tuple[Tensor, Tensor, SideInfo]:
        x = picture(height, width, batch)
        side = codec.decode(codec.encode(x, Quality.of(3)), (height, width), Quality.of(3))
        return x, x * 0.5 + 0.2, side

    return make


Seen = list[tuple[Tensor, Tensor]]


@pytest.fixture
def symbols(monkeypatch: pytest.MonkeyPatch) -> tuple[Seen, Seen]:
    """Symbols and fixed-point means of each quantisation and of each dequantisation from now on, in two lists."""
    coded: Seen = []
    pulled: Seen = []
    quantize, dequantize = ExactGain.quantize, ExactGain.dequantize

    def there(self: ExactGain, latent: Tensor, mean: Tensor, limit: int) -> Tensor:
        coded.append((quantize(self, latent, mean, limit), mean))
        return coded[-1][0]

    def back(self: ExactGain, symbols: Tensor, mean: Tensor) -> Tensor:
        pulled.append((symbols, mean))
        return dequantize(self, symbols, mean)

    monkeypatch.setattr(ExactGain, "quantize", there)
    monkeypatch.setattr(ExactGain, "dequantize", back)
    return coded, pulled


@pytest.fixture
def integers(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Tensor]]:
    """Gives the fixed-point latents that a coder went on with since the last call, in the order of coding."""
    seen: list[Tensor] = []
    original = ExactGain.dequantize

    def dequantize(self: ExactGain, symbols: Tensor, mean: Tensor) -> Tensor:
        latent = original(self, symbols, mean)
        seen.append(latent.clone())
        return latent

    monkeypatch.setattr(ExactGain, "dequantize", dequantize)

    def take() -> list[Tensor]:
        found = list(seen)
        seen.clear()
        return found

    return take
