"""A plugin beside the tiny one: a label map that can be looked at, and a shipped pipeline."""

from pathlib import Path
from typing import ClassVar

from icm_tiny import Classes, Labels

from icm_core import TaskHead, hookimpl
from icm_core.types import Colour


class ShownLabels(Labels):
    """Draws its label map in four colours."""

    name: ClassVar[str] = "shown.labels"

    @property
    def labels(self) -> tuple[str, ...]:
        return ("sky", "<road>", "tree", "car")

    @property
    def colours(self) -> tuple[Colour, ...]:
        return (0, 0, 255), (90, 90, 90), (0, 160, 0), (255, 0, 0)


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
