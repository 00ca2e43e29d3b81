"""Kind ``lanes.polylines``: any number of open lines in a picture, such as the edges of a road."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydantic import JsonValue
from torch import Generator, Tensor
from torchvision import tv_tensors

from icm_core.interfaces import Drawn, Figure, Nest, Tally, TaskKind, Weights
from icm_core.kinds import check_classes, colour_of, label, match_labels, renumbered
from icm_core.nests import shown
from icm_core.types import Legend, Prediction
from icm_lanes.checks import check_lines
from icm_lanes.geometry import clipped, distances, joined, length, samples, split

NEAR = 8.0
"""Pixels: what is no farther from a line has met it."""

FAR = 50.0
"""Pixels: no distance counts more, and where there is no line at all it counts as this."""

_FIGURES = {
    "f1": ("%", f"F1 within {NEAR:g} pixels", True, 1),
    "completeness": ("%", f"completeness within {NEAR:g} pixels", True, 1),
    "correctness": ("%", f"correctness within {NEAR:g} pixels", True, 1),
    "distance": ("px", "mean distance of true lines", False, 1),
}
_INK = (25, 28, 33)
_SHORTEST = 1.0


class Polylines(TaskKind):
    """A target is a dict of tensors, a batch a tuple of them, an output a list with such a dict for each picture.

    ======  ============  ==========================================================================================
    points  (M, 2) float  x, y in pixels of all points of all lines, line after line; 0, 0 is the middle of a pixel
    lines   (M,) int64    which line a point is of: 0, 0, 0, 1, 1, ...; a line has two points or more
    labels  (N,) int64    the class of each line
    scores  (N,) float    of outputs only: how sure each line is, 0 to 1
    ======  ============  ==========================================================================================

    The figures are those by which extracted roads are measured (Wiedemann, Heipke, Mayer and Jamet, 1998): which share
    of the true lines' length is near a line that was said (completeness), which share of the said lines' length is near
    a true one (correctness), over all pictures together; F1 is their harmonic mean. Near is up to 8 pixels. And the
    mean distance in pixels from places on true lines to the nearest line that was said, of which each counts up to 50.
    Lines are compared with lines of the same class, whatever their scores, at places a pixel apart or closer.
    """

    name: ClassVar[str] = "lanes.polylines"
    ragged: ClassVar[bool] = True

    # --- targets -----------------------------------------------------------------------------------------------------

    def check_target(self, target: Nest, size: tuple[int, int], legend: Legend) -> None:
        """Lines inside the picture."""
        check_lines(target, ("points", "lines", "labels"), len(legend.labels))
        limits = torch.tensor([size[1] - 1, size[0] - 1])
        points = target["points"]
        outside = points[((points < 0) | (points > limits)).any(1)]
        if len(outside):
            x, y = outside[0].tolist()
            raise ValueError(f"has the point ({x:g}, {y:g}), outside of the picture of {size[1]}x{size[0]} pixels")

    def example_target(self, size: tuple[int, int], legend: Legend, generator: Generator) -> dict[str, Tensor]:
        """Up to three lines that run from the lower border upwards."""
        count = int(torch.randint(1, 4, (), generator=generator))
        rows = torch.linspace(1, 0.3, 6) * (size[0] - 1)
        made = []
        for _ in range(count):
            foot, head = torch.rand(2, generator=generator) * (size[1] - 1)
            made.append(torch.stack([torch.lerp(foot, head, torch.linspace(0, 1, 6)), rows], 1))
        points, lines = joined(made)
        labels = torch.randint(max(1, len(legend.labels)), (count,), generator=generator)
        return {"points": points, "lines": lines, "labels": labels}

    def wrap(self, target: Nest, size: tuple[int, int]) -> Nest:
        """Points move with the picture."""
        return {**target, "points": tv_tensors.KeyPoints(target["points"], canvas_size=size)}

    def unwrap(self, target: Nest, size: tuple[int, int], legend: Legend) -> dict[str, Tensor]:
        """The lines cut at the picture's borders. One that leaves the picture and comes back is two lines."""
        del legend
        points = target["points"].as_subclass(Tensor)
        pieces, labels = [], []
        for line, of in zip(split(points, target["lines"], len(target["labels"])), target["labels"], strict=True):
            kept = [piece for piece in clipped(line, size) if length(piece) >= _SHORTEST]
            pieces += kept
            labels += [of] * len(kept)
        points, lines = joined(pieces)
        return {"points": points, "lines": lines, "labels": torch.stack(labels) if labels else target["labels"][:0]}

    # --- answers -----------------------------------------------------------------------------------------------------

    def check_prediction(self, prediction: Prediction, size: tuple[int, int], count: int) -> None:
        """A list with the lines of each picture, and their scores."""
        del size
        output = prediction.output
        if not (isinstance(output, (list, tuple)) and len(output) == count):
            raise ValueError(f"output is {shown(output)}; it should be a list with a dict for each of {count} pictures")
        for found in output:
            check_lines(found, ("points", "lines", "labels", "scores"), len(prediction.labels))

    def answer(self, prediction: Prediction) -> dict[str, JsonValue]:
        """``lines``: label, index of the class, score and points of each line, the surest first."""
        found = _first(prediction)
        lines = split(found["points"], found["lines"], len(found["labels"]))
        rows: list[JsonValue] = []
        for number in found["scores"].argsort(descending=True, stable=True).tolist():
            index = int(found["labels"][number])
            points: list[JsonValue] = [[round(x, 2), round(y, 2)] for x, y in lines[number].tolist()]
            score = round(float(found["scores"][number]), 6)
            rows.append({"label": prediction.legend.label(index), "index": index, "score": score, "points": points})
        return {"lines": rows}

    def describe(self, prediction: Prediction) -> str:
        """How many lines of each class there are."""
        found = Counter(prediction.legend.label(index) for index in _first(prediction)["labels"].tolist())
        return ", ".join(f"{count} x {name}" for name, count in found.most_common()) or "no lines"

    def draw(self, prediction: Prediction, picture: Image.Image) -> Image.Image:
        """The lines over the picture, each in the colour of its class, with class and score beside its middle."""
        drawn, found = picture.convert("RGB").copy(), _first(prediction)
        width = max(2, round(min(drawn.size) / 100))
        lines = split(found["points"], found["lines"], len(found["labels"]))
        indices, scores = found["labels"].tolist(), found["scores"].tolist()
        draw = ImageDraw.Draw(drawn)
        for line, index in zip(lines, indices, strict=True):
            corners = [(x, y) for x, y in line.tolist()]
            draw.line(corners, _INK, width + 2, joint="curve")  # an outline, so that it shows on any ground
            draw.line(corners, colour_of(index, prediction.legend), width, joint="curve")
        for line, index, score in zip(lines, indices, scores, strict=True):
            x, y = line[len(line) // 2].tolist()
            said = prediction.legend.label(index) + (f" {score:.0%}" if score < 1 else "")
            label(drawn, (x + 2 * width, y), said, colour_of(index, prediction.legend))
        return drawn

    def truth(self, target: Nest, legend: Legend) -> Prediction:
        """The lines, all of them sure."""
        found = {**target, "scores": torch.ones(len(target["labels"]))}
        return Prediction(self.name, [found], legend.labels, legend.colours)

    # --- measuring ---------------------------------------------------------------------------------------------------

    def match(self, data: Legend, head: Legend) -> tuple[int, ...] | str:
        """By names."""
        return match_labels(data, head)

    def renumber(self, target: Nest, numbers: tuple[int, ...], legend: Legend) -> Nest:
        """The lines with their classes in the head's numbers."""
        del legend
        return {**target, "labels": renumbered(target["labels"], numbers, None, -1)}

    def tally(self, prediction: Prediction, target: Nest) -> Tally:
        """Lengths in pixels: ``true`` of the true lines, ``met`` of them near a line that was said; ``said`` of the
        lines that were said, ``right`` of them near a true one. ``away``: distance times true length, in square pixels.
        """
        if prediction.labels:
            check_classes(target["labels"], len(prediction.labels))
        found = _first(prediction)
        target = {name: value.detach().cpu() for name, value in target.items()}
        sums = dict.fromkeys(("true", "met", "said", "right", "away"), 0.0)
        for index in sorted({*found["labels"].tolist(), *target["labels"].tolist()}):
            true, said = _of_class(target, index), _of_class(found, index)
            for lines, others, whole, near in ((true, said, "true", "met"), (said, true, "said", "right")):
                for line in lines:
                    total, away = length(line), distances(samples(line), others)
                    sums[whole] += total
                    sums[near] += total * float((away <= NEAR).double().mean())
                    if lines is true:
                        sums["away"] += total * float(away.clamp_max(FAR).mean())
        return {**sums}

    def figures(self, tallies: Sequence[Tally], legend: Legend) -> dict[str, Figure]:
        """``f1``, ``completeness`` and ``correctness`` in percent, ``distance`` in pixels.

        Completeness and distance are None without a true line, correctness where nothing was said, F1 without either.
        """
        found = self.resampled(tallies, legend, np.ones((1, len(tallies))))
        return {
            name: Figure(None if math.isnan(values[0]) else float(values[0]), *_FIGURES[name])
            for name, values in found.items()
        }

    def resampled(self, tallies: Sequence[Tally], legend: Legend, weights: Weights) -> Drawn:
        """As `figures`, from sums over pictures."""
        del legend
        true, met, said, right, away = (
            weights @ np.array([tally[name] for tally in tallies], dtype=np.float64)
            for name in ("true", "met", "said", "right", "away")
        )
        completeness, correctness = 100 * _over(met, true), 100 * _over(right, said)
        f1 = _over(2 * completeness * correctness, completeness + correctness)
        return {
            "f1": np.where(np.isnan(f1) & (true + said > 0), 0.0, f1),
            "completeness": completeness,
            "correctness": correctness,
            "distance": _over(away, true),
        }


def _over(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """A quotient; NaN where it is divided by 0."""
    found: NDArray[np.float64] = np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
    return found


def _first(prediction: Prediction) -> dict[str, Tensor]:
    """The lines of the batch's first picture, on the CPU."""
    return {name: value.detach().cpu() for name, value in prediction.output[0].items()}


def _of_class(found: dict[str, Tensor], index: int) -> list[Tensor]:
    lines = split(found["points"], found["lines"], len(found["labels"]))
    return [line for line, of in zip(lines, found["labels"].tolist(), strict=True) if of == index]
