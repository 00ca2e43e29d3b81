"""Kind ``detection``: boxes around things, each with a class and a score."""

from __future__ import annotations

from typing import ClassVar

from PIL import Image

from icm_core.kinds import colour_of
from icm_core.types import Prediction
from icm_tasks.kinds import coco
from icm_tasks.kinds.painting import with_boxes
from icm_tasks.kinds.things import Things


class Detection(Things):
    """Boxes around things, each with a class and a score; see `Things` for what targets and outputs hold.

    A target is a dict with ``boxes`` (N, 4) float32 in pixels (left, top, right, bottom) and ``labels`` (N,) int64 from
    0, and perhaps ``iscrowd`` and ``area``. A batch is a tuple of them. An output is a list of a dict for each picture,
    with ``boxes``, ``labels`` and ``scores``. The legend names the classes.
    """

    name: ClassVar[str] = "detection"
    measure: ClassVar[coco.Measure] = "bbox"
    title: ClassVar[str] = "boxes"
    listed: ClassVar[str] = "boxes"

    def draw(self, prediction: Prediction, picture: Image.Image) -> Image.Image:
        """The boxes on the picture, each class in its colour, with class and score."""
        found, legend = self.drawn_things(prediction), prediction.legend
        colours = [colour_of(index, legend) for index in found["labels"].tolist()]
        return with_boxes(picture, found["boxes"].tolist(), self.captions(found, legend), colours)
