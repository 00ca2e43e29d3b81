"""What the tasks of a pipeline say of one file: each answer made once, what it reads of others first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from icm_core.interfaces import PipelineView
from icm_core.spec.model import FINE
from icm_core.tiles import Deferred, Map, large
from icm_core.types import Prediction, SideInfo

Refine = Callable[[Map, SideInfo], Tensor]
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

    def picture(self, name: str) -> Map:
        """The picture of a task that shows one, (B, 3, H, W); of a large one perhaps a field, not kept."""
        task = self._pipe.task(name)
        return task.head.picture(task.adapter(self.side(name))) if large(self._side.size) else self.of(name).output

    def _base(self, name: str) -> Map:
        """What is refined; a large picture is made when the enhancement reads it, which has other needs before."""
        enhancement = self._pipe.enhancement
        if not (enhancement is not None and enhancement.reads_fields and large(self._side.size)):
            found: Tensor = self.of(name).output
            return found
        shape = (len(self._side.levels[0]), 3, *self._side.size)
        return Deferred(shape, lambda: self.of(name).output)

    def _fine(self) -> Prediction:
        over = self._pipe.over
        assert over is not None and self._refine is not None  # whoever asks for it has looked
        refined = self._refine(self._base(over), self._side)
        return Prediction(self._pipe.kind(over).name, refined.float())
