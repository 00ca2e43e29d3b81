"""A batch on its way through a pipeline; what a loss asks for is computed once, and only then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from icm_core.errors import SpecError
from icm_core.interfaces import TaskHead
from icm_core.nests import Nest, floats, shown
from icm_core.pipeline.pipeline import Pipeline
from icm_core.spec.model import FINE
from icm_core.training import Batch
from icm_core.training.noise import noise_of
from icm_core.types import CodecOutput, Features, SideInfo


class Kept:
    """What frozen modules made of fixed views, on the CPU in float16, for the length of a stage.

    Float16 also the first time: a run that was broken off computes again what it had kept, and must go on alike.
    """

    def __init__(self) -> None:
        self._values: dict[tuple[str, int], tuple[Tensor, ...]] = {}

    def get(
        self, name: str, views: Sequence[int], device: torch.device, compute: Callable[[], Sequence[Tensor]]
    ) -> list[Tensor]:
        """Tensors (B, ...) for a batch of views, computed together unless all are there."""
        if any((name, view) not in self._values for view in views):
            made = [tensor.detach().to("cpu", torch.float16) for tensor in compute()]
            for b, view in enumerate(views):
                self._values[name, view] = tuple(tensor[b].clone() for tensor in made)
        rows = [self._values[name, view] for view in views]
        return [torch.stack([t.to(device).float() for t in column]) for column in zip(*rows, strict=True)]


class CodedBatch:
    """A batch whose tasks read side information. See `icm_core.training.Batch`.

    Args:
        pipe: the pipeline.
        pictures: (B, 3, H, W) in [0, 1].
        target: targets as their kind collates them, or None.
        quality: (B,).
        done: share of the stage that is done.
        seeds: of the noise of each picture.
        views: numbers of fixed views, or -1 each.
        kept: where results of frozen modules for fixed views are.
        base: quality of the base layer, (B,), where it is another.
        encoders: the codec's encoders of which this batch draws one; none: the usual one.
    """

    def __init__(
        self,
        pipe: Pipeline,
        pictures: Tensor,
        target: Nest | None,
        quality: Tensor,
        done: float,
        seeds: Sequence[int],
        views: Sequence[int],
        kept: Kept,
        base: Tensor | None = None,
        encoders: Sequence[str] = (),
    ) -> None:
        self._encoder = encoders[seeds[0] % len(encoders)] if encoders else ""
        self._base = quality if base is None else base
        self.pipe, self.pictures, self.target, self.quality, self.done = pipe, pictures, target, quality, done
        self.seeds, self.views, self._kept = seeds, views, kept
        self._found: dict[str, object] = {}

    def _once(self, name: str, compute: Callable[[], object]) -> object:
        if name not in self._found:
            self._found[name] = compute()
        return self._found[name]

    def coded(self) -> CodecOutput:
        """Side information and bits of the codec."""
        return self._once("coded", self._code)  # type: ignore[return-value]

    def _code(self) -> CodecOutput:
        with noise_of(self.seeds):
            codec = self.pipe.codec.with_encoder(self._encoder) if self._encoder else self.pipe.codec
            found: CodecOutput = codec(self.pictures, self._base)
        return found

    def side(self) -> SideInfo:
        """Side information alone: kept from an earlier epoch where codec and views stay as they are."""
        if min(self.views) < 0 or not _frozen(self.pipe.codec):
            return self.coded().side
        levels = self._kept.get(
            f"side {self._encoder}", self.views, self.pictures.device, lambda: self.coded().side.levels
        )
        return SideInfo(tuple(levels), (self.pictures.shape[-2], self.pictures.shape[-1]))

    def features(self, task: str) -> Features:
        """What the task's adapter makes of the side information, and of the pictures that it needs."""
        return self._once(f"features {task}", lambda: self._adapted(task))  # type: ignore[return-value]

    def _adapted(self, task: str) -> Features:
        adapter = self.pipe.task(task).adapter
        pictures = {name: self._decoded(name) for name in adapter.needs}
        found: Features = adapter(replace(self.side(), pictures=pictures) if pictures else self.side())
        return found

    def _decoded(self, name: str) -> Tensor:
        """A picture as it will be decoded, (B, 3, H, W) in [0, 1]."""
        found: Tensor = self.fine()[0] if name == FINE else self.output(name)
        return found.float().clamp(0, 1)

    def outputs(self, task: str) -> tuple[tuple[float, Nest], ...]:
        """Every output of the task's head that training looks at, with its weight."""
        return self._once(f"outputs {task}", lambda: self.pipe.task(task).head.outputs(self.features(task)))  # type: ignore[return-value]

    def output(self, task: str) -> Nest:
        """The output of the task's head; a picture is kept from an earlier epoch where all that makes it is frozen.

        Other outputs are not: their rows need not be pictures, nor their values fit float16.
        """
        owner = self.pipe.task(task)
        still = _frozen(self.pipe.codec) and _frozen(owner) and not owner.adapter.needs
        if not (still and owner.kind.is_picture and min(self.views) >= 0):
            return self.outputs(task)[0][1]
        return self._kept.get(
            f"{task} {self._encoder}", self.views, self.pictures.device, lambda: [self.outputs(task)[0][1]]
        )[0]

    def losses(self, task: str) -> Tensor:
        """The head's own training loss of each picture, (B,)."""
        return self._once(f"losses {task}", lambda: head_losses(self, task))  # type: ignore[return-value]

    def fine(self) -> tuple[Tensor, Tensor]:
        """Refined pictures (B, 3, H, W), not clamped, and the enhancement's estimated bits (B,)."""
        return self._once("fine", self._refine)  # type: ignore[return-value]

    def _refine(self) -> tuple[Tensor, Tensor]:
        if self.pipe.enhancement is None or self.pipe.over is None:
            raise SpecError(f"pipeline {self.pipe.name!r} has no enhancement, so no fine picture to train on")
        coarse = self._decoded(self.pipe.over)
        with noise_of([seed ^ 1 for seed in self.seeds]):
            fine, bits = self.pipe.enhancement(self.pictures, coarse, self.side(), self.quality)
        return fine, bits


