"""Head `Grid`: boxes without anchors, one for each cell of a grid (Tian et al., ICCV 2019; Ge et al., 2021)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import batched_nms, clip_boxes_to_image, generalized_box_iou_loss, sigmoid_focal_loss

from icm_core import SpecError
from icm_core.interfaces import ComponentParams, TaskHead
from icm_core.types import FeatureLayout, Features, Prediction

STRIDE = 8
"""Pixels of a cell's side."""

_PRIOR = 0.01
_LARGEST = math.log(1000 / STRIDE)
_CANDIDATES = 1000


class Grid(TaskHead):
    """Every cell of 8x8 pixels of the semantic image says what thing has its middle there, and how large it is.

    As in FCOS without its pyramid: the same cells answer for small and for large things. As in YOLOX a box is its
    middle and its size, so that things smaller than a cell have one.

    The output is a dict with ``classes``, (B, K, h, w) logits, and ``boxes``, (B, 4, h, w): the box's middle from the
    cell's, x and y in cells, and the logarithms of width and height in cells.
    """

    name: ClassVar[str] = "boxes.grid"
    kind: ClassVar[str] = "detection"
    requires: ClassVar[tuple[str, ...]] = ("image",)

    class Params(ComponentParams):
        """What is looked for, the size of the network, and which boxes are kept."""

        classes: tuple[str, ...] = Field(("object",), min_length=1, max_length=1000, description="what is looked for")
        width: int = Field(32, ge=4, le=512, multiple_of=4, description="channels of the first layer")
        least: float = Field(0.05, gt=0, lt=1, description="boxes of a lower score are left out")
        overlap: float = Field(0.6, gt=0, lt=1, description="boxes of a class that overlap by a larger IoU are one")
        most: int = Field(100, ge=1, description="boxes in a picture, those of the highest scores")

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
        self.classes = nn.Conv2d(2 * w, len(params.classes), 1)
        self.boxes = nn.Conv2d(2 * w, 4, 1)
        assert self.classes.bias is not None
        nn.init.constant_(self.classes.bias, math.log(_PRIOR / (1 - _PRIOR)))  # hardly any cell has a thing in it

    @property
    def labels(self) -> tuple[str, ...]:
        """What is looked for."""
        return self.params.classes

    def forward(self, features: Features) -> dict[str, Tensor]:
        """Classes and boxes of all cells."""
        body = self.body(features.cropped("image"))
        return {"classes": self.classes(body), "boxes": self.boxes(body)}

    def loss(self, output: dict[str, Tensor], target: Sequence[dict[str, Tensor]]) -> Tensor:
        """Focal loss of classes and generalised IoU of boxes over the cells that a thing has, (B,)."""
        logits, boxes = output["classes"].float(), self.decoded(output["boxes"].float())
        return torch.stack([self._loss(*maps) for maps in zip(logits, boxes, target, strict=True)])

    def _loss(self, logits: Tensor, boxes: Tensor, target: dict[str, Tensor]) -> Tensor:
        """The loss of one picture from logits (K, h, w) and boxes (h, w, 4)."""
        owner, counted = assign(target, (logits.shape[1], logits.shape[2]))
        there = owner >= 0
        truth = torch.zeros_like(logits)
        row, column = there.nonzero(as_tuple=True)
        truth[target["labels"][owner[there]], row, column] = 1.0
        of_classes = (sigmoid_focal_loss(logits, truth) * counted).sum()
        of_boxes = generalized_box_iou_loss(boxes[there], target["boxes"][owner[there]], reduction="sum")
        loss: Tensor = (of_classes + of_boxes) / there.sum().clamp_min(1)
        return loss

    @staticmethod
    def decoded(boxes: Tensor) -> Tensor:
        """Left, top, right and bottom in pixels, (B, h, w, 4), of boxes as the network gives them, (B, 4, h, w)."""
        x, y, width, height = boxes.unbind(1)
        rows, columns = middles(boxes.shape[-2:], boxes.device)
        x, y = columns + STRIDE * x, rows + STRIDE * y
        # Beyond any picture; it keeps the exponential of a wild answer finite.
        half_width, half_height = (STRIDE / 2 * side.clamp(-_LARGEST, _LARGEST).exp() for side in (width, height))
        return torch.stack([x - half_width, y - half_height, x + half_width, y + half_height], -1)

    def divergence(self, output: dict[str, Tensor], reference: dict[str, Tensor]) -> Tensor:
        """Kullback-Leibler divergence of the cells' classes from those of the clean picture, in nats, (B,)."""
        true = reference["classes"].float()
        cross = F.binary_cross_entropy_with_logits(output["classes"].float(), true.sigmoid(), reduction="none")
        own = F.binary_cross_entropy_with_logits(true, true.sigmoid(), reduction="none")
        return (cross - own).sum(1).flatten(1).mean(1)

    def predict(self, features: Features) -> Prediction:
        """The boxes of each picture, the highest score first."""
        output = self(features)
        scores, boxes = output["classes"].float().sigmoid(), self.decoded(output["boxes"].float())
        found = [self._boxes(*maps, features.size) for maps in zip(scores, boxes, strict=True)]
        return Prediction(self.kind, found, self.labels, self.colours)

    def _boxes(self, scores: Tensor, boxes: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        """The boxes of one picture from scores (K, h, w) and boxes (h, w, 4)."""
        boxes = clip_boxes_to_image(boxes, size)
        there = (boxes[..., 2:] - boxes[..., :2] >= 1).all(-1)
        label, row, column = ((scores >= self.params.least) & there).nonzero(as_tuple=True)
        best = scores[label, row, column].argsort(descending=True, stable=True)[:_CANDIDATES]
        label, row, column = label[best], row[best], column[best]
        found = {"boxes": boxes[row, column], "labels": label, "scores": scores[label, row, column]}
        kept = batched_nms(found["boxes"], found["scores"], label, self.params.overlap)[: self.params.most]
        return {name: value[kept] for name, value in found.items()}


def _context(channels: int, dilation: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation),
        nn.GroupNorm(4, channels),
        nn.ReLU(),
    )


