"""A picture brought to the size of a network's input, and the network's answers brought back to the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Fit = Literal["stretch", "corner", "letterbox", "cover", "least"]
"""How a picture fills an input of another shape: squeezed; scaled into the upper left corner, or into the middle, and
the rest filled; or scaled until it covers the input, and what sticks out cut off. With ``"least"`` it is scaled by that
of both sides' ratios that is nearer to 1, and the input is as large as it is then."""

Size = int | tuple[int, int] | None
"""Of an input: the shorter side of the picture in it, or height and width, or None for the picture's own."""


@dataclass(frozen=True)
class Fitted:
    """Pictures in a network's input.

    Attributes:
        image: (B, 3, h, w), the input before normalisation, in [0, 1].
        start: row and column of the input where the picture begins; negative where it is cut.
        inner: height and width of the whole picture in the input.
        size: height and width of the picture.
    """

    image: Tensor
    start: tuple[int, int]
    inner: tuple[int, int]
    size: tuple[int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the input for each pixel of the picture, down and across."""
        return self.inner[0] / self.size[0], self.inner[1] / self.size[1]

    def boxes(self, boxes: Tensor, *, cut: bool = True) -> Tensor:
        """Boxes (..., 4), left, top, right, bottom in pixels of the input, in pixels of the picture, and cut to it."""
        x, y = self._across(boxes[..., 0::2]), self._down(boxes[..., 1::2])
        moved = boxes.clone()
        moved[..., 0::2] = x.clamp(0, self.size[1]) if cut else x
        moved[..., 1::2] = y.clamp(0, self.size[0]) if cut else y
        return moved

    def placed(self, boxes: Tensor) -> Tensor:
        """Boxes (..., 4) in pixels of the picture, in pixels of the input: the way there."""
        (down, across), (top, left) = self.scale, self.start
        return boxes * boxes.new_tensor([across, down, across, down]) + boxes.new_tensor([left, top, left, top])

    def points(self, points: Tensor) -> Tensor:
        """Points (..., 3), x and y in pixels of the input and something of their own, in pixels of the picture."""
        moved = points.clone()
        moved[..., 0], moved[..., 1] = self._across(points[..., 0]), self._down(points[..., 1])
        return moved

    def maps(self, maps: Tensor) -> Tensor:
        """Maps (B, C, h', w') of the input at any stride, as maps of the picture, (B, C, H, W)."""
        if self.start != (0, 0) or self.inner != tuple(self.image.shape[-2:]):
            height, width = self.image.shape[-2:]
            maps = _resized(maps, (height, width))
            # What was cut off the picture has the answer of the nearest pixel that was not.
            rows = torch.arange(self.inner[0], device=maps.device) + self.start[0]
            columns = torch.arange(self.inner[1], device=maps.device) + self.start[1]
            maps = maps[..., rows.clamp(0, height - 1), :][..., columns.clamp(0, width - 1)]
        return _resized(maps, self.size)

    def _across(self, x: Tensor) -> Tensor:
        return (x - self.start[1]) / self.scale[1]

    def _down(self, y: Tensor) -> Tensor:
        return (y - self.start[0]) / self.scale[0]


def fit_into(
    image: Tensor,
    size: Size = None,
    fit: Fit = "stretch",
    *,
    fill: float = 0.0,
    longest: int | None = None,
    multiple: int = 1,
    smooth: bool = True,
    resample: Literal["bilinear", "bicubic"] = "bilinear",
) -> Fitted:
    """Bring pictures to a network's input.

    Args:
        image: (B, 3, H, W) in [0, 1].
        size: of the input. A number is the picture's shorter side, and its shape stays.
        fit: how an input of a fixed height and width is filled.
        fill: value of what is filled up, in [0, 1].
        longest: with a number as size, the longer side is at most this, and the shorter one shorter where it has to be.
        multiple: sides of an input without a fixed height and width are multiples of this. What is missing is filled up
            on the right and below; but with a number as size and ``"stretch"`` sides are rounded down, and with
            ``"least"`` to the nearest multiple, and the picture is resized to that.
        smooth: whether pictures are low-pass filtered where they shrink, as Pillow does and OpenCV does not.
        resample: how pictures are resized; bicubic values are cut at 0 and 1.
    """
    own = (image.shape[-2], image.shape[-1])
    if isinstance(size, tuple) and fit == "least":
        ratio = min((size[0] / own[0], size[1] / own[1]), key=lambda ratio: abs(1 - ratio))
        inner = outer = (_nearest(own[0] * ratio, multiple), _nearest(own[1] * ratio, multiple))
    elif isinstance(size, tuple):
        inner, outer = _inside(own, size, fit), size
    else:
        inner = own if size is None else _scaled(own, size, longest)
        if size is not None and fit == "stretch":
            inner = (_below(inner[0], multiple), _below(inner[1], multiple))
        outer = (-(-inner[0] // multiple) * multiple, -(-inner[1] // multiple) * multiple)
    placed = image
    if inner != own:
        placed = F.interpolate(image.float(), size=inner, mode=resample, align_corners=False, antialias=smooth)
        placed = placed.clamp(0, 1) if resample == "bicubic" else placed
    rest = (outer[0] - inner[0], outer[1] - inner[1])
    middle = isinstance(size, tuple) and fit in ("letterbox", "cover")
    start = (rest[0] // 2, rest[1] // 2) if middle else (0, 0)
    if any(rest):
        # Where the rest is negative, padding cuts.
        sides = (start[1], rest[1] - start[1], start[0], rest[0] - start[0])
        placed = F.pad(placed, sides, value=fill)
    return Fitted(placed, start, inner, own)


def _inside(own: tuple[int, int], size: tuple[int, int], fit: Fit) -> tuple[int, int]:
    """Height and width of a whole picture in an input of a fixed size."""
    if fit == "stretch":
        return size
    ratios = (size[0] / own[0], size[1] / own[1])
    ratio = max(ratios) if fit == "cover" else min(ratios)
    inner = (max(1, int(own[0] * ratio)), max(1, int(own[1] * ratio)))
    return (max(inner[0], size[0]), max(inner[1], size[1])) if fit == "cover" else inner


def _scaled(own: tuple[int, int], shorter: int, longest: int | None) -> tuple[int, int]:
    """Height and width of a picture whose shorter side is given, as far as its longer one may be."""
    ratio = shorter / min(own)
    if longest is not None:
        ratio = min(ratio, longest / max(own))
    return max(1, round(own[0] * ratio)), max(1, round(own[1] * ratio))


def _below(side: int, multiple: int) -> int:
    return max(multiple, side // multiple * multiple)


def _nearest(side: float, multiple: int) -> int:
    return max(multiple, round(side / multiple) * multiple)


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(maps.shape[-2:]) == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
