"""Things that move with their picture when it is augmented."""

from __future__ import annotations

import torch
from torch import Tensor

from icm_core.nests import Nest

MIN_SIDE = 1.0
"""Pixels; a box with a shorter side after augmentation is dropped."""

# Clipping subtracts numbers of up to some thousand pixels in float32.
_ROUNDING = 1e-3

_SHARE = "area_of_box"


def wrap_things(target: Nest, size: tuple[int, int]) -> Nest:
    """A target's boxes and masks as ``tv_tensors``; what it says of areas becomes a share of the box, which stays."""
    from torchvision import tv_tensors  # slow to import

    moved = dict(target)
    moved["boxes"] = tv_tensors.BoundingBoxes(target["boxes"], format="XYXY", canvas_size=size)
    if "masks" in target:
        moved["masks"] = tv_tensors.Mask(target["masks"].to(torch.uint8))
    if "area" in target:
        moved[_SHARE] = moved.pop("area") / box_areas(target["boxes"])
    return moved


def unwrap_things(target: Nest, size: tuple[int, int]) -> dict[str, Tensor]:
    """Back from `wrap_things`, without the things that are no longer in the picture.

    Boxes are cut at the picture's borders. A thing whose box has a side below one pixel, or whose mask has no pixel
    left, is dropped with all that belongs to it. An area is scaled as its box was.
    """
    found: dict[str, Tensor] = {name: value.as_subclass(Tensor) for name, value in target.items()}
    height, width = size
    x0, y0, x1, y1 = found["boxes"].unbind(1)
    boxes = torch.stack((x0.clamp(0, width), y0.clamp(0, height), x1.clamp(0, width), y1.clamp(0, height)), dim=1)
    found["boxes"] = boxes
    kept = (boxes[:, 2:] - boxes[:, :2] >= MIN_SIDE - _ROUNDING).all(1)
    if "masks" in found:
        kept &= found["masks"].bool().flatten(1).any(1)
    if _SHARE in found:
        found["area"] = found.pop(_SHARE) * box_areas(boxes)
    return {name: value[kept] for name, value in found.items()}


def box_areas(boxes: Tensor) -> Tensor:
    """Areas in square pixels, (N,), of boxes (N, 4)."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return sides[:, 0] * sides[:, 1]


def made_up_boxes(size: tuple[int, int], count: int, generator: torch.Generator) -> Tensor:
    """Boxes (N, 4) float32 anywhere in a picture, of at least a pixel and about a quarter to a half of each side."""
    sides = torch.tensor([size[1], size[0]], dtype=torch.float32)
    extent = (sides * (0.25 + 0.25 * torch.rand(count, 2, generator=generator))).clamp_min(1).minimum(sides)
    corner = (sides - extent) * torch.rand(count, 2, generator=generator)
    return torch.cat((corner, (corner + extent).minimum(sides)), dim=1)
