"""What a detector's outputs mean: boxes in pixels of its input, and log-odds of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple, TypeAlias

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

_LEAST = 1e-7
_LARGEST = 12.0  # a box of e^12 cells is larger than any picture; more would only overflow


class Candidates(NamedTuple):
    """What a detector proposes for a batch, before any of it is thinned out.

    Attributes:
        boxes: (B, N, 4), left, top, right, bottom in pixels.
        logits: (B, N, K), log-odds of each class.
    """

    boxes: Tensor
    logits: Tensor


class _Layout(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Grid(_Layout):
    """One output (B, N, 5 + K): a row for each cell of grids of several strides, the finest first, row by row.

    A row has the box's middle from its cell's corner, x and y in cells, the logarithms of width and height in cells,
    then how likely there is a thing, and each class. This is how YOLOX is exported (Ge et al., 2021).
    """

    form: Literal["grid"]
    strides: tuple[int, ...] = Field((8, 16, 32), min_length=1, max_length=8, description="pixels of a cell's side")
    scores: Literal["given", "sigmoid"] = Field(
        "given", description="whether likelihoods are given, or numbers whose sigmoid they are"
    )

    def read(self, outputs: Sequence[Tensor], size: tuple[int, int]) -> Candidates:
        """See `read`."""
        rows = outputs[0]
        cells = [(-(-size[0] // stride), -(-size[1] // stride), stride) for stride in self.strides]
        count = sum(high * wide for high, wide, _ in cells)
        if rows.dim() != 3 or rows.shape[1] != count or rows.shape[2] < 6:
            raise ValueError(
                f"the output has the shape {tuple(rows.shape)}; grids of the strides {list(self.strides)} on an input "
                f"of {size[1]}x{size[0]} pixels have {count} cells, (B, {count}, 5 + K)"
            )
        corners = torch.cat([_corners(high, wide, rows) for high, wide, _ in cells])
        strides = torch.cat([rows.new_full((high * wide, 1), stride) for high, wide, stride in cells])
        middle = (rows[..., :2] + corners) * strides
        sides = rows[..., 2:4].clamp(max=_LARGEST).exp() * strides
        boxes = torch.cat([middle - sides / 2, middle + sides / 2], -1)
        return Candidates(boxes, _log_odds(rows[..., 4:5], rows[..., 5:], self.scores == "sigmoid"))


class Boxes(_Layout):
    """Decoded boxes with scores: one output (B, N, 4 + K) or (B, N, 5 + K), or one of boxes and one of scores.

    This is how most other detectors are exported before boxes are thinned out; YOLOv8, say, with ``channels_first``.
    """

    form: Literal["boxes"]
    corners: bool = Field(False, description="left, top, right, bottom; else middle, width and height")
    normalised: bool = Field(False, description="coordinates are shares of the input's sides; else pixels of it")
    channels_first: bool = Field(False, description="outputs are (B, 4 + K, N)")
    objectness: bool = Field(False, description="before the classes stands how likely there is a thing")
    scores: Literal["given", "sigmoid"] = Field(
        "given", description="whether likelihoods are given, or numbers whose sigmoid they are"
    )

    def read(self, outputs: Sequence[Tensor], size: tuple[int, int]) -> Candidates:
        """See `read`."""
        outputs = [output.transpose(1, 2) if self.channels_first else output for output in outputs]
        least = 6 if self.objectness else 5
        if len(outputs) == 1 and outputs[0].dim() == 3 and outputs[0].shape[2] >= least:
            boxes, scores = outputs[0][..., :4], outputs[0][..., 4:]
        elif len(outputs) == 2 and _fit(*outputs):
            boxes, scores = outputs
        else:
            raise ValueError(
                f"the outputs have the shapes {_shapes(outputs)}; decoded boxes have (B, N, 4) and (B, N, K), or all "
                f"in one of (B, N, {least - 1} + K)"
            )
        thing = scores[..., :1] if self.objectness else None
        classes = scores[..., 1:] if self.objectness else scores
        return Candidates(
            _boxes(boxes, size, self.corners, self.normalised), _log_odds(thing, classes, self.scores == "sigmoid")
        )


class Queries(_Layout):
    """Two outputs, logits (B, N, K) or (B, N, K + 1) and boxes (B, N, 4): middle, width and height as shares of the
    input's sides. This is how DETR (Carion et al., ECCV 2020) and its descendants are exported.
    """

    form: Literal["queries"]
    scores: Literal["softmax", "sigmoid"] = Field(
        "softmax", description="DETR's softmax with a last class for nothing, or a sigmoid of each class"
    )

    def read(self, outputs: Sequence[Tensor], size: tuple[int, int]) -> Candidates:
        """See `read`."""
        least = 2 if self.scores == "softmax" else 1
        if len(outputs) != 2 or not _fit(outputs[1], outputs[0]) or outputs[0].shape[2] < least:
            raise ValueError(
                f"the outputs have the shapes {_shapes(outputs)}; queries have logits (B, N, K) and boxes (B, N, 4)"
            )
        logits, boxes = outputs
        if self.scores == "softmax":
            logits = _odds_of_each(logits)[..., :-1]
        return Candidates(_boxes(boxes, size, corners=False, normalised=True), logits)


Layout: TypeAlias = Annotated[Grid | Boxes | Queries, Field(discriminator="form")]


def read(layout: Grid | Boxes | Queries, outputs: Sequence[Tensor], size: tuple[int, int]) -> Candidates:
    """The candidates in a detector's outputs.

    Args:
        layout: what the outputs mean.
        outputs: the tensors, of a batch.
        size: height and width of the input in pixels.

    Raises:
        ValueError: their shapes are not the layout's; a clause.
    """
    return layout.read([output.float() for output in outputs], size)


def _corners(high: int, wide: int, like: Tensor) -> Tensor:
    """Column and row of each cell of a grid, (high * wide, 2)."""
    y, x = torch.meshgrid(torch.arange(high, device=like.device), torch.arange(wide, device=like.device), indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2).to(like.dtype)


def _boxes(boxes: Tensor, size: tuple[int, int], corners: bool, normalised: bool) -> Tensor:
    if not corners:
        middle, sides = boxes[..., :2], boxes[..., 2:]
        boxes = torch.cat([middle - sides / 2, middle + sides / 2], -1)
    return boxes * boxes.new_tensor([size[1], size[0], size[1], size[0]]) if normalised else boxes


def _log_odds(thing: Tensor | None, classes: Tensor, logits: bool) -> Tensor:
    """Log-odds of each class, of which a thing's own likelihood is a factor."""
    if logits:
        if thing is None:
            return classes
        thing, classes = thing.sigmoid(), classes.sigmoid()
    product = classes if thing is None else thing * classes
    return product.clamp(_LEAST, 1 - _LEAST).logit()


def _odds_of_each(logits: Tensor) -> Tensor:
    """Log-odds of every class of a softmax: its logit less the log-sum-exp of all others."""
    log = logits.log_softmax(-1)
    return log - torch.log1p(-log.exp().clamp(max=1 - _LEAST))


def _fit(boxes: Tensor, scores: Tensor) -> bool:
    return boxes.dim() == scores.dim() == 3 and boxes.shape[2] == 4 and boxes.shape[:2] == scores.shape[:2]


def _shapes(outputs: Sequence[Tensor]) -> str:
    return " and ".join(str(tuple(output.shape)) for output in outputs)
