"""Kind ``keypoints``: named points of things, such as joints of persons, with a box and a score each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from PIL import Image
from pydantic import JsonValue
from torch import Generator, Tensor

from icm_core.errors import InputError
from icm_core.interfaces import Tally
from icm_core.kinds import colour_of, match_labels
from icm_core.nests import Nest, shown
from icm_core.types import Legend, Prediction
from icm_tasks.kinds import coco
from icm_tasks.kinds.checks import BEYOND, check_entry
from icm_tasks.kinds.painting import with_boxes, with_points
from icm_tasks.kinds.things import Things

COCO_SIGMAS = {
    "nose": 0.026,
    "left_eye": 0.025,
    "right_eye": 0.025,
    "left_ear": 0.035,
    "right_ear": 0.035,
    "left_shoulder": 0.079,
    "right_shoulder": 0.079,
    "left_elbow": 0.072,
    "right_elbow": 0.072,
    "left_wrist": 0.062,
    "right_wrist": 0.062,
    "left_hip": 0.107,
    "right_hip": 0.107,
    "left_knee": 0.087,
    "right_knee": 0.087,
    "left_ankle": 0.089,
    "right_ankle": 0.089,
}
"""COCO's 17 points of a person, in order, with how far annotators disagree, as a share of the person's size."""

OTHER_SIGMA = 0.05
"""The same for points that COCO has not."""

MOVES_FROM = (0, 24)
"""torchvision of this version moves keypoints. 0.23 does too, but puts those that leave the picture onto its border,
where they cannot be told from others; versions before know none."""

_UNLABELLED, _HIDDEN, _VISIBLE = 0, 1, 2
_VISIBILITY, _CORNERS = "visibility", "corners"


class Keypoints(Things):
    """Named points of things; see `Things` for what targets and outputs hold beside them.

    A target is that of a ``detection`` with ``keypoints`` (N, K, 3) float32: x and y in pixels and a visibility, 0
    where the point is not labelled, 1 where it is hidden, 2 where it can be seen. An output has ``keypoints`` (N, K, 3)
    too; its third number is not looked at but in drawings, which leave out points where it is 0. K is the same for
    all pictures.

    The legend names the K points. Classes in ``labels`` are numbers that go without names, 0 where there is one class,
    such as persons; head and data set have to mean the same by them. For want of their names, detectors are not
    measured on such targets.

    Mirrored pictures have left and right swapped: ``left_eye`` is what ``right_eye`` was, for all pairs of names that
    differ in these words. Points that leave the picture get the visibility 0 and the place (0, 0).

    Matches are made by COCO's similarity of keypoints (OKS), over 20 answers a picture: with COCO's sigmas where all
    points are among its 17 names, else with 0.05 for each, as titles of figures say. The size of a thing is its
    ``area``, or else that of its box; COCO's own is that of its mask.
    """

    name: ClassVar[str] = "keypoints"
    measure: ClassVar[coco.Measure] = "keypoints"
    title: ClassVar[str] = "keypoints"
    listed: ClassVar[str] = "instances"
    more: ClassVar[tuple[str, ...]] = ("keypoints",)

    def classes(self, legend: Legend) -> tuple[str, ...]:
        """None: the legend names points."""
        del legend
        return ()

    def class_name(self, index: int, legend: Legend) -> str:
        """A class in words."""
        return "thing" if index == 0 else super().class_name(index, legend)

    # --- targets -----------------------------------------------------------------------------------------------------

    def check_target(self, target: Nest, size: tuple[int, int], legend: Legend) -> None:
        """A dict with boxes, labels and, for each name of the legend, a point with its visibility."""
        super().check_target(target, size, legend)
        points = check_entry(target, "keypoints", (len(target["labels"]), len(legend.labels) or None, 3), torch.float32)
        places, visibility = points[..., :2], points[..., 2]
        strange = visibility[(visibility != _UNLABELLED) & (visibility != _HIDDEN) & (visibility != _VISIBLE)]
        if strange.numel():
            raise ValueError(
                f"has the visibility {float(strange[0]):g}; it should be 0 (not labelled), 1 (hidden) or 2 (visible)"
            )
        outside = places[(visibility > 0) & ~_inside(places, size)]
        if len(outside):
            x, y = outside[0].tolist()
            raise ValueError(f"has the point ({x:g}, {y:g}) outside of the picture of {size[1]}x{size[0]} pixels")

    def example_target(self, size: tuple[int, int], legend: Legend, generator: Generator) -> dict[str, Tensor]:
        """Three boxes with points in them, most of which can be seen."""
        target = super().example_target(size, legend, generator)
        boxes, count = target["boxes"], max(1, len(legend.labels))
        shares = torch.rand(len(boxes), count, 2, generator=generator)
        places = boxes[:, None, :2] + shares * (boxes[:, None, 2:] - boxes[:, None, :2])
        seen = torch.randint(3, (len(boxes), count, 1), generator=generator).float()
        seen[:, 0] = _VISIBLE
        return {**target, "keypoints": torch.cat((places * (seen > 0), seen), dim=2)}

    def wrap(self, target: Nest, size: tuple[int, int]) -> Nest:
        """Boxes and points move with the picture, and so do three corners of it that tell whether it was mirrored.

        Raises:
            InputError: this torchvision does not move keypoints.
        """
        import torchvision  # slow to import
        from torchvision import tv_tensors

        version = tuple(int(part) for part in torchvision.__version__.split(".")[:2])
        if version < MOVES_FROM:
            raise InputError(
                f"augmentations move keypoints from torchvision 0.24 on, and {torchvision.__version__} is installed"
            )
        moved = super().wrap(target, size)
        points = moved.pop("keypoints")
        height, width = size
        corners = torch.tensor([[0.0, 0.0], [float(width), 0.0], [0.0, float(height)]])
        return {
            **moved,
            "keypoints": tv_tensors.KeyPoints(points[..., :2], canvas_size=size),
            _VISIBILITY: points[..., 2],
            _CORNERS: tv_tensors.KeyPoints(corners, canvas_size=size),
        }

    def unwrap(self, target: Nest, size: tuple[int, int], legend: Legend) -> Nest:
        """What is left of the things, with left and right as in the augmented picture."""
        moved = dict(target)
        corners = moved.pop(_CORNERS).as_subclass(Tensor)
        found = super().unwrap(moved, size, legend)
        places, visibility = found["keypoints"], found.pop(_VISIBILITY)
        visibility = torch.where(_inside(places, size), visibility, 0)
        # As resizing makes them, places may be a fraction of a pixel beyond the last one.
        limits = torch.tensor([size[1] - 1, size[0] - 1], dtype=places.dtype)
        places = places.clamp_min(0).minimum(limits) * (visibility > 0)[..., None]
        points = torch.cat((places, visibility[..., None]), dim=2)
        # The area that two sides of the picture span is negative in a mirror, whatever else was done to it.
        along, down = corners[1] - corners[0], corners[2] - corners[0]
        if float(along[0] * down[1] - along[1] * down[0]) < 0 and legend.labels:
            points = points[:, opposites(legend.labels)]
        return {**found, "keypoints": points}

    # --- answers -----------------------------------------------------------------------------------------------------

    def check_answer(self, answer: Nest, legend: Legend, size: tuple[int, int] | None = None) -> None:
        """Points are (N, K, 3), one for each name of the legend."""
        super().check_answer(answer, legend, size)
        points, names = answer["keypoints"], len(legend.labels)
        if points.dim() != 3 or points.shape[2] != 3 or names not in (0, points.shape[1]):
            raise ValueError(f"has keypoints that are {shown(points)}; they should be (N, {names or 'K'}, 3)")

    def answer(self, prediction: Prediction) -> dict[str, JsonValue]:
        """``instances``: index of the class, score, box and ``points`` (label, x, y) of each, the highest score first,
        at most a hundred; how many were ``left_out``."""
        return super().answer(prediction)

    def entry(self, found: dict[str, Tensor], row: int, legend: Legend) -> JsonValue:
        """One thing for `answer`."""
        entry = super().entry(found, row, legend)
        assert isinstance(entry, dict)
        points: list[JsonValue] = [
            {"label": legend.label(index), "x": round(x, 2), "y": round(y, 2)}
            for index, (x, y, _) in enumerate(found["keypoints"][row].tolist())
        ]
        return {**entry, "points": points}

    def draw(self, prediction: Prediction, picture: Image.Image) -> Image.Image:
        """Boxes and points on the picture, each thing in a colour of its own, with its score."""
        found = self.drawn_things(prediction)
        colours = [colour_of(number, Legend()) for number in range(len(found["scores"]))]
        drawn = with_boxes(picture, found["boxes"].tolist(), self.captions(found, prediction.legend), colours)
        points = [[(x, y) for x, y, shown_ in thing if shown_ > 0] for thing in found["keypoints"].tolist()]
        return with_points(drawn, points, colours)

    # --- measuring ---------------------------------------------------------------------------------------------------

    def match(self, data: Legend, head: Legend) -> tuple[int, ...] | str:
        """By the points' names; the data set may name some of the head's only."""
        return match_labels(data, head, "keypoints")

    def renumber(self, target: Nest, numbers: tuple[int, ...], legend: Legend) -> Nest:
        """The points in the head's order; those that the data set has not are not labelled. Classes stay."""
        del legend
        points = target["keypoints"]
        if points.shape[1] > len(numbers):
            raise ValueError(f"has {points.shape[1]} keypoints; there are labels for {len(numbers)}")
        known = list(numbers[: points.shape[1]])
        placed = points.new_zeros(len(points), max(known, default=-1) + 1, 3)
        placed[:, known] = points
        return {**target, "keypoints": placed}

    def compared(
        self, found: dict[str, Tensor], target: Nest, answers: dict[str, JsonValue], truth: dict[str, JsonValue]
    ) -> Tally:
        """The points, of the truth as many as the head has."""
        points, count = target["keypoints"], found["keypoints"].shape[1]
        if points.shape[1] > count:
            raise ValueError(f"has {points.shape[1]} keypoints; the head has {count}")
        missing = points.new_zeros(len(points), count - points.shape[1], 3)
        answers["keypoints"] = found["keypoints"].tolist()
        truth["keypoints"] = torch.cat((points, missing), dim=1).tolist()
        return {"points": count}

    def sigmas(self, tallies: Sequence[Tally], legend: Legend) -> tuple[Sequence[float], str]:
        """COCO's, where all points are among its names, else 0.05 for each."""
        if legend.labels and all(label in COCO_SIGMAS for label in legend.labels):
            return [COCO_SIGMAS[label] for label in legend.labels], "keypoints, OKS with COCO's sigmas"
        return [OTHER_SIGMA] * int(tallies[0]["points"]), f"keypoints, OKS with sigma {OTHER_SIGMA}"  # type: ignore[arg-type]


def opposites(labels: Sequence[str]) -> list[int]:
    """For each point the number of its counterpart in a mirror, by the words left and right in names; else its own.

    >>> opposites(["nose", "left_eye", "right_eye", "left_horn"])
    [0, 2, 1, 3]
    """
    swapped = ["right".join(part.replace("right", "left") for part in label.split("left")) for label in labels]
    return [labels.index(other) if other in labels else number for number, other in enumerate(swapped)]


def _inside(places: Tensor, size: tuple[int, int]) -> Tensor:
    """Which of places (..., 2) are in a picture: of whole numbers 0 to its last pixel, others up to a pixel beyond."""
    x, y = places[..., 0], places[..., 1]
    return (x > -BEYOND) & (x < size[1] - 1 + BEYOND) & (y > -BEYOND) & (y < size[0] - 1 + BEYOND)
