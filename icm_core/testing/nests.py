"""Nests compared: one picture of a batch with the picture alone, and values that differ in their last bits."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from icm_core.nests import Nest, paths


def row_of(together: Nest, alone: Nest, index: int) -> Nest:
    """What an output for a batch says of one picture, as a batch of one.

    A list that is longer for the batch than for the picture alone has an entry for each picture; any other is looked
    into, and of tensors the row is taken.

    Args:
        together: the output for the batch.
        alone: the output for the picture alone, built alike.
        index: number of the picture in the batch.
    """
    if isinstance(together, Tensor):
        return together[index : index + 1]
    if isinstance(together, dict) and isinstance(alone, dict):
        return {key: row_of(value, alone.get(key), index) for key, value in together.items()}
    if isinstance(together, (list, tuple)):
        if isinstance(alone, (list, tuple)) and len(alone) == len(together):
            return [row_of(one, other, index) for one, other in zip(together, alone, strict=True)]
        return [together[index]] if index < len(together) else []
    return together


def differing(one: Tensor, other: Tensor, tolerance: float = 1e-3) -> float:
    """Share of values that differ by more than the tolerance, which is relative to the largest of them."""
    if one.shape != other.shape:
        return 1.0
    if not one.numel():
        return 0.0
    scale = max(1.0, float(other.abs().max()))
    off = ~((one.float() - other.float()).abs() <= tolerance * scale)  # NaN differs
    return float(off.float().mean())


def differing_nests(one: Nest, other: Nest, tolerance: float = 1e-3, *, unordered: bool = False) -> dict[str, float]:
    """Share of values that differ, by where they are.

    Args:
        one: a nest.
        other: another, which should be built alike.
        tolerance: as of `differing`.
        unordered: if True, values may stand in another order, and a few more or fewer of them count as so many that
            differ: things that are sorted by a score change places where two scores are the same but for rounding.
    """
    first, second = (_sorted(nest) if unordered else paths(nest) for nest in (one, other))
    found = {}
    for where in {**first, **second}:
        a, b = first.get(where), second.get(where)
        if a is None or b is None:
            found[where] = 1.0
        elif unordered and len(a) != len(b):
            found[where] = abs(len(a) - len(b)) / max(len(a), len(b))
        else:
            found[where] = differing(a, b, tolerance)
    return found


def _sorted(nest: Nest) -> dict[str, Tensor]:
    gathered: dict[str, list[Tensor]] = {}
    for where, tensor in paths(nest).items():
        gathered.setdefault(re.sub(r"\[\d+\]", "[]", where), []).append(tensor.detach().float().flatten())
    return {where: torch.cat(parts).sort().values for where, parts in gathered.items()}
