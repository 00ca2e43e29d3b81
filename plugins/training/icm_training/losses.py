"""Losses that recipes name. Each gives one value per picture, so that means do not depend on how batches are cut."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from icm_core.errors import SpecError
from icm_core.interfaces import ComponentParams, DataSet, PipelineView
from icm_core.kinds import Classification, Segmentation
from icm_core.nests import Nest, floats, map_tensors
from icm_core.training import Batch, Loss
from icm_core.types import Features
from icm_training.fitting import (
    Of,
    check_enhancement,
    check_number,
    check_output,
    check_picture,
    check_targets,
    named,
    picture_of,
)

COUNTED = 500
"""Pictures of a data set that class weights are made from, evenly spread."""

MAX_CLASS_WEIGHT = 10.0


class Rate(Loss):
    """Rate in bits per pixel: R_side, the enhancement's, or both (Eq. 12, 25)."""

    name: ClassVar[str] = "training.rate"

    class Params(ComponentParams):
        """Whose bits count."""

        of: Literal["side", "enhancement", "all"] = Field("side", description="base layer, enhancement layer, or both")

    params: Params

    def __init__(self, params: Params, pipe: PipelineView, task: str | None, data: DataSet) -> None:
        super().__init__(params, pipe, task, data)
        if params.of != "side":
            check_enhancement(pipe)

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

        of: Of = Field(
            "output",
            description="the task's output, which is a picture, the semantic image that its adapter makes, or the fine "
            "picture",
        )

    params: Params

    def __init__(self, params: Params, pipe: PipelineView, task: str | None, data: DataSet) -> None:
        super().__init__(params, pipe, task, data)
        check_picture(self.name, params.of, pipe, task)

    def forward(self, batch: Batch) -> Tensor:
        """Squared error of each picture, (B,)."""
        found = picture_of(batch, self.params.of, self.task)
        return (found.float() - batch.pictures).square().flatten(1).mean(1) * 255**2


class HeadLoss(Loss):
    """The loss that the task's head defines itself, over all outputs that it trains with, for a head of any kind."""

    name: ClassVar[str] = "training.head"

    def __init__(self, params: ComponentParams, pipe: PipelineView, task: str | None, data: DataSet) -> None:
        super().__init__(params, pipe, task, data)
        check_targets(pipe, named(self.name, task), data)

    def forward(self, batch: Batch) -> Tensor:
        """The head's own loss of each picture, (B,)."""
        return batch.losses(named(self.name, self.task))


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
        output: Annotated[int, Field(ge=0)] | Literal["last"] | None = Field(
            None,
            description="which of the head's outputs counts, alone and with weight 1: its number, from 0, or 'last', "
            "which of a head with one output is that one; None: all of them",
        )

    params: Params
    weights: Tensor

    def __init__(self, params: Params, pipe: PipelineView, task: str | None, data: DataSet) -> None:
        super().__init__(params, pipe, task, data)
        owner = pipe.task(named(self.name, task))
        if not isinstance(owner.kind, (Classification, Segmentation)):
            raise SpecError(
                f"task {task!r} is of kind {owner.kind.name}; cross-entropy is of classification and segmentation"
            )
        check_targets(pipe, named(self.name, task), data)
        if isinstance(params.output, int):
            check_output(owner.head, named(self.name, task), params.output)
        classes = len(owner.head.labels)
        self.ignore = -100 if data.ignore_index is None else int(data.ignore_index)
        weights = _class_weights(data, classes, self.ignore) if params.class_weights != "equal" else torch.ones(classes)
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        """Weighted mean over the pixels of each picture, (B,)."""
        target = batch.target
        if target is None:
            raise SpecError(f"loss {self.name!r} needs targets, and the feed's data sets have none in common")
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
        outputs = batch.outputs(named(self.name, self.task))
        if (number := self.params.output) is None:
            return outputs
        if number == "last":
            return [(1.0, outputs[-1][1])]
        check_number(number, len(outputs), self.task)
        return [(1.0, outputs[number][1])]


class Distillation(Loss):
    """Divergence from what the head said of the clean picture before the stage began, as the head or its kind has it.

    Of classes it is the Kullback-Leibler divergence in nats.
    """

    name: ClassVar[str] = "training.distillation"

    class Params(ComponentParams):
        """Softness of the teacher."""

        temperature: float = Field(
            1.0,
            gt=0,
            le=100,
            description="divides the logits of teacher and student; of other answers it is 1",
        )

    params: Params

    def __init__(self, params: Params, pipe: PipelineView, task: str | None, data: DataSet) -> None:
        super().__init__(params, pipe, task, data)
        owner = pipe.task(named(self.name, task))
        if not owner.compares:
            raise SpecError(f"task {task!r} cannot be distilled: answers of kind {owner.kind.name} are not compared")
        if not owner.head.reads_pictures:
            raise SpecError(
                f"task {task!r} cannot be distilled: its head reads {', '.join(owner.head.requires)}, and "
                "the teacher reads clean pictures"
            )
        if params.temperature != 1 and not isinstance(owner.kind, (Classification, Segmentation)):
            raise SpecError(
                f"temperature is {params.temperature:g}, and task {task!r} is of kind {owner.kind.name}; it should be "
                "1 for answers that are no classes"
            )
        self.teacher = copy.deepcopy(owner.head).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Distillation:
        """The teacher stays in inference."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, batch: Batch) -> Tensor:
        """Divergence of each picture, the mean over its pixels where there are many, (B,)."""
        task = named(self.name, self.task)
        heat = self.params.temperature
        size = (batch.pictures.shape[-2], batch.pictures.shape[-1])
        with torch.no_grad():
            answer = _cooled(self.teacher(Features({"image": batch.pictures}, size)), heat)
        total = batch.quality.new_zeros(len(batch.pictures))
        for weight, output in batch.outputs(task):
            total = total + weight * heat**2 * batch.pipe.task(task).divergence(_cooled(output, heat), answer)
        return total


def _cooled(output: Nest, heat: float) -> Nest:
    return floats(output) if heat == 1 else map_tensors(lambda tensor: tensor / heat, floats(output))


def _class_weights(data: DataSet, classes: int, ignore: int) -> Tensor:
    counts = torch.zeros(classes, dtype=torch.float64)
    for number in torch.linspace(0, len(data) - 1, min(len(data), COUNTED)).long().tolist():
        target = data[number].target
        if target is not None:
            values = target.reshape(-1).long()
            counts += torch.bincount(values[values != ignore], minlength=classes)[:classes]
    # A class that hardly occurs would otherwise outweigh all others where it does.
    return (counts.median() / counts.clamp_min(1)).sqrt().clamp_max(MAX_CLASS_WEIGHT).float()
