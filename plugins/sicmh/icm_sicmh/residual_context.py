"""Module D with a context: scales of y_r that symbols decoded before correct."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from icm_core.coding import FRACTION_BITS, IntegerNetwork, serialize, sigma_index
from icm_core.coding.bounds import Bound, refuse_inexact
from icm_core.errors import SpecError
from icm_core.types import SideInfoLayout
from icm_sicmh.layers import conv, started
from icm_sicmh.residual import Residual, ResidualIntegers

_LARGEST_SCALE = 2**15 - 1  # in fixed point: log2 of scales, held within 16 bits, is below 8
_LARGEST_SYMBOL = 4
_MARGIN = 2  # rows that two layers of 3x3 see above and below
_POSITIONS_AT_ONCE = 2**14


@dataclass(frozen=True)
class _Integers(ResidualIntegers):
    context: list[IntegerNetwork]


class ContextResidual(Residual):
    """The paper's enhancement layer, and channel groups that tell of one another.

    ::

        s = log2(sigma of h1 * gain)        s_k' = s_k + Context_k(s_k, s_1 ... s_k-1, |symbols|_1 ... |symbols|_k-1)

    The paper takes the scales of y_r from h1, which has half the resolution and does not know the quality that y_r is
    coded at. Here y_r is coded in groups of channels, each as wide as all before it (He et al., ELIC, CVPR 2022, has
    uneven groups as well), and a small network corrects a group's scales by the magnitudes of those before. Means,
    latents and symbols are the paper's; only how many bits a symbol takes changes.
    """

    name: ClassVar[str] = "sicmh.residual_context"
    told_as: ClassVar[torch.dtype] = torch.int16

    class Params(Residual.Params):
        """Those of the paper's layer, and the context's."""

        groups: int = Field(5, ge=2, le=8, description="channel groups of y_r; halving K - 1 times gives the first")
        context_channels: int = Field(64, ge=8, le=512, description="inner channels of each group's network")

    params: Params

    def __init__(self, params: Params, layout: SideInfoLayout) -> None:
        super().__init__(params, layout)
        latent = params.latent_channels or layout.width
        if latent % 2 ** (params.groups - 1):
            raise SpecError(
                f"enhancement '{self.name}' halves the {latent} channels of y_r {params.groups - 1} times for "
                f"{params.groups} groups; take a multiple of {2 ** (params.groups - 1)} channels, or fewer groups"
            )
        self.context = nn.ModuleList(
            self._network(group.stop - group.start, group.start, params.context_channels) for group in self.groups
        )

    @staticmethod
    def _network(own: int, before: int, hidden: int) -> nn.Sequential:
        return started(
            nn.Sequential(
                conv(own + 2 * before, hidden, 3),
                nn.LeakyReLU(0.2),
                conv(hidden, hidden, 3),
                nn.LeakyReLU(0.2),
                conv(hidden, own, 1),
            ),
            last=0.0,  # begins as what h1 tells
        )

    @property
    def groups(self) -> tuple[slice, ...]:
        """The first group, the next of the same size, and then each as wide as all before it."""
        latent, count = self.gain.table.shape[2], self.params.groups
        ends = [0, *(latent >> k for k in reversed(range(count)))]
        return tuple(slice(a, b) for a, b in pairwise(ends))

    def scales(self, predicted: Tensor, symbols: Tensor) -> Tensor:
        """See `Residual.scales`; group by group."""
        largest = _LARGEST_SCALE * 2.0**-FRACTION_BITS
        predicted = predicted.clamp(-largest, largest)
        magnitudes = symbols.abs().clamp(max=_LARGEST_SYMBOL)
        return torch.cat(
            [
                predicted[:, own] + network(_seen(own, predicted, magnitudes)).float()
                for own, network in zip(self.groups, self.context, strict=True)
            ],
            1,
        )

    def _told(self, scales: Tensor) -> Tensor:
        return scales.clamp(-_LARGEST_SCALE, _LARGEST_SCALE).short()

    def _rows(self, channels: slice, told: Tensor, symbols: Tensor) -> Tensor:
        network = self._context()[self.groups.index(channels)]
        rows = torch.empty(told[channels].shape, dtype=torch.uint8, device=told.device)
        for inner, outer, kept in _strips(*told.shape[1:]):
            magnitudes = symbols[:, outer].clamp(-_LARGEST_SYMBOL, _LARGEST_SYMBOL).abs().double() * 2**FRACTION_BITS
            part = told[:, outer].double()
            correction = network(_seen(channels, part[None], magnitudes[None]))[0, :, kept].long()
            rows[:, inner] = sigma_index(told[channels, inner].long(), correction).byte()
        return rows

    def _build_exact(self) -> _Integers:
        plain = super()._build_exact()
        context = [IntegerNetwork(f"enhancement.context.{k}", network) for k, network in enumerate(self.context)]
        return _Integers(plain.decoder_h1r, plain.prediction, context)

    def _context(self) -> list[IntegerNetwork]:
        exact = self.exact
        assert isinstance(exact, _Integers)
        return exact.context

    def coding_state(self) -> bytes:
        """As the paper's layer, with the context's integer weights."""
        return serialize(super().coding_state(), *(network.state() for network in self._context()))

    def prove(self) -> list[Bound]:
        """As the paper's layer, and every layer of the context's networks."""
        bounds = [bound for network in self._context() for bound in network.prove()]
        refuse_inexact(bounds)
        return [*super().prove(), *bounds]


def _seen(own: slice, predicted: Tensor, magnitudes: Tensor) -> Tensor:
    """What a group's network reads: its own and the earlier groups' scales, and the earlier groups' symbols."""
    return torch.cat([predicted[:, : own.stop], magnitudes[:, : own.start]], 1)


def _strips(height: int, width: int) -> Iterator[tuple[slice, slice, slice]]:
    """Strips of rows: the strip, what a network needs to see for it, and where it lies in what is seen."""
    rows = max(1, _POSITIONS_AT_ONCE // width)
    for top in range(0, height, rows):
        end, first = min(top + rows, height), max(0, top - _MARGIN)
        yield slice(top, end), slice(first, min(end + _MARGIN, height)), slice(top - first, end - first)
