"""Head `Crossings`: in every row of cells, where lines cross it; then the crossings joined to lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from icm_core import SpecError
from icm_core.interfaces import ComponentParams, TaskHead
from icm_core.types import FeatureLayout, Features, Prediction
from icm_lanes.geometry import crossings, joined, split

STRIDE = 8
"""Pixels of a cell's side."""

_MIDDLE = (STRIDE - 1) / 2


class Crossings(TaskHead):
    """Lines by rows, as in Ultra Fast Lane Detection (Qin, Wang and Li, ECCV 2020), but any number of them.

    The picture is a grid of cells of 8x8 pixels. For every cell and class the network says whether a line crosses the
    horizontal through its middle, and how far from the middle. From the lowest row upwards, each crossing goes on the
    line whose end is nearest, or begins a new one. So a line has one point in a row, and one that runs level is lost.

    The output is a dict with ``crossings``, (B, K, h, w) logits, and ``offsets``, (B, K, h, w) in cells.
    """

    name: ClassVar[str] = "lanes.crossings"
    kind: ClassVar[str] = "lanes.polylines"
    requires: ClassVar[tuple[str, ...]] = ("image",)

    class Params(ComponentParams):
        """What lines there are, the size of the network, and how crossings become lines."""

        lines: tuple[str, ...] = Field(("road edge",), min_length=1, max_length=100, description="classes of lines")
        width: int = Field(32, ge=4, le=512, multiple_of=4, description="channels of the first layer")
        surely: float = Field(0.3, gt=0, lt=1, description="probability from which a crossing counts")
        reach: float = Field(40.0, gt=0, description="pixels from the end of a line to its next crossing")
        shortest: int = Field(3, ge=2, description="lines of fewer crossings are left out")
        most: int = Field(20, ge=1, description="lines in a picture, the surest")

    params: Params

    def __init__(self, params: Params, features: FeatureLayout) -> None:
        super().__init__(params, features)
        if "image" not in features:
            raise SpecError(f"head {self.name!r} needs the map 'image', but its adapter delivers {sorted(features)}")
        w = params.width
        self.body = nn.Sequential(
            nn.Conv2d(features["image"].channels, w, 5, stride=4, padding=2),
            nn.GroupNorm(4, w),
            nn.ReLU(),
            nn.Conv2d(w, 2 * w, 3, stride=2, padding=1),
            nn.GroupNorm(4, 2 * w),
            nn.ReLU(),
            *(layer for dilation in (1, 2, 4, 8) for layer in _context(2 * w, dilation)),
        )
        self.last = nn.Conv2d(2 * w, 2 * len(params.lines), 1)
        assert self.last.bias is not None
        nn.init.constant_(self.last.bias[: len(params.lines)], -3.0)  # hardly any cell has a line in it

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes of lines."""
        return self.params.lines

    def forward(self, features: Features) -> dict[str, Tensor]:
        """Logits of crossings, and offsets of lines from the cells' middles in cells."""
        found, offsets = self.last(self.body(features.cropped("image"))).chunk(2, 1)
        return {"crossings": found, "offsets": offsets}

    def loss(self, output: dict[str, Tensor], target: Sequence[dict[str, Tensor]]) -> Tensor:
        """Focal loss (Lin et al., 2017) of crossings and smooth L1 of their offsets, over the true crossings, (B,).

        A cell beside a crossing may say so or not: which of two cells has a line that runs between them is chance.
        """
        logits, offsets = output["crossings"].float(), output["offsets"].float()
        grids = [self._grids(one, logits) for one in target]
        there, near, away = (torch.stack(maps) for maps in zip(*grids, strict=True))
        counted = (there > 0) | ~near
        of_cells: Tensor = (counted * sigmoid_focal_loss(logits, there, alpha=0.75, gamma=2.0)).flatten(1).sum(1)
        of_offsets = (near * F.smooth_l1_loss(offsets, away, reduction="none", beta=0.1)).flatten(1).sum(1)
        return (of_cells + of_offsets / 3) / there.flatten(1).sum(1).clamp_min(1)

    def _grids(self, target: dict[str, Tensor], logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of a picture, (K, h, w) each: 1 in cells that lines cross; whether a cell is one of those or beside one; and
        where the line is from its middle in cells."""
        there = torch.zeros_like(logits[0])
        near = torch.zeros_like(there, dtype=torch.bool)
        away = torch.zeros_like(there)
        height, width = there.shape[1:]
        rows = torch.arange(height, device=there.device) * STRIDE + _MIDDLE
        lines = split(target["points"], target["lines"], len(target["labels"]))
        found = [crossings(line.to(there.device), rows) for line in lines]
        for beside in (-1, 1, 0):  # the crossed cells last, so that what they say of themselves stays
            for (row, x), index in zip(found, target["labels"].tolist(), strict=True):
                column = (x / STRIDE).long().clamp(0, width - 1)
                here = (column + beside).clamp(0, width - 1)
                near[index, row, here] = True
                away[index, row, here] = (x - _MIDDLE) / STRIDE - here
                there[index, row, column] = 1.0
        return there, near, away

    def divergence(self, output: dict[str, Tensor], reference: dict[str, Tensor]) -> Tensor:
        """Kullback-Leibler divergence of the cells' probabilities from those of the clean picture, in nats, (B,)."""
        true = reference["crossings"].float()
        cross = F.binary_cross_entropy_with_logits(output["crossings"].float(), true.sigmoid(), reduction="none")
        own = F.binary_cross_entropy_with_logits(true, true.sigmoid(), reduction="none")
        return (cross - own).flatten(1).mean(1)

    def predict(self, features: Features) -> Prediction:
        """The lines of each picture."""
        output = self(features)
        chances = output["crossings"].detach().float().sigmoid().cpu()
        places = output["offsets"].detach().float().cpu()
        found = [self._lines(*maps, features.size) for maps in zip(chances, places, strict=True)]
        device = output["crossings"].device
        moved = [{name: value.to(device) for name, value in one.items()} for one in found]
        return Prediction(self.kind, moved, self.labels, self.colours)

    def _lines(self, chances: Tensor, places: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        """The lines of one picture from probabilities and offsets, (K, h, w) each."""
        best = chances == F.max_pool2d(chances, (1, 3), stride=1, padding=(0, 1))
        lines: list[Tensor] = []
        labels: list[int] = []
        scores: list[float] = []
        for index, (chance, place) in enumerate(zip(chances, places, strict=True)):
            row, column = torch.nonzero(best[index] & (chance >= self.params.surely), as_tuple=True)
            x = ((column + place[row, column]) * STRIDE + _MIDDLE).clamp(0, size[1] - 1)
            y = row * STRIDE + _MIDDLE
            points = torch.stack([x, y], 1)[y <= size[0] - 1]
            sure = chance[row, column][y <= size[0] - 1]
            for numbers in link(points, self.params.reach):
                if len(numbers) >= self.params.shortest:
                    lines.append(points[numbers])
                    labels.append(index)
                    scores.append(float(sure[numbers].mean()))
        order = sorted(range(len(lines)), key=lambda number: -scores[number])[: self.params.most]
        points, lines_of = joined([lines[number] for number in order])
        return {
            "points": points,
            "lines": lines_of,
            "labels": torch.tensor([labels[number] for number in order], dtype=torch.int64),
            "scores": torch.tensor([scores[number] for number in order]),
        }


def _context(channels: int, dilation: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation),
        nn.GroupNorm(4, channels),
        nn.ReLU(),
    )


def link(points: Tensor, reach: float) -> list[list[int]]:
    """Join points (P, 2) to lines, from the lowest row upwards; nearest pairs first, one point of a row to a line.

    Args:
        points: of several rows; those of one row have the same y.
        reach: farthest distance in pixels, along x and y each, from the end of a line to the next point.

    Returns:
        The numbers of each line's points, in order.
    """
    lines: list[list[int]] = []
    for y in sorted({float(value) for value in points[:, 1]}, reverse=True):
        waiting = (points[:, 1] == y).nonzero().flatten().tolist()
        pairs = sorted(
            (abs(float(points[line[-1], 0] - points[number, 0])), end, number)
            for end, line in enumerate(lines)
            for number in waiting
            if abs(float(points[line[-1], 1]) - y) <= reach
        )
        for distance, end, number in pairs:
            if distance <= reach and number in waiting and float(points[lines[end][-1], 1]) != y:
                lines[end].append(number)
                waiting.remove(number)
        lines += [[number] for number in waiting]
    return lines
