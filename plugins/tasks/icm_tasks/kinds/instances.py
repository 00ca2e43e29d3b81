"""Kind ``instances``: things with a mask, a box, a class and a score each."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from pydantic import JsonValue
from torch import Generator, Tensor

from icm_core.interfaces import Tally
from icm_core.kinds import colour_of
from icm_core.nests import Nest, shown
from icm_core.types import Colour, Legend, Prediction
from icm_tasks.kinds import coco
from icm_tasks.kinds.checks import check_entry
from icm_tasks.kinds.painting import with_boxes, with_masks
from icm_tasks.kinds.things import LISTED, Things

INSIDE = 0.5
"""Value of a mask above which a pixel belongs to the thing."""


class Instances(Things):
    """Things with a mask each; see `Things` for what targets and outputs hold beside it.

    A target is that of a ``detection`` with ``masks`` (N, H, W) bool or uint8, 0 or 1; training gets them as uint8. An
    output has ``masks`` (N, 1, H, W) or (N, H, W) in [0, 1], of which what is above 0.5 is the thing, or bool. Matches
    are made by IoU of masks, boxes do not count. Heads of kind ``detection`` can be trained and measured on the same
    targets.
    """

    name: ClassVar[str] = "instances"
    also: ClassVar[tuple[str, ...]] = ("detection",)
    measure: ClassVar[coco.Measure] = "segm"
    title: ClassVar[str] = "masks"
    listed: ClassVar[str] = "instances"
    more: ClassVar[tuple[str, ...]] = ("masks",)

    def check_target(self, target: Nest, size: tuple[int, int], legend: Legend) -> None:
        """A dict with boxes, labels and masks of the picture's size, each with a pixel at least."""
        super().check_target(target, size, legend)
        masks = check_entry(target, "masks", (len(target["labels"]), *size), torch.bool, torch.uint8)
        if masks.numel() and int(masks.max()) > 1:
            raise ValueError(f"has masks with the value {int(masks.max())}; they should be 0 or 1")
        if not bool(masks.bool().flatten(1).any(1).all()):
            raise ValueError("has a mask without a pixel")

    def example_target(self, size: tuple[int, int], legend: Legend, generator: Generator) -> dict[str, Tensor]:
        """Three boxes of any class, each filled by an ellipse."""
        target = super().example_target(size, legend, generator)
        rows = torch.arange(size[0])[:, None] + 0.5
        columns = torch.arange(size[1])[None] + 0.5
        masks = []
        for x0, y0, x1, y1 in target["boxes"].tolist():
            x, y = (columns - (x0 + x1) / 2) / ((x1 - x0) / 2), (rows - (y0 + y1) / 2) / ((y1 - y0) / 2)
            mask = x.square() + y.square() <= 1
            mask[int(y0), int(x0)] = True  # however small the box
            masks.append(mask)
        return {**target, "masks": torch.stack(masks)}

    def check_answer(self, answer: Nest, legend: Legend, size: tuple[int, int] | None = None) -> None:
        """Masks are of the picture's size, with values in [0, 1]."""
        super().check_answer(answer, legend, size)
        masks = answer["masks"]
        if not (masks.dim() == 3 or (masks.dim() == 4 and masks.shape[1] == 1)):
            raise ValueError(f"has masks that are {shown(masks)}; they should be (N, 1, H, W) or (N, H, W)")
        if size is not None and masks.shape[-2:] != size:
            raise ValueError(f"has masks of size {tuple(masks.shape[-2:])}, and the pictures are {size}")
        if masks.numel() and not 0 <= float(masks.min()) <= float(masks.max()) <= 1:
            raise ValueError("has masks with values outside of [0, 1]")

    def things(self, prediction: Prediction) -> dict[str, Tensor]:
        """The things, the highest score first; their masks as bool (N, H, W)."""
        found = super().things(prediction)
        masks = found["masks"] if found["masks"].dim() == 3 else found["masks"][:, 0]
        found["masks"] = masks > INSIDE if masks.is_floating_point() else masks.bool()
        return found

    def answer(self, prediction: Prediction) -> dict[str, JsonValue]:
        """``instances``: label, index, score, box, area in pixels, and ``pixel``, the value that the thing has in the
        picture that ``icm decode`` writes, the highest score first, at most a hundred; how many were ``left_out``."""
        return super().answer(prediction)

    def entry(self, found: dict[str, Tensor], row: int, legend: Legend) -> JsonValue:
        """One thing for `answer`."""
        entry = super().entry(found, row, legend)
        assert isinstance(entry, dict)
        return {**entry, "area": int(found["masks"][row].sum()), "pixel": row + 1}

    def raster(self, prediction: Prediction) -> Image.Image:
        """A palette picture whose pixels are the numbers of things, from 1 in the order of the answer; 0 is none.

        Where things overlap, the higher score is in front.
        """
        masks = self.things(prediction)["masks"][:LISTED]
        numbers = np.zeros(masks.shape[-2:], dtype=np.uint8)
        for number, mask in reversed([*enumerate(masks.numpy(), 1)]):
            numbers[mask] = number
        picture = Image.fromarray(numbers)
        colours = [(0, 0, 0), *_colours(len(masks))]
        picture.putpalette([channel for colour in colours for channel in colour])
        return picture

    def draw(self, prediction: Prediction, picture: Image.Image) -> Image.Image:
        """Masks and boxes on the picture, each thing in a colour of its own, with class and score."""
        found = self.drawn_things(prediction)
        colours = _colours(len(found["scores"]))
        drawn = with_masks(picture, found["masks"].numpy(), colours)
        return with_boxes(drawn, found["boxes"].tolist(), self.captions(found, prediction.legend), colours)

    def compared(
        self, found: dict[str, Tensor], target: Nest, answers: dict[str, JsonValue], truth: dict[str, JsonValue]
    ) -> Tally:
        """Masks as COCO's run lengths."""
        if len(found["masks"]) and found["masks"].shape[-2:] != target["masks"].shape[-2:]:
            there, here = tuple(target["masks"].shape[-2:]), tuple(found["masks"].shape[-2:])
            raise ValueError(f"has masks of size {there}, and the head's are {here}")
        answers["masks"] = [*coco.run_lengths(found["masks"].numpy())]
        truth["masks"] = [*coco.run_lengths(target["masks"].bool().numpy())]
        return {"size": [*target["masks"].shape[-2:]]}


def _colours(count: int) -> list[Colour]:
    return [colour_of(number, Legend()) for number in range(count)]
