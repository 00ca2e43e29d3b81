"""Bounds of what integer arithmetic can reach: the proof that a coding path is exact."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from icm_core.errors import WeightsError


@dataclass(frozen=True)
class Bound:
    """The largest magnitude that any input can give one layer of a coding path.

    Attributes:
        layer: name of the layer, such as ``codec.prediction.7``.
        arithmetic: what computes it, ``"float64 sum"`` or ``"int64 product"``.
        largest: upper bound of every intermediate value, from weights and clamps.
        limit: the arithmetic is exact below this.
    """

    layer: str
    arithmetic: str
    largest: int
    limit: int

    @property
    def bits(self) -> float:
        """log2 of the bound."""
        return math.log2(max(self.largest, 1))

    @property
    def limit_bits(self) -> float:
        """log2 of the limit."""
        return math.log2(self.limit)

    @property
    def margin_bits(self) -> float:
        """Bits between bound and limit; above 0 where the layer is exact."""
        return self.limit_bits - self.bits


def refuse_inexact(bounds: Iterable[Bound]) -> None:
    """Raise `WeightsError` with the layer's name where a bound is not below its limit."""
    for bound in bounds:
        if bound.largest >= bound.limit:
            raise WeightsError(
                f"layer '{bound.layer}' of the coding path can reach 2^{bound.bits:.1f} in a {bound.arithmetic}, "
                f"which is exact below 2^{bound.limit_bits:.0f} only"
            )
