"""Where the time of a training goes: reading pictures, forward, backward."""

from __future__ import annotations

import time

import torch


class Timing:
    """A stop-watch over the parts of each step.

    Args:
        device: where the networks run; a GPU is waited for at every mark.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = {"data": 0.0, "forward": 0.0, "backward": 0.0}
        self.pictures = 0
        self._last = time.perf_counter()

    def restart(self) -> None:
        """What happened since the last mark belongs to no part: logs, checkpoints, validation."""
        self._last = time.perf_counter()

    def mark(self, part: str, pictures: int = 0) -> None:
        """The time since the last mark belongs to ``part``, with which so many pictures were finished."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.seconds[part] += now - self._last
        self._last = now
        self.pictures += pictures

    @property
    def pictures_a_second(self) -> float:
        """Over all marks."""
        return self.pictures / max(sum(self.seconds.values()), 1e-9)

    @property
    def shares(self) -> dict[str, float]:
        """Share of each part, summing to 1."""
        total = max(sum(self.seconds.values()), 1e-9)
        return {f"{part} share": seconds / total for part, seconds in self.seconds.items()}
