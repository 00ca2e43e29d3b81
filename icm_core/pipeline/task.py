"""One task of a pipeline."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from icm_core.interfaces import SideInfoAdapter, TaskHead, TaskKind
from icm_core.nests import Nest, floats
from icm_core.types import Features, Prediction, SideInfo


class Task(nn.Module):
    """One task: its own adapter, its head, and the kind of its answers."""

    def __init__(self, adapter: SideInfoAdapter, head: TaskHead, kind: TaskKind) -> None:
        super().__init__()
        self.adapter = adapter
        self.head = head
        self.kind = kind

    def forward(self, side: SideInfo) -> Nest:
        """The head's output for side information; differentiable."""
        return self.head(self.adapter(side))

    def predict(self, side: SideInfo) -> Prediction:
        """The head's prediction, as it gave it but for real numbers, which are float32."""
        return self.answer(self.adapter(side))

    def answer(self, features: Features) -> Prediction:
        """The same for features; those of a clean picture are the map ``image``."""
        found = self.head.predict(features)
        return replace(found, output=floats(found.output))

    @property
    def compares(self) -> bool:
        """Whether its outputs can be compared."""
        return type(self.head).divergence is not TaskHead.divergence or self.kind.compares

    def divergence(self, output: Nest, reference: Nest) -> Tensor:
        """How far an output is from that of the clean picture, (B,): the head says it, or else its kind."""
        if type(self.head).divergence is not TaskHead.divergence:
            return self.head.divergence(output, reference)
        return self.kind.divergence(output, reference)
