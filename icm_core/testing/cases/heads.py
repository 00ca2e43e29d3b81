"""Cases of task heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from icm_core.interfaces import SideInfoAdapter, TaskHead, TaskKind
from icm_core.nests import Nest, paths
from icm_core.pipeline.pipeline import Task
from icm_core.testing.cases.answers import Answers
from icm_core.testing.cases.components import ComponentCase
from icm_core.testing.cases.examples import BATCH, LAYOUT, Example, Parts, noise, pictures, qualities
from icm_core.testing.cases.kinds import COUNT, as_trained, example_targets, find_kind
from icm_core.testing.failing import ConformanceError
from icm_core.testing.nests import row_of
from icm_core.types import Features, Legend, Level

USUAL: Mapping[str, Level] = {"image": Level(3, 1)}
"""Features that any adapter can be expected to deliver."""


@dataclass(frozen=True)
class HeadCase(ComponentCase):
    """A task head.

    Args:
        features: the maps that it is built for; not needed by a head that requires the map ``image`` alone.
        alignment: pictures are padded to multiples of this, as by a codec.
        kind: the kind of its answers, where it is not installed.
        legend: what example targets are made with, for a head that does not name its classes or values; by default
            the head's own.
    """

    contract: ClassVar[type[Any]] = TaskHead

    features: Mapping[str, Level] | None = field(default=None, kw_only=True)
    alignment: int = field(default=LAYOUT.alignment, kw_only=True)
    kind: TaskKind | type[TaskKind] | None = field(default=None, kw_only=True)
    legend: Legend | None = field(default=None, kw_only=True)

    @property
    def layout(self) -> dict[str, Level]:
        """The features of the head's adapter."""
        if self.features is not None:
            return dict(self.features)
        unusual = [name for name in self.cls.requires if name not in USUAL]
        if unusual:
            raise ConformanceError(
                f"{self.name} requires the features {unusual}, of which the kit knows nothing. "
                "Give the case the channels and strides of all that it requires: "
                "HeadCase(..., features={name: Level(channels, stride)})."
            )
        return {name: USUAL[name] for name in self.cls.requires}

    @property
    def answering(self) -> TaskKind:
        """The kind of the head's answers."""
        return find_kind(self.cls.kind_of(self.settings()), self.kind, self.name)

    def words(self, component: Any) -> Legend:
        """The legend that targets are made with."""
        return self.legend if self.legend is not None else component.legend

    def task(self, component: Any) -> Task:
        """The head as a pipeline has it, whose answers are asked by features; there is no adapter."""
        return Task(cast(SideInfoAdapter, nn.Identity()), component, self.answering)

    def construct(self, params: Any) -> Any:
        """The head behind an adapter of the case's features."""
        return self.cls(params, self.layout)

    def example(self, component: Any, size: tuple[int, int], batch: int = BATCH) -> Example:
        """Random features, and a target for the loss."""
        kind = self.answering
        height, width = (-(-side // self.alignment) * self.alignment for side in size)
        maps = {}
        for index, (name, level) in enumerate(self.layout.items()):
            shape = level.at(height, width)
            picture = level == Level(3, 1)
            maps[name] = pictures(shape, batch) if picture else noise((level.channels, *shape), batch, 100 + index)
        quality, rows = qualities(1.0, 4.0, batch)
        example = Example(size, quality, rows, pictures(size, batch), features=Features(maps, size))
        return replace(example, target=self.target(component, size, batch), select=kind.select)

    def target(self, component: Any, size: tuple[int, int], batch: int) -> Nest:
        """Targets that the kind makes up, as a training feed batches them."""
        kind, legend = self.answering, self.words(component)
        if kind.is_picture:
            # Not the picture itself: a head that hands its input on would have no error, and an infinite PSNR.
            return 0.9 * pictures(size, batch) + 0.05
        return kind.collate(
            [as_trained(kind, target, size, legend) for target in example_targets(kind, size, legend, batch)]
        )

    def run(self, component: Any, example: Example) -> Parts:
        """The tensors of the output, by where they are in it."""
        return {_named(where): tensor for where, tensor in paths(component(example.features)).items()}

    def shapes(self, component: Any, example: Example) -> None:
        """Nothing: what training sees is between the head and its loss; see `complaint`."""

    def complaint(self, component: Any, example: Example) -> str | None:
        """What the kind has against the predictions."""
        found = component.predict(example.features)
        try:
            self.answering.check_prediction(found, example.size, len(example.pictures))
        except ValueError as error:
            return f"the prediction {error}"
        return None

    def objective(self, component: Any, example: Example) -> Tensor:
        """The head's own loss, from its training pass."""
        loss: Tensor = component.losses(example.features, example.target)
        return loss.mean()

    def answers(self, component: Any, example: Example) -> dict[str, Nest]:
        """The output as training sees it, and the prediction's."""
        return {"output": component(example.features), "prediction": component.predict(example.features).output}

    def pick(self, name: str, together: Nest, alone: Nest, index: int) -> Nest:
        """Predictions as their kind takes them apart, other outputs as they are built."""
        if name == "prediction":
            return self.answering.select(together, [index])
        return row_of(together, alone, index)

    @property
    def one_pass(self) -> bool:
        """Whether the head makes its loss in its own pass over features and targets."""
        return self.cls.losses is not TaskHead.losses

    def needs_values(self) -> bool:
        """Heads that make their loss in one pass may answer with things that they thinned out by their scores."""
        return self.one_pass

    def unordered(self) -> bool:
        """Whether predictions are lists of things."""
        return self.answering.ragged

    def predicted(self, size: tuple[int, int]) -> Answers:
        """Predictions of single pictures, as a pipeline gives them, with targets of the same size."""
        component, kind = self.build(), self.answering
        legend, task, example = self.words(component), self.task(component), self.example(component, size, COUNT)
        with torch.no_grad():
            found = [task.answer(features) for index in range(COUNT) if (features := example.one(index).features)]
        targets = example_targets(kind, size, legend, COUNT)
        if kind.is_picture:
            targets = [(255 * target).round().to(torch.uint8) for target in self.target(component, size, COUNT)]
        return Answers(kind, legend, size, found, targets)


def _named(where: str) -> str:
    """The name of a tensor of the output: ``"output"``, ``"output.boxes"``, ``"output[0].boxes"``."""
    return f"output.{where}" if where and not where.startswith("[") else f"output{where}"
