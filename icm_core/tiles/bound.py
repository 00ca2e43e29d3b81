"""From which size on networks run region by region."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

PIXELS = 2**22
"""Pictures of more pixels than this go through the networks region by region."""

_REGIONS = 8  # a region has an eighth of it at most: the first large picture takes no more than the last small one

_bound: ContextVar[int] = ContextVar("icm_tiles_bound", default=PIXELS)


def bound() -> int:
    """The pixels of the largest picture that goes through the networks as a whole."""
    return _bound.get()


def positions() -> int:
    """The most positions of a map, at the finest level that its network has, that are computed together."""
    return max(1, bound() // _REGIONS)


@contextmanager
def bounded(pixels: int) -> Iterator[None]:
    """Another bound for this thread, while the context is open.

    Args:
        pixels: 1 or more.
    """
    if pixels < 1:
        raise ValueError(f"the bound is {pixels} pixels; it should be 1 or more")
    token = _bound.set(pixels)
    try:
        yield
    finally:
        _bound.reset(token)


def large(size: tuple[int, int]) -> bool:
    """Whether pictures of this height and width go through the networks region by region.

    Never where gradients are recorded: they would need all regions at once.
    """
    return size[0] * size[1] > bound() and not torch.is_grad_enabled()
