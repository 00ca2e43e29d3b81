"""Cases of losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from icm_core.interfaces import DataSet, TaskKind
from icm_core.interfaces.dataset import PICTURES
from icm_core.pipeline.pipeline import Pipeline
from icm_core.testing.cases.base import ParameterisedCase
from icm_core.testing.cases.examples import BATCH, Example, pictures, qualities
from icm_core.testing.cases.kinds import as_trained, example_targets, find_kind
from icm_core.training import Batch, Loss

SIZE = (64, 64)


@dataclass(frozen=True)
class LossCase(ParameterisedCase):
    """A loss.

    Args:
        pipeline: builds the pipeline that trains; a tiny one is enough.
        batch: a batch of examples on its way through the pipeline, as the engine makes it.
        data: what batches are drawn from; targets are made up with its labels.
        task: name of the task that it is about, None for a loss that is about none.
        reaches: modules of the pipeline that a gradient has to reach, such as ``"codec"`` or ``"tasks.seg.head"``.
        kind: the kind of the data set's targets, where it is not installed.
    """

    contract: ClassVar[type[Any]] = Loss

    pipeline: Callable[[], Pipeline] = field(kw_only=True)
    batch: Callable[[Pipeline, Example], Batch] = field(kw_only=True)
    data: DataSet = field(kw_only=True)
    task: str | None = field(default=None, kw_only=True)
    reaches: Sequence[str] = field(kw_only=True)
    kind: TaskKind | type[TaskKind] | None = field(default=None, kw_only=True)

    def build(self, pipe: Pipeline | None = None) -> Any:
        """The loss of a pipeline, by default of a new one, in eval mode."""
        return self.cls(self.settings(), self.seeded() if pipe is None else pipe, self.task, self.data).eval()

    def seeded(self) -> Pipeline:
        """The pipeline in eval mode, with weights from a seed; the global generator is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.pipeline().eval()

    def example(self, pipe: Pipeline, batch: int = BATCH) -> Example:
        """Pictures, their qualities and targets that the data set's kind makes up."""
        low, high = pipe.codec.quality_range
        quality, rows = qualities(low, high, batch)
        if self.data.kind == PICTURES:
            return Example(SIZE, quality, rows, pictures(SIZE, batch))
        kind, legend = find_kind(self.data.kind, self.kind, self.data.name), self.data.legend
        targets = [as_trained(kind, target, SIZE, legend) for target in example_targets(kind, SIZE, legend, batch)]
        return Example(SIZE, quality, rows, pictures(SIZE, batch), target=kind.collate(targets), select=kind.select)
