"""How long a stage is, and its learning rate at each step; a function of the step alone, so nothing is to be stored."""

from __future__ import annotations

import math

from icm_training.recipe import ScheduleSpec


class Schedule:
    """The pace of a stage.

    Args:
        spec: what the recipe says.
        epoch: steps of an epoch of the first feed; need not be whole.
    """

    def __init__(self, spec: ScheduleSpec, epoch: float) -> None:
        self.spec = spec
        self.phases = [(_steps(phase.steps, phase.epochs, epoch), phase.factor) for phase in spec.phases]
        self.steps = sum(steps for steps, _ in self.phases) or _steps(spec.steps, spec.epochs, epoch)

    def factor(self, step: int) -> float:
        """Share of the highest learning rate at a step, from 0."""
        rise = min(1.0, (step + 1) / self.spec.warmup) if self.spec.warmup else 1.0
        if self.phases:
            end = 0
            for steps, factor in self.phases:
                end += steps
                if step < end:
                    return rise * factor
            return rise * self.phases[-1][1]
        if self.spec.shape == "constant" or step < self.spec.warmup:
            return rise
        done = (step - self.spec.warmup) / max(1, self.steps - self.spec.warmup)
        return self.spec.floor + (1 - self.spec.floor) * (1 + math.cos(math.pi * min(1.0, done))) / 2


def _steps(steps: int | None, epochs: float | None, epoch: float) -> int:
    return steps if steps is not None else max(1, round((epochs or 0) * epoch))
