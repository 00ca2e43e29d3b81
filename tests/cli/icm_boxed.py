"""A plugin with a kind of its own: boxes, ragged, drawn, with a figure of the whole set where less is better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from PIL import Image, ImageDraw
from torch import Generator, Tensor

from icm_core import hookimpl
from icm_core.interfaces import ComponentParams, Figure, Nest, TaskHead, TaskKind
from icm_core.types import FeatureLayout, Features, Legend, Prediction


class Rectangles(TaskKind):
    """Any number of rectangles."""

    name: ClassVar[str] = "boxed.rectangles"
    ragged: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False

    def check_target(self, target: Nest, size: tuple[int, int], legend: Legend) -> None:
        if target["boxes"].shape[1:] != (4,):
            raise ValueError("has no boxes (N, 4)")

    def example_target(self, size: tuple[int, int], legend: Legend, generator: Generator) -> Nest:
        return {"boxes": torch.rand(2, 4, generator=generator)}

    def answer(self, prediction: Prediction) -> dict[str, Any]:
        return {"boxes": prediction.output[0]["boxes"].tolist(), "source": getattr(prediction, "source", None)}

    def describe(self, prediction: Prediction) -> str:
        return f"{len(prediction.output[0]['boxes'])} boxes"

    def draw(self, prediction: Prediction, picture: Image.Image) -> Image.Image:
        drawn = picture.copy()
        for box in prediction.output[0]["boxes"].tolist():
            ImageDraw.Draw(drawn).rectangle(box, outline=(255, 0, 0))
        return drawn

    def tally(self, prediction: Prediction, target: Nest) -> dict[str, Any]:
        return {"found": len(prediction.output[0]["boxes"]), "there": len(target["boxes"])}

    def figures(self, tallies: Sequence[dict[str, Any]], legend: Legend) -> dict[str, Figure]:
        off = abs(sum(t["found"] for t in tallies) - sum(t["there"] for t in tallies))
        return {"miscount": Figure(float(off), "boxes", "miscounted boxes", higher_is_better=False)}


class Sourced(Prediction):
    """A prediction that tells more."""

    source = "corners"


class Boxes(TaskHead):
    """Two boxes in the middle of every picture, moved by what is learned."""

    name: ClassVar[str] = "boxed.boxes"
    kind: ClassVar[str] = "boxed.rectangles"

    def __init__(self, params: ComponentParams, features: FeatureLayout) -> None:
        super().__init__(params, features)
        self.shift = torch.nn.Parameter(torch.zeros(4))

    def forward(self, features: Features) -> Nest:
        height, width = features.size
        corners = torch.tensor([[4.0, 4.0, width - 5.0, height - 5.0], [8.0, 8.0, width - 9.0, height - 9.0]])
        means = features.cropped("image").mean((1, 2, 3))
        return {"boxes": [corners.to(means) + self.shift + 0 * mean for mean in means]}

    def predict(self, features: Features) -> Prediction:
        return Sourced(self.kind, [{"boxes": boxes} for boxes in self(features)["boxes"]])

    def loss(self, output: Nest, target: Nest) -> Tensor:
        pairs = zip(output["boxes"], target, strict=True)
        return torch.stack([(boxes.mean(0) - one["boxes"].mean(0)).square().mean() for boxes, one in pairs])


@hookimpl
def icm_kinds() -> list[type[TaskKind]]:
    return [Rectangles]


@hookimpl
def icm_heads() -> list[type[TaskHead]]:
    return [Boxes]
