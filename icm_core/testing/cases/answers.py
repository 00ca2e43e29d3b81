"""What heads and kinds are looked at by alike: predictions of single pictures, with targets and the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from icm_core.interfaces import TaskKind
from icm_core.nests import Nest
from icm_core.pictures import to_picture
from icm_core.testing.cases.examples import pictures
from icm_core.types import Legend, Prediction


@dataclass(frozen=True)
class Answers:
    """Predictions of some pictures of one size, each by itself.

    Attributes:
        kind: of the predictions.
        legend: what the numbers in predictions and targets mean.
        size: height and width of the pictures.
        predictions: one for each picture, B = 1.
        targets: one for each picture, as data sets have them; of kinds that are pictures the picture itself.
    """

    kind: TaskKind
    legend: Legend
    size: tuple[int, int]
    predictions: Sequence[Prediction]
    targets: Sequence[Nest]

    @property
    def pictures(self) -> list[Image.Image]:
        """The pictures, RGB."""
        return [to_picture(one) for one in pictures(self.size, len(self.predictions))]
