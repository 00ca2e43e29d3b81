"""Additive uniform noise, the training-time stand-in for rounding, drawn for each picture by its own seed.

With seeds of its own a picture gets the same noise in whichever batch, process or device order it is trained, so a
run on two devices repeats the run on one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor


class _Draws:
    """One generator per picture, made on the device where the first noise is needed."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = seeds
        self._generators: dict[torch.device, list[torch.Generator]] = {}

    def on(self, device: torch.device) -> list[torch.Generator]:
        if device not in self._generators:
            self._generators[device] = [torch.Generator(device).manual_seed(seed) for seed in self.seeds]
        return self._generators[device]


_DRAWS: ContextVar[_Draws | None] = ContextVar("icm_noise", default=None)


@contextmanager
def noise_of(seeds: Sequence[int]) -> Iterator[None]:
    """Inside, `uniform_noise` draws for the b-th picture of a batch from a generator with the b-th seed."""
    token = _DRAWS.set(_Draws(seeds))
    try:
        yield
    finally:
        _DRAWS.reset(token)


def uniform_noise(like: Tensor) -> Tensor:
    """Independent uniform values in [-1/2, 1/2), of the shape, type and device of ``like`` (B, ...).

    Outside `noise_of`, or for a batch of another size, they come from PyTorch's global generator.
    """
    draws = _DRAWS.get()
    if draws is None or len(draws.seeds) != len(like):
        return torch.rand_like(like) - 0.5
    shape = like.shape[1:]
    parts = [torch.rand(shape, generator=g, device=like.device, dtype=like.dtype) for g in draws.on(like.device)]
    return torch.stack(parts) - 0.5
