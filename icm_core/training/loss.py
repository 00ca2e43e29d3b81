"""Contract `Loss`: one term of what a training stage minimises."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

from torch import Tensor

from icm_core.interfaces.component import Component, ComponentParams
from icm_core.interfaces.dataset import DataSet
from icm_core.interfaces.pipeline import PipelineView
from icm_core.nests import Nest
from icm_core.types import CodecOutput, Features


class Batch(Protocol):
    """One batch on its way through a pipeline; what a loss asks for is computed once, and only then.

    Attributes:
        pictures: (B, 3, H, W) in [0, 1].
        target: targets of the pictures as the data set's kind collates them, such as (B,) classes or a tuple of B
            dicts of boxes; None where the data have none in common.
        quality: real quality of each picture, (B,).
        done: share of the stage that is done, in [0, 1].
    """

    pictures: Tensor
    target: Nest | None
    quality: Tensor
    done: float

    @property
    def pipe(self) -> PipelineView:
        """The pipeline in training."""

    def coded(self) -> CodecOutput:
        """Side information and bits of the codec."""

    def features(self, task: str) -> Features:
        """What the task's adapter makes of the side information; of clean pictures: the picture itself."""

    def outputs(self, task: str) -> tuple[tuple[float, Nest], ...]:
        """Every output of the task's head that training looks at, with its weight; see `TaskHead.outputs`."""

    def output(self, task: str) -> Nest:
        """The output of the task's head."""

    def losses(self, task: str) -> Tensor:
        """The head's own training loss of each picture, (B,); see `TaskHead.losses`."""

    def fine(self) -> tuple[Tensor, Tensor]:
        """Refined pictures (B, 3, H, W) and the enhancement's estimated bits (B,)."""


class Loss(Component):
    """One term of an objective.

    Args:
        params: the validated ``Params`` of the subclass.
        pipe: the pipeline that trains.
        task: name of the task that it is about, None for a loss that is about none.
        data: what its batches are drawn from.

    Raises:
        SpecError: the loss cannot be had of this task or from these data.
    """

    def __init__(self, params: ComponentParams, pipe: PipelineView, task: str | None, data: DataSet) -> None:
        super().__init__()
        self.params = params
        self.task = task
        del pipe, data  # for subclasses; keeping the pipeline would make its weights the loss's

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """The loss of each picture, (B,). The engine weights it and takes the mean over all pictures."""
