"""Polylines in pictures: cutting them at borders, measuring lengths and distances.

Points are x, y in pixels; 0, 0 is the middle of the upper left pixel, as in torchvision's ``KeyPoints``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


def split(points: Tensor, lines: Tensor, count: int) -> list[Tensor]:
    """The points (M, 2) of each of ``count`` lines; ``lines`` (M,) has the number of each point's line."""
    return [points[lines == number] for number in range(count)]


def joined(lines: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The reverse of `split`: points (M, 2) of all lines, and the number of each point's line, (M,)."""
    if not lines:
        return torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)
    numbers = [torch.full((len(line),), number, dtype=torch.int64) for number, line in enumerate(lines)]
    return torch.cat(list(lines)), torch.cat(numbers)


def length(line: Tensor) -> float:
    """Length in pixels of a line (M, 2)."""
    return float((line[1:] - line[:-1]).double().square().sum(1).sqrt().sum())


def clipped(line: Tensor, size: tuple[int, int]) -> list[Tensor]:
    """The pieces of a line (M, 2) that are inside a picture, in order; each side is cut where it meets the border.

    Args:
        line: at least two points.
        size: height and width of the picture.
    """
    limits = torch.tensor([size[1] - 1, size[0] - 1], dtype=line.dtype)
    if bool(((line >= 0) & (line <= limits)).all()):
        return [line]
    pieces: list[list[Tensor]] = []
    for start, end in pairwise(line):
        share = _inside(start, end, limits)
        if share is None:
            continue
        # A point inside stays as it is, to the last bit; only points on the border are new.
        first = start if share[0] == 0 else (start + share[0] * (end - start)).clamp(min=0).minimum(limits)
        last = end if share[1] == 1 else (start + share[1] * (end - start)).clamp(min=0).minimum(limits)
        if pieces and share[0] == 0 and torch.equal(pieces[-1][-1], first):
            pieces[-1].append(last)
        else:
            pieces.append([first, last])
    return [torch.stack(piece) for piece in pieces]


def _inside(start: Tensor, end: Tensor, limits: Tensor) -> tuple[float, float] | None:
    """The part of a side that is inside a picture as shares of it, None if there is none (Liang and Barsky, 1984)."""
    first, last = 0.0, 1.0
    for here, there, limit in zip(start.tolist(), end.tolist(), limits.tolist(), strict=True):
        step = there - here
        if step == 0:
            if not 0 <= here <= limit:
                return None
            continue
        low, high = sorted(((0 - here) / step, (limit - here) / step))
        first, last = max(first, low), min(last, high)
    return (first, last) if first < last else None


def samples(line: Tensor, step: float = 1.0) -> Tensor:
    """Points (S, 2) float64 along a line, evenly spread, each in the middle of a piece of at most ``step`` pixels."""
    corners = line.double()
    sides = (corners[1:] - corners[:-1]).square().sum(1).sqrt()
    reached = torch.cat([sides.new_zeros(1), sides.cumsum(0)])
    total = float(reached[-1])
    count = max(1, -int(-total // step))
    places = (torch.arange(count, dtype=torch.float64) + 0.5) * (total / count)
    side = (torch.searchsorted(reached, places, right=True) - 1).clamp(0, len(sides) - 1)
    share = (places - reached[side]) / sides[side].clamp_min(1e-12)
    return corners[side] + share[:, None] * (corners[side + 1] - corners[side])


def distances(points: Tensor, lines: Sequence[Tensor]) -> Tensor:
    """Distance in pixels from each of S points (S, 2) to the nearest place on any line; infinite without one."""
    if not lines:
        return torch.full((len(points),), torch.inf, dtype=torch.float64)
    start = torch.cat([line[:-1] for line in lines]).double()
    step = torch.cat([line[1:] for line in lines]).double() - start
    squares = step.square().sum(1).clamp_min(1e-12)
    away = points.double()[:, None] - start
    share = ((away * step).sum(2) / squares).clamp(0, 1)
    return (away - share[..., None] * step).square().sum(2).min(1).values.sqrt()


def crossings(line: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Where a line (M, 2) crosses horizontals at ``rows`` (K,): numbers of the rows (C,), and x of each crossing (C,).

    A corner that lies on a horizontal belongs to one of its two sides only.
    """
    x, y = line[:-1].unbind(1)
    x_next, y_next = line[1:].unbind(1)
    above, below = torch.minimum(y, y_next), torch.maximum(y, y_next)
    row, side = torch.nonzero((rows[:, None] >= above) & (rows[:, None] < below), as_tuple=True)
    share = (rows[row] - y[side]) / (y_next[side] - y[side])
    return row, x[side] + share * (x_next[side] - x[side])