class CleanBatch:
    """A batch whose tasks read the clean pictures in place of what their adapters make."""

    def __init__(self, pipe: Pipeline, pictures: Tensor, target: Nest | None, quality: Tensor, done: float) -> None:
        self.pipe, self.pictures, self.target, self.quality, self.done = pipe, pictures, target, quality, done

    def coded(self) -> CodecOutput:
        """Nothing: clean pictures are not coded."""
        raise SpecError("this loss reads coded pictures; its input cannot be 'clean'")

    def fine(self) -> tuple[Tensor, Tensor]:
        """Nothing: clean pictures are not coded."""
        raise SpecError("this loss reads coded pictures; its input cannot be 'clean'")

    def features(self, task: str) -> Features:
        """The picture itself as the map ``image``."""
        head = self.pipe.task(task).head
        if not head.reads_pictures:
            raise SpecError(
                f"the head of task {task!r} reads {', '.join(head.requires)}, so it cannot read clean pictures"
            )
        return Features({"image": self.pictures}, (self.pictures.shape[-2], self.pictures.shape[-1]))

    def outputs(self, task: str) -> tuple[tuple[float, Nest], ...]:
        """Every output of the task's head that training looks at, with its weight."""
        return self.pipe.task(task).head.outputs(self.features(task))

    def output(self, task: str) -> Nest:
        """The output of the task's head."""
        return self.outputs(task)[0][1]

    def losses(self, task: str) -> Tensor:
        """The head's own training loss of each picture, (B,)."""
        return head_losses(self, task)


def head_losses(batch: Batch, task: str) -> Tensor:
    """A head's own training loss of each picture, (B,): of the outputs that the batch has, or of a pass of its own.

    Raises:
        SpecError: the batch has no targets, or the head gives something else.
    """
    owner = batch.pipe.task(task)
    head = owner.head
    target = batch.pictures if owner.kind.is_picture else batch.target
    if target is None:
        raise SpecError(f"the loss of task {task!r} needs targets, and the feed's data sets have none in common")
    if type(head).losses is TaskHead.losses:
        found: Tensor = batch.quality.new_zeros(len(batch.pictures))
        for weight, output in batch.outputs(task):
            found = found + weight * _each(head, head.loss(floats(output), target), len(batch.pictures))
        return found
    return _each(head, head.losses(batch.features(task), target), len(batch.pictures))


def _each(head: TaskHead, values: object, count: int) -> Tensor:
    """What should be one value for each picture."""
    if not (isinstance(values, Tensor) and values.shape == (count,)):
        raise SpecError(
            f"the loss of head {head.name!r} is {shown(values)}; it should be one value a picture, ({count},)"
        )
    return values


def _frozen(module: nn.Module) -> bool:
    return not module.training and not any(parameter.requires_grad for parameter in module.parameters())