def middles(grid: tuple[int, int] | torch.Size, device: torch.device) -> tuple[Tensor, Tensor]:
    """Middles of a grid's cells in pixels: y (h, 1) and x (1, w)."""
    height, width = grid
    y = (torch.arange(height, device=device) + 0.5) * STRIDE
    x = (torch.arange(width, device=device) + 0.5) * STRIDE
    return y[:, None], x[None]


def assign(target: dict[str, Tensor], grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Which thing each cell has to find: the smallest of those around whose middle it is.

    A thing has the cell that its middle is in, and the eight around it as far as their middles are inside its box.

    Args:
        target: of one picture, as the kind ``detection`` has it.
        grid: height and width in cells.

    Returns:
        Numbers of the things, (h, w) int64, -1 where there is none; and whether a cell counts, (h, w) bool: those
        inside of crowds do only where they have a thing.
    """
    boxes = target["boxes"]
    owner = torch.full(grid, -1, dtype=torch.int64, device=boxes.device)
    counted = torch.ones(grid, dtype=torch.bool, device=boxes.device)
    y, x = middles(grid, boxes.device)
    crowd = target["iscrowd"].bool().tolist() if "iscrowd" in target else [False] * len(boxes)
    sides = boxes[:, 2:] - boxes[:, :2]
    for number in sides.prod(1).argsort(descending=True, stable=True).tolist():  # smaller ones write over larger ones
        left, top, right, bottom = boxes[number]
        inside = (x > left) & (x < right) & (y > top) & (y < bottom)
        if crowd[number]:
            counted &= ~inside
            continue
        column, row = (
            int(((low + high) / 2 / STRIDE).long().clamp(0, most - 1))
            for low, high, most in ((left, right, grid[1]), (top, bottom, grid[0]))
        )
        near = inside & ((x - STRIDE * (column + 0.5)).abs() <= STRIDE) & ((y - STRIDE * (row + 0.5)).abs() <= STRIDE)
        near[row, column] = True
        owner[near] = number
    return owner, counted | (owner >= 0)
