"""Densities: the factorized model of h2 and the rate of conditional Gaussians."""

from __future__ import annotations

import itertools
import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icm_core.coding.tables import PRECISION, SIGMA_MIN, quantize_pmf

_TINY = 1e-9  # no probability is taken for smaller, so that far outliers still have a gradient


def gaussian_bits(value: Tensor, sigma: Tensor) -> Tensor:
    """Bits of each zero-mean Gaussian value in an interval of width 1, shape of ``value``.

    Args:
        value: distance from the mean, in quantisation steps.
        sigma: scale in quantisation steps; held above the coder's smallest.
    """
    sigma = torch.maximum(sigma, sigma.new_tensor(SIGMA_MIN)) if not sigma.requires_grad else _floor(sigma)
    # On the side of the smaller tail both terms keep their digits.
    value = value.abs()
    upper = torch.erfc((value - 0.5) / (sigma * math.sqrt(2)))
    lower = torch.erfc((value + 0.5) / (sigma * math.sqrt(2)))
    return -(0.5 * (upper - lower)).clamp_min(_TINY).log2()


class _Floor(torch.autograd.Function):
    """max(x, SIGMA_MIN) whose gradient still lets x grow from below (Ballé et al., 2017)."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp_min(SIGMA_MIN)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        kept: Tensor = (x >= SIGMA_MIN) | (gradient < 0)
        return gradient * kept


def _floor(x: Tensor) -> Tensor:
    result: Tensor = _Floor.apply(x)
    return result


class FactorizedDensity(nn.Module):
    """A learned density per channel, monotone by construction (Ballé et al., ICLR 2018, appendix 6.1).

    Args:
        channels: C.
        scale: half-width of the density before training.
    """

    _FILTERS = (1, 3, 3, 3, 1)

    def __init__(self, channels: int, scale: float = 10.0) -> None:
        super().__init__()
        self.matrices = nn.ParameterList()
        self.biases = nn.ParameterList()
        self.factors = nn.ParameterList()
        per_layer = scale ** (1 / (len(self._FILTERS) - 1))
        for inputs, outputs in zip(self._FILTERS, self._FILTERS[1:], strict=False):
            start = math.log(math.expm1(1 / per_layer / outputs))
            self.matrices.append(nn.Parameter(torch.full((channels, outputs, inputs), start)))
            self.biases.append(nn.Parameter(torch.empty(channels, outputs, 1).uniform_(-0.5, 0.5)))
            if outputs > 1:  # the last layer is linear
                self.factors.append(nn.Parameter(torch.zeros(channels, outputs, 1)))

    def logits(self, x: Tensor) -> Tensor:
        """Logit of the cumulative at x: (C, 1, n) -> (C, 1, n)."""
        for matrix, bias, factor in itertools.zip_longest(self.matrices, self.biases, self.factors):
            x = F.softplus(matrix) @ x + bias
            if factor is not None:
                x = x + factor.tanh() * x.tanh()
        return x

    def mass(self, low: Tensor, high: Tensor) -> Tensor:
        """Probability between low and high, each (C, 1, n)."""
        a, b = self.logits(low), self.logits(high)
        # On the side of the smaller tail both sigmoids keep their digits.
        sign = torch.where(a + b > 0, -1.0, 1.0)
        return (torch.sigmoid(sign * b) - torch.sigmoid(sign * a)).abs()

    def bits(self, value: Tensor, gain: Tensor) -> Tensor:
        """Bits of each value coded in steps of 1 / gain.

        Args:
            value: latents times gain, with noise or rounded, (B, C, h, w).
            gain: (B, C, 1, 1).
        """
        gain = gain.expand_as(value)
        low, high = ((value + d) / gain for d in (-0.5, 0.5))

        def flat(t: Tensor) -> Tensor:
            return t.transpose(0, 1).reshape(t.shape[1], 1, -1)

        # Differences of neighbouring logits have no digits left in half precision. (There is no autocast on meta.)
        with nullcontext() if value.is_meta else torch.autocast(value.device.type, enabled=False):
            mass = self.mass(flat(low.float()), flat(high.float())).clamp_min(_TINY)
        batch, channels, height, width = value.shape
        return -mass.log2().reshape(channels, batch, height, width).transpose(0, 1)

    @torch.no_grad()
    def tables(self, gains: Tensor, half: int) -> tuple[Tensor, Tensor]:
        """16-bit cumulative rows of every channel at every gain, for symbols centre - half ... centre + half.

        Args:
            gains: (S, C).
            half: half-width of the support; symbols outside it are escaped.

        Returns:
            Rows (S, C, 2 * half + 3) and the first symbol of each, (S, C), both int32.
        """
        density = self.double()
        gains = gains.double()
        steps, channels = gains.shape
        lo, hi = (torch.full((channels, 1, 1), s * 1e4, dtype=torch.float64, device=gains.device) for s in (-1, 1))
        for _ in range(60):  # bisection for the medians
            middle = (lo + hi) / 2
            above = density.logits(middle) > 0
            lo, hi = torch.where(above, lo, middle), torch.where(above, middle, hi)
        first = ((lo[:, 0, 0] * gains).round() - half).int()  # (S, C)
        symbols = first[:, :, None] + torch.arange(2 * half + 1, device=gains.device)
        low, high = (((symbols + d) / gains[:, :, None]).transpose(0, 1).reshape(channels, 1, -1) for d in (-0.5, 0.5))
        pmf = density.mass(low, high).reshape(channels, steps, -1).transpose(0, 1)
        pmf = torch.cat([pmf, (1 - pmf.sum(-1, keepdim=True)).clamp_min(2.0**-PRECISION)], -1).cpu()
        rows = [[quantize_pmf(channel) for channel in step] for step in pmf.tolist()]
        self.float()
        return torch.tensor(rows, dtype=torch.int32), first
