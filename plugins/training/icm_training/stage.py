"""What one step of a stage computes, as a module, so that any strategy of data parallelism can wrap it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from icm_core.errors import IcmError, SpecError
from icm_core.interfaces import TaskKind
from icm_core.pipeline.pipeline import Pipeline
from icm_core.plugins.lookup import look_up
from icm_core.plugins.registry import Registry
from icm_core.training import Loss
from icm_registry import unknown
from icm_training.batch import CleanBatch, CodedBatch, Kept
from icm_training.feed import RawBatch, seed_of
from icm_training.mixture import Mixture
from icm_training.recipe import FeedSpec, LossSpec, Ramp, StageSpec

Terms = dict[str, Tensor]
"""Means over the pictures of a step: ``loss``, which is minimised, and each term by its label, unweighted."""


@dataclass(frozen=True)
class Term:
    """A loss of a feed.

    Attributes:
        spec: what the recipe says of it.
        label: its name in logs.
        loss: the loss itself.
    """

    spec: LossSpec
    label: str
    loss: Loss


class StageModule(nn.Module):
    """The pipeline of a stage with its losses.

    Args:
        pipe: the pipeline.
        stage: the stage.
        data: the pictures of each feed.
        registry: where losses are looked up.
        where: the stage's path in the recipe, such as ``"stages[2]"``; messages begin with it.

    Raises:
        SpecError: a loss is unknown, its parameters are wrong, or it does not fit its task or data.
    """

    def __init__(
        self, pipe: Pipeline, stage: StageSpec, data: Sequence[Mixture], registry: Registry, where: str
    ) -> None:
        super().__init__()
        self.pipe = pipe
        self.kinds = [own.of for own in data]
        self.feeds = [
            _terms(pipe, feed, own, registry, f"{where}.feeds[{number}]", _prefix(feed) if len(data) > 1 else "")
            for number, (feed, own) in enumerate(zip(stage.feeds, data, strict=True))
        ]
        self.losses = nn.ModuleList(term.loss for terms in self.feeds for term in terms)
        self.kept = [Kept() for _ in stage.feeds]
        self.bounds = pipe.codec.quality_range
        self.base = stage.quality.base
        self.encoders = stage.encoders
        for name in stage.encoders:
            check_encoder(pipe, name, where)

    def forward(self, raw: Sequence[RawBatch], done: float) -> Terms:
        """The terms of one step.

        Args:
            raw: one batch for each feed, on the pipeline's device.
            done: share of the stage that is done.
        """
        total: Tensor | None = None
        found: Terms = {}
        for terms, kind, batch, kept in zip(self.feeds, self.kinds, raw, self.kept, strict=True):
            pictures = (batch.pictures.float() / 255).contiguous(memory_format=torch.channels_last)
            quality = pictures.new_tensor(batch.quality)
            base = None if self.base is None else pictures.new_tensor(base_qualities(batch, self.base))
            coded = CodedBatch(
                self.pipe, pictures, batch.target, quality, done, batch.seeds, batch.views, kept, base, self.encoders
            )
            for term in terms:
                value, mean = self._value(term, coded, kind, batch.numbers)
                found[term.label] = mean.detach()
                total = value if total is None else total + value
        if total is None:
            raise SpecError("a stage needs a loss")
        return {"loss": total, **found}

    def _value(
        self, term: Term, coded: CodedBatch, kind: TaskKind | None, numbers: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """The term's part of the objective, and its plain mean."""
        spec, share = term.spec, term.spec.share
        chosen = [
            b for b, number in enumerate(numbers) if math.floor((number + 1) * share) > math.floor(number * share)
        ]
        if not chosen:
            # With a gradient, of nothing: this may be all that the step has on this device.
            zero = coded.pictures.new_zeros((), requires_grad=True)
            return zero, zero
        if spec.input == "clean":
            target = None if kind is None else kind.select(coded.target, chosen)
            clean = CleanBatch(coded.pipe, coded.pictures[chosen], target, coded.quality[chosen], coded.done)
            each = term.loss(clean)
        else:
            each = term.loss(coded)[chosen]
        weight = spec.weight.at(coded.done) if isinstance(spec.weight, Ramp) else spec.weight
        factors = weight * by_quality(coded.quality[chosen], spec.by_quality, self.bounds)
        # Divided by the number of pictures that are chosen on average, so that means do not depend on the devices.
        return (each * factors).sum() / (share * len(numbers)), each.mean()


def check_encoder(pipe: Pipeline, name: str, where: str) -> None:
    """Raise `SpecError` if the codec has no such encoder."""
    try:
        pipe.codec.with_encoder(name)
    except IcmError as error:
        raise SpecError(f"{where}.encoders: {error}") from error


def base_qualities(batch: RawBatch, ends: tuple[float, float]) -> list[float]:
    """A quality of the base layer for each picture, drawn apart; that of a fixed view is the same in every epoch."""
    found = []
    for seed, view in zip(batch.seeds, batch.views, strict=True):
        generator = torch.Generator().manual_seed(seed_of(view if view >= 0 else seed, "base"))
        found.append(ends[0] + (ends[1] - ends[0]) * float(torch.rand((), generator=generator)))
    return found


def by_quality(quality: Tensor, ends: tuple[float, float] | None, bounds: tuple[float, float]) -> Tensor:
    """A factor of each picture, (B,): geometric between the ends, from the lowest to the highest quality."""
    if ends is None:
        return torch.ones_like(quality)
    low, high = bounds
    share = ((quality - low) / max(high - low, 1e-9)).clamp(0, 1)
    return torch.exp(math.log(ends[0]) * (1 - share) + math.log(ends[1]) * share)


def _terms(pipe: Pipeline, feed: FeedSpec, data: Mixture, registry: Registry, where: str, prefix: str) -> list[Term]:
    terms: list[Term] = []
    for number, spec in enumerate(feed.losses):
        place = f"{where}.losses[{number}]"
        found = look_up(spec.use, spec.params, registry.losses, place, registry=registry)
        _check(pipe, spec, place)
        label = prefix + (spec.label or _label(spec))
        if any(term.label == label for term in terms):
            raise SpecError(f"{place}: two losses of a feed are called {label!r}; give them labels")
        try:
            loss = found.cls(found.params, pipe, spec.task, data)
        except IcmError as error:
            raise type(error)(f"{place}: {error}") from error
        terms.append(Term(spec, label, loss))
    return terms


def _check(pipe: Pipeline, spec: LossSpec, place: str) -> None:
    """What can be said of a loss without it."""
    if spec.task is not None and spec.task not in pipe.tasks:
        raise SpecError(f"{place}.task: {unknown('task', spec.task, pipe.tasks)}")
    if spec.by_quality is not None and min(spec.by_quality) <= 0:
        raise SpecError(f"{place}.by_quality is {spec.by_quality}; both factors should be above 0")
    if spec.input == "clean":
        if spec.task is None:
            raise SpecError(f"{place}.input is 'clean', which is for losses of a task; this one names none")
        head = pipe.task(spec.task).head
        if not head.reads_pictures:
            raise SpecError(
                f"{place}.input is 'clean', and the head of task {spec.task!r} reads {', '.join(head.requires)}; it "
                "should be one that reads an image alone"
            )


def _prefix(feed: FeedSpec) -> str:
    return "+".join(source if isinstance(source, str) else source.name for source in feed.data) + ": "


def _label(spec: LossSpec) -> str:
    parts = [spec.use.rpartition(".")[2], spec.task or "", "clean" if spec.input == "clean" else ""]
    return "/".join(part for part in parts if part)
