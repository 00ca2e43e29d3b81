"""Losses that recipes name. Each gives one value per picture, so that means do not depend on how batches are cut."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from icm_core.errors import SpecError
from icm_core.interfaces import ComponentParams, DataSet, TaskHead
from icm_core.pipeline.pipeline import Pipeline
from icm_core.training import Batch, Loss
from icm_core.types import Features

COUNTED = 500
"""Pictures of a data set that class weights are made from, evenly spread."""

MAX_CLASS_WEIGHT = 10.0


def _task(loss: str, task: str | None) -> str:
    if task is None:
        raise SpecError(f"loss {loss!r} needs the task that it is about")
    return task


def _target(loss: str, batch: Batch) -> Tensor:
    if batch.target is None:
        raise SpecError(f"loss {loss!r} needs targets, and the feed's data sets have none in common")
    return batch.target


class Rate(Loss):
    """Rate in bits per pixel: R_side, the enhancement's, or both (Eq. 12, 25)."""

    name: ClassVar[str] = "training.rate"

    class Params(ComponentParams):
        """Whose bits count."""

        of: Literal["side", "enhancement", "all"] = Field("side", description="base layer, enhancement layer, or both")

    params: Params

    def forward(self, batch: Batch) -> Tensor:
        """Estimated bits over the pixels of each picture, (B,)."""
        pixels = batch.pictures.shape[-1] * batch.pictures.shape[-2]
        bits = batch.quality.new_zeros(len(batch.pictures))
        if self.params.of != "enhancement":
            bits = bits + batch.coded().total_bits
        if self.params.of != "side":
            bits = bits + batch.fine()[1]
        return bits / pixels


class SquaredError(Loss):
    """Mean squared error in grey levels (of 255) against the picture."""

    name: ClassVar[str] = "training.mse"

    class Params(ComponentParams):
        """What is compared."""

        of: Literal["output", "image", "fine"] = Field(
            "output",
            description="the task's output, the semantic image that its adapter makes, or the fine picture",
        )

    params: Params

    def forward(self, batch: Batch) -> Tensor:
        """Squared error of each picture, (B,)."""
        if self.params.of == "fine":
            found = batch.fine()[0]
        elif self.params.of == "image":
            found = batch.features(_task(self.name, self.task)).cropped("image")
        else:
            found = batch.output(_task(self.name, self.task))
        return (found.float() - batch.pictures).square().flatten(1).mean(1) * 255**2


class HeadLoss(Loss):
    """The loss that the task's head defines itself, over all outputs that it trains with."""

    name: ClassVar[str] = "training.head"

    def forward(self, batch: Batch) -> Tensor:
        """The head's own loss of each picture, (B,)."""
        task = _task(self.name, self.task)
        head: TaskHead = batch.pipe.task(task).head
        target = batch.pictures if head.kind == "reconstruction" else _target(self.name, batch)
        total = batch.quality.new_zeros(len(batch.pictures))
        for weight, output in batch.outputs(task):
            values = [head.loss(output[b : b + 1].float(), target[b : b + 1]) for b in range(len(output))]
            total = total + weight * torch.stack(values)
        return total


class CrossEntropy(Loss):
    """Cross-entropy in nats over all outputs of a classification or segmentation head; ignored pixels do not count.

    With ``class_weights = "root_median"`` a class counts by the root of the median class's share of pixels over its
    own, taken from up to 500 pictures of the feed.
    """

    name: ClassVar[str] = "training.cross_entropy"

    class Params(ComponentParams):
        """Weighting of classes, smoothing of labels."""

        class_weights: Literal["equal", "root_median"] = Field("equal", description="how much each class counts")
        label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over all classes")
        output: int | None = Field(
            None,
            ge=0,
            description="number of the head's output that counts, alone and with weight 1; None: all of them",
        )

    params: Params
    weights: Tensor

    def __init__(self, params: Params, pipe: Pipeline, task: str | None, data: DataSet) -> None:
        super().__init__(params, pipe, task, data)
        head = pipe.task(_task(self.name, task)).head
        if head.kind == "reconstruction":
            raise SpecError(f"task {task!r} makes pictures; cross-entropy is of classification and segmentation")
        classes = len(head.labels)
        if data.labels and len(data.labels) != classes:
            raise SpecError(f"task {task!r} has {classes} classes, and the data set has {len(data.labels)}")
        self.ignore = -100 if data.ignore_index is None else data.ignore_index
        weights = _class_weights(data, classes, self.ignore) if params.class_weights != "equal" else torch.ones(classes)
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        """Weighted mean over the pixels of each picture, (B,)."""
        target = _target(self.name, batch)
        total = batch.quality.new_zeros(len(batch.pictures))
        counted = target != self.ignore
        share = (self.weights[torch.where(counted, target, 0)] * counted).flatten(1) if target.ndim > 1 else None
        for weight, output in self._outputs(batch):
            values = F.cross_entropy(
                output.float(),
                target,
                self.weights,
                ignore_index=self.ignore,
                reduction="none",
                label_smoothing=self.params.label_smoothing,
            )
            mean = values if share is None else values.flatten(1).sum(1) / share.sum(1).clamp_min(1e-6)
            total = total + weight * mean
        return total

    def _outputs(self, batch: Batch) -> Sequence[tuple[float, Tensor]]:
        outputs = batch.outputs(_task(self.name, self.task))
        if (number := self.params.output) is None:
            return outputs
        if number >= len(outputs):
            raise SpecError(f"output is {number}; the head of task {self.task!r} has {len(outputs)}, counted from 0")
        return [(1.0, outputs[number][1])]


class Distillation(Loss):
    """Kullback-Leibler divergence from what the head said of the clean picture before the stage began, in nats."""

    name: ClassVar[str] = "training.distillation"

    class Params(ComponentParams):
        """Softness of the teacher."""

        temperature: float = Field(1.0, gt=0, le=100, description="divides the logits of teacher and student")

    params: Params

    def __init__(self, params: Params, pipe: Pipeline, task: str | None, data: DataSet) -> None:
        super().__init__(params, pipe, task, data)
        head = pipe.task(_task(self.name, task)).head
        if head.kind == "reconstruction" or set(head.requires) != {"image"}:
            raise SpecError(f"task {task!r} cannot be distilled: its head must classify what it reads as an image")
        self.teacher = copy.deepcopy(head).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Distillation:
        """The teacher stays in inference."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, batch: Batch) -> Tensor:
        """Divergence of each picture, the mean over its pixels where there are many, (B,)."""
        heat = self.params.temperature
        size = (batch.pictures.shape[-2], batch.pictures.shape[-1])
        with torch.no_grad():
            answer = self.teacher(Features({"image": batch.pictures}, size)).float() / heat
        total = batch.quality.new_zeros(len(batch.pictures))
        for weight, output in batch.outputs(_task(self.name, self.task)):
            total = total + weight * heat**2 * self.teacher.divergence(output.float() / heat, answer)
        return total


def _class_weights(data: DataSet, classes: int, ignore: int) -> Tensor:
    counts = torch.zeros(classes, dtype=torch.float64)
    for number in torch.linspace(0, len(data) - 1, min(len(data), COUNTED)).long().tolist():
        target = data[number].target
        if target is not None:
            values = target.reshape(-1).long()
            counts += torch.bincount(values[values != ignore], minlength=classes)[:classes]
    # A class that hardly occurs would otherwise outweigh all others where it does.
    return (counts.median() / counts.clamp_min(1)).sqrt().clamp_max(MAX_CLASS_WEIGHT).float()
