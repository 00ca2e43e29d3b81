"""Pictures at equal bytes: what each system makes of a picture within the bytes that the first one needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from icm_core.bitstream.container import read
from icm_core.interfaces import DataSet, Sample
from icm_core.jpeg import jpeg_within, psnr
from icm_core.kinds.painting import overlay
from icm_core.pictures import to_picture
from icm_core.pipeline.pipeline import Pipeline
from icm_core.quality import STEPS_PER_UNIT, Quality
from icm_core.spec.model import FINE
from icm_core.types import Prediction
from icm_evaluation.plan import class_numbers
from icm_evaluation.work import whole_qualities

_JPEG = "baselines.jpeg"


@dataclass(frozen=True)
class Cell:
    """One picture with what stands under it; no picture where a system cannot be so small."""

    title: str
    picture: Image.Image | None
    caption: str


@dataclass(frozen=True)
class Step:
    """All systems within a number of bytes.

    Attributes:
        title: where the bytes are from.
        bytes: the limit.
        bpp: the same in bits per pixel.
        cells: the pictures.
    """

    title: str
    bytes: int
    bpp: float
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Shot:
    """One picture of the data set with its steps, by rising bytes."""

    key: str
    original: Image.Image
    truth: Image.Image | None
    steps: Sequence[Step]


class _Coder:
    """One system on one picture: files by quality, each made once."""

    def __init__(self, pipe: Pipeline, sample: Sample, original: Image.Image, base_only: bool) -> None:
        self.pipe = pipe
        self.base_only = base_only
        self.sample = sample
        self.original = original
        self.own = pipe.codec.writes_own_files
        self._files: dict[int, bytes] = {}

    def file(self, step: int) -> bytes:
        if step not in self._files:
            self._files[step] = self.pipe.encode(
                self.sample.picture, quality=Quality(step).value, enhancement=not self.base_only
            )
        return self._files[step]

    def bytes(self, step: int) -> int:
        blob = self.file(step)
        return len(read(blob).base.payload) if self.own else len(blob)

    def within(self, limit: int) -> int | None:
        """The highest quality whose file is not larger, in steps; None if there is none."""
        low, high = (Quality.of(value).step for value in self.pipe.codec.quality_range)
        best = None
        while low <= high:
            middle = (low + high) // 2
            if self.bytes(middle) <= limit:
                best, low = middle, middle + 1
            else:
                high = middle - 1
        return best

    def cells(self, step: int | None) -> list[Cell]:
        name = self.pipe.name
        if step is None:
            return [Cell(name, None, "cannot be so small")]
        blob = self.file(step)
        found = []
        for task, prediction in self.pipe.decode(blob).items():
            needed = self.bytes(step) if task == FINE or self.own else read(blob).base_bytes
            caption = f"quality {step / STEPS_PER_UNIT:g}, {needed:,} bytes"
            if prediction.kind == "reconstruction":
                picture = to_picture(prediction.output)
                found.append(Cell(f"{name}: {task}", picture, f"{caption}, {psnr(self.original, picture):.2f} dB"))
            elif (drawn := self.pipe.task(task).head.draw(prediction)) is not None:
                found.append(Cell(f"{name}: {task}", overlay(self.original, drawn), caption))
        return found


def shoot(
    pipes: Sequence[Pipeline], data: DataSet, number: int, limits: Sequence[float] = (), *, base_only: bool = False
) -> Shot:
    """One picture through all systems.

    Args:
        pipes: the systems. The first one's files at its whole qualities are the limits, unless there are others.
        data: the data set.
        number: which picture.
        limits: bits per pixel to hold all systems to, instead.
        base_only: if True, files have a base layer only: all that the networks need.
    """
    sample = data[number]
    original = Image.fromarray(sample.picture.permute(1, 2, 0).contiguous().numpy())
    coders = [_Coder(pipe, sample, original, base_only) for pipe in pipes]
    pixels = original.width * original.height
    if limits:
        budgets = [(f"at most {limit:g} bpp", int(limit * pixels / 8)) for limit in sorted(limits)]
    else:
        first = coders[0]
        budgets = [
            (f"{first.pipe.name} at quality {quality:g}", first.bytes(Quality.of(quality).step))
            for quality in whole_qualities(first.pipe)
        ]
    steps = [Step(title, budget, 8 * budget / pixels, _cells(coders, original, budget)) for title, budget in budgets]
    return Shot(sample.key, original, truth(pipes, data, sample, original), steps)


def _cells(coders: Sequence[_Coder], original: Image.Image, limit: int) -> list[Cell]:
    cells = [cell for coder in coders for cell in coder.cells(coder.within(limit))]
    if all(coder.pipe.codec.name != _JPEG for coder in coders):
        jpeg = jpeg_within(original, limit)
        if jpeg is None:
            cells.append(Cell("JPEG", None, "cannot be so small"))
        else:
            caption = f"quality {jpeg.quality}, {jpeg.bytes:,} bytes, {jpeg.psnr:.2f} dB"
            cells.append(Cell("JPEG", jpeg.picture, caption))
    return cells


def truth(pipes: Sequence[Pipeline], data: DataSet, sample: Sample, original: Image.Image) -> Image.Image | None:
    """The data set's class map over the picture in a head's colours, None where no head knows its classes.

    Pixels that count nowhere show the picture.
    """
    if data.kind != "segmentation" or sample.target is None:
        return None
    for pipe in pipes:
        for name in pipe.tasks:
            head = pipe.task(name).head
            numbers = class_numbers(data.labels, head) if head.kind == "segmentation" and head.labels else None
            if numbers is None:
                continue
            target = sample.target.long()
            known = (target != data.ignore_index) & (target < len(numbers))
            classes = torch.tensor(numbers)[torch.where(known, target, 0)]
            logits = functional.one_hot(classes, len(head.labels)).permute(2, 0, 1)[None].float()
            drawn = head.draw(Prediction("segmentation", logits, head.labels))
            if drawn is not None:
                mask = Image.fromarray(known.numpy().astype(np.uint8) * 255)
                return Image.composite(overlay(original, drawn), original, mask)
    return None
