"""A pipeline as losses and searches see it: what may be asked of one, without the module that builds them."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from icm_core.interfaces.adapter import SideInfoAdapter
from icm_core.interfaces.codec import Codec
from icm_core.interfaces.enhancement import Enhancement
from icm_core.interfaces.head import TaskHead
from icm_core.interfaces.kind import TaskKind
from icm_core.nests import Nest
from icm_core.types import Features, Prediction, SideInfo


class TaskView(Protocol):
    """One task of a pipeline; `icm_core.pipeline.pipeline.Task` is one."""

    adapter: SideInfoAdapter
    head: TaskHead
    kind: TaskKind

    def __call__(self, side: SideInfo) -> Nest:
        """The head's output for side information; differentiable."""

    def predict(self, side: SideInfo) -> Prediction:
        """The head's prediction for side information."""

    def answer(self, features: Features) -> Prediction:
        """The head's prediction for features."""

    @property
    def compares(self) -> bool:
        """Whether there is a `divergence`."""

    def divergence(self, output: Nest, reference: Nest) -> Tensor:
        """How far an output is from that of the clean picture, (B,)."""


class PipelineView(Protocol):
    """A pipeline; `icm_core.pipeline.pipeline.Pipeline` is one."""

    codec: Codec
    enhancement: Enhancement | None

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def tasks(self) -> nn.ModuleDict:
        """Its tasks by name; `task` gives one with its type."""

    @property
    def over(self) -> str | None:
        """Name of the task whose picture the enhancement refines."""

    @property
    def device(self) -> torch.device:
        """Where it is."""

    def task(self, name: str) -> TaskView:
        """A task by name; `InputError` if there is none."""

    def kind(self, name: str) -> TaskKind:
        """The kind of a task's answers, of ``"fine"`` too."""

    def side_for(self, name: str, side: SideInfo) -> SideInfo:
        """Side information with the pictures that a task's adapter reads; differentiable."""

    def search_ends(self, name: str) -> tuple[float, float] | None:
        """What a unit of the task's divergence is worth in a search, at the lowest and the highest quality."""
