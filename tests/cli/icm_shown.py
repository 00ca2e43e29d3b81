"""A plugin beside the tiny one: a label map that can be looked at, and a shipped pipeline."""

from pathlib import Path
from typing import ClassVar

from icm_tiny import Classes, Labels
from PIL import Image

from icm_core import Prediction, TaskHead, hookimpl


class ShownLabels(Labels):
    """Draws its label map in four colours."""

    name: ClassVar[str] = "shown.labels"

    @property
    def labels(self) -> tuple[str, ...]:
        return ("sky", "<road>", "tree", "car")

    def draw(self, prediction: Prediction) -> Image.Image:
        picture = Image.fromarray(prediction.output[0].argmax(0).byte().cpu().numpy(), "P")
        picture.putpalette([0, 0, 255, 90, 90, 90, 0, 160, 0, 255, 0, 0])
        return picture


class Counts(Classes):
    """Values with names."""

    name: ClassVar[str] = "shown.counts"
    kind = "regression"

    @property
    def labels(self) -> tuple[str, ...]:
        return ("cars", "<trees>")[: self.params.classes]


@hookimpl
def icm_heads() -> list[type[TaskHead]]:
    return [ShownLabels, Counts]


@hookimpl
def icm_specs() -> list[Path]:
    return [Path(__file__).with_name("tiny-model.json")]
