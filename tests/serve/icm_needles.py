"""A kind of answer that no page has heard of: where needles point."""

from __future__ import annotations

from typing import ClassVar

from PIL import Image, ImageDraw
from pydantic import JsonValue
from torch import Tensor

from icm_core.interfaces import TaskHead, TaskKind
from icm_core.kinds.regression import Regression
from icm_core.plugins.hookspecs import hookimpl
from icm_core.types import Features, Prediction

RED = (255, 0, 0)


class Needles(Regression):
    """Drawn as a red bar below a picture that stays, and told with names that end as HTML begins."""

    name: ClassVar[str] = "needles"
    in_words: ClassVar[bool] = False

    def answer(self, prediction: Prediction) -> dict[str, JsonValue]:
        return {
            "needles": [
                {"label": "<b>north</b>", "angle": 12, "sure": 0.75},
                {"label": "south", "angle": 1234.5678, "sure": 0.125},
            ],
            "turn": {"by": 3, "at": None},
            "many": list(range(20)),
        }

    def describe(self, prediction: Prediction) -> str:
        return "two <needles>"

    def draw(self, prediction: Prediction, picture: Image.Image) -> Image.Image:
        drawn = Image.new("RGB", (picture.width, picture.height + 10), RED)
        drawn.paste(picture, (0, 0))
        ImageDraw.Draw(drawn).line((0, 0, 8, 8), RED)
        return drawn


class Compass(TaskHead):
    """Finds them."""

    name: ClassVar[str] = "needles.compass"
    kind = "needles"

    def forward(self, features: Features) -> Tensor:
        return features.cropped("image").mean((2, 3))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).square().mean(1)


@hookimpl
def icm_kinds() -> list[type[TaskKind]]:
    return [Needles]


@hookimpl
def icm_heads() -> list[type[TaskHead]]:
    return [Compass]
