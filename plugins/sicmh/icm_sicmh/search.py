"""Search for better symbols: gradient descent on latents, through rounding."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

FIRST_STEP, LARGEST_STEP = 0.08, 0.12
"""Learning rate at the beginning of ten steps, and the largest of any, in quantisation steps.

Longer steps, or as many more of this length, make zeros into symbols everywhere, which costs bits; see `first_step`.
"""

MOMENTS = (0.3, 0.8)
"""How much of Adam's moments a step keeps. A few steps from a good start are too few for the usual long memory."""

LAST_SHARE = 0.1
"""Learning rate at the end, as a share of the first; in between it falls in a straight line."""


def first_step(steps: int) -> float:
    """Learning rate at the beginning: the more steps, the smaller, so that latents do not move much further in all."""
    return min(LARGEST_STEP, FIRST_STEP * math.pow(10 / steps, 1 / 3))


def descend(
    value: Callable[..., Tensor],
    start: tuple[Tensor, ...],
    gains: tuple[Tensor, ...],
    moving: tuple[Tensor, ...],
    steps: int,
) -> tuple[Tensor, ...]:
    """Latents at which a value is smaller.

    Args:
        value: a value per picture, (B,), of the latents; it rounds them, with gradients straight through.
        start: latents (B, C, h, w) to begin with.
        gains: what each latent is multiplied by before rounding.
        moving: for each latent a value for every channel, (1, C, 1, 1): 1 where it moves, 0 where it stays. Steps of
            Adam are of one size whatever the gradient, so channels that hold nothing would move like the others.
        steps: number of steps.

    Returns:
        Of each picture the latents with the smallest value that was met, the start included.
    """
    scaled = [(latent * gain).detach().requires_grad_() for latent, gain in zip(start, gains, strict=True)]
    optimizer = torch.optim.Adam(scaled, betas=MOMENTS)  # each step says its learning rate
    best = [latent.detach().clone() for latent in scaled]
    smallest = torch.full((len(scaled[0]),), float("inf"), device=scaled[0].device)
    for step in range(steps + 1):
        with torch.set_grad_enabled(step < steps):
            found = value(*(latent / gain for latent, gain in zip(scaled, gains, strict=True)))
        with torch.no_grad():
            better = found < smallest
            smallest = torch.where(better, found, smallest)
            for kept, latent in zip(best, scaled, strict=True):
                kept[better] = latent[better]
        if step < steps:
            for group in optimizer.param_groups:
                group["lr"] = first_step(steps) * (1 - (1 - LAST_SHARE) * step / steps)
            gradients = torch.autograd.grad(found.sum(), scaled)
            for latent, gradient, moves in zip(scaled, gradients, moving, strict=True):
                latent.grad = gradient * moves
            optimizer.step()
    return tuple(latent / gain for latent, gain in zip(best, gains, strict=True))
