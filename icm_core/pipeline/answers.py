"""What the tasks of a pipeline say of one file: each answer made once, what it reads of others first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from icm_core.interfaces import PipelineView
from icm_core.spec.model import FINE
from icm_core.types import Prediction, SideInfo

Refine = Callable[[Tensor, SideInfo], Tensor]
"""Base pictures (B, 3, H, W) and side information -> refined pictures."""


class Answers:
    """Predictions by name, computed when they are asked for.

    Args:
        pipe: the pipeline.
        side: the decoded side information.
        refine: makes the refined picture; None where there is no enhancement layer.
    """

    def __init__(self, pipe: PipelineView, side: SideInfo, refine: Refine | None = None) -> None:
        self._pipe, self._side, self._refine = pipe, side, refine
        self._found: dict[str, Prediction] = {}

    def of(self, name: str) -> Prediction:
        """The prediction of a task, or ``"fine"``."""
        if name not in self._found:
            self._found[name] = self._fine() if name == FINE else self._pipe.task(name).predict(self.side(name))
        return self._found[name]

    def side(self, name: str) -> SideInfo:
        """The side information with the pictures that a task's adapter reads."""
        needs = self._pipe.task(name).adapter.needs
        return replace(self._side, pictures={need: self.of(need).output for need in needs}) if needs else self._side

    def _fine(self) -> Prediction:
        over = self._pipe.over
        assert over is not None and self._refine is not None  # whoever asks for it has looked
        refined = self._refine(self.of(over).output, self._side)
        return Prediction(self._pipe.kind(over).name, refined.float())
