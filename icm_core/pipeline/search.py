"""Encoder-side search: what the tasks of a pipeline want of a picture's side information.

A codec's networks find the side information of any picture in one pass; for one picture there is better to be found, by
gradient descent through the fixed decoders (Campos et al., "Content Adaptive Optimization for Neural Image
Compression", 2019; Yang et al., "Improving Inference for Neural Image Compression", 2020). No label is needed: the
encoder has the clean picture, and with it what each head would say of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from icm_core.errors import InputError
from icm_core.interfaces.pipeline import PipelineView
from icm_core.nests import Nest, floats
from icm_core.quality import Quality
from icm_core.types import Features, SideInfo
from icm_registry import unknown

MAX_EFFORT = 1000
"""Steps of a search; each takes about as long as a step of training on the picture."""


class Objective:
    """Rate, and what tasks lose, as one value per picture: bpp + sum over tasks of lambda(q) * divergence.

    Args:
        pipe: the pipeline.
        x: pictures (B, 3, H, W) in [0, 1].
        quality: their quality.
        tasks: names of the tasks that count; each has a ``search`` in the spec.
    """

    def __init__(self, pipe: PipelineView, x: Tensor, quality: Quality, tasks: Sequence[str]) -> None:
        self.pipe, self.pixels = pipe, x.shape[-2] * x.shape[-1]
        low, high = pipe.codec.quality_range
        share = (quality.value - low) / max(high - low, 1e-9)
        clean = Features({"image": x}, (x.shape[-2], x.shape[-1]))
        self.terms: list[tuple[str, float, Nest]] = []
        for name in tasks:
            first, last = pipe.search_ends(name) or (0.0, 0.0)
            task = pipe.task(name)
            with torch.no_grad():
                answer = x if task.kind.is_picture else floats(task.head(clean))
            self.terms.append((name, first ** (1 - share) * last**share, answer))

    def __call__(self, side: SideInfo, bits: Tensor) -> Tensor:
        """The value of each picture, (B,), for side information and the bits (B,) that it takes."""
        total = bits / self.pixels
        for name, weight, answer in self.terms:
            task = self.pipe.task(name)
            total = total + weight * task.divergence(floats(task(self.pipe.side_for(name, side))), answer)
        return total


def searched_tasks(pipe: PipelineView, effort: int, asked: Sequence[str] | None) -> list[str]:
    """Names of the tasks that a search is for; none without effort.

    Raises:
        InputError: effort or a task cannot be used.
    """
    if not 0 <= effort <= MAX_EFFORT:
        raise InputError(f"effort is {effort}; it should be 0 (no search) to {MAX_EFFORT} steps")
    if not effort:
        if asked is not None:
            raise InputError("a search for tasks needs an effort of 1 or more, and it is 0")
        return []
    if not pipe.codec.searches:
        raise InputError(f"effort is {effort}, and codec {pipe.codec.name!r} has no search; it should be 0")
    known = [name for name in pipe.tasks if pipe.search_ends(name) is not None]
    if not known:
        raise InputError(f"effort is {effort}, and no task of pipeline {pipe.name!r} has a 'search'; it should be 0")
    for name in asked or ():
        if name not in pipe.tasks:
            raise InputError(unknown("task", name, known))
        if name not in known:
            raise InputError(f"there is no search for task {name!r}: the spec gives it none, only {', '.join(known)}")
    if asked is not None and not asked:
        raise InputError(f"a search is for no task; name some of {', '.join(known)}")
    names = known if asked is None else [name for name in known if name in asked]
    for name in names:
        task = pipe.task(name)
        if not task.compares:
            raise InputError(f"there is no search for task {name!r}: answers of kind {task.kind.name} are not compared")
        if not task.kind.is_picture and not task.head.reads_pictures:
            raise InputError(f"there is no search for task {name!r}: its head cannot read the clean picture")
    return names
