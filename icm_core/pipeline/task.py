"""One task of a pipeline."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from icm_core.interfaces import SideInfoAdapter, TaskHead, TaskKind
from icm_core.nests import Nest, floats
from icm_core.tiles import Field, Whole, field_of
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
        seen = _bounded(self.head, features)
        found = self.head.predict(seen)
        found = replace(found, output=floats(found.output))
        return found if seen is features else self.kind.enlarged(found, features.size)

    @property
    def compares(self) -> bool:
        """Whether its outputs can be compared."""
        return type(self.head).divergence is not TaskHead.divergence or self.kind.compares

    def divergence(self, output: Nest, reference: Nest) -> Tensor:
        """How far an output is from that of the clean picture, (B,): the head says it, or else its kind."""
        if type(self.head).divergence is not TaskHead.divergence:
            return self.head.divergence(output, reference)
        return self.kind.divergence(output, reference)


def _bounded(head: TaskHead, features: Features) -> Features:
    """What a head sees of a picture: of one with more pixels than it takes, means of blocks of n x n."""
    (height, width), most = features.size, head.most_pixels
    if most is None or height * width <= most or not head.reads_pictures:
        return features
    n = 2
    while -(-height // n) * -(-width // n) > most:
        n += 1
    image = field_of(features.maps, "image")
    small = (image if isinstance(image, Field) else Whole(image)).cut(height, width).averaged(n).tensor()
    return Features({"image": small}, (small.shape[2], small.shape[3]))
