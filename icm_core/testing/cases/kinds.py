"""Cases of kinds, and kinds by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import torch

from icm_core.errors import SpecError
from icm_core.interfaces import TaskKind
from icm_core.nests import Nest
from icm_core.plugins.own import icm_kinds
from icm_core.plugins.registry import Registry, build_registry
from icm_core.testing.cases.answers import Answers
from icm_core.testing.cases.base import Case
from icm_core.testing.cases.examples import BATCH, SIZES
from icm_core.testing.failing import ConformanceError
from icm_core.types import Legend, Prediction

LABELS = ("first", "second", "third")

COUNT = BATCH + 1


@dataclass(frozen=True)
class KindCase(Case):
    """A kind of answers.

    Args:
        legend: what its targets are made with; by default three labels where the kind needs labels.
        sizes: heights and widths of the pictures that it is tried with.
        wrong: targets that it has to refuse, for pictures of the first size; a few that no kind takes are tried anyway.
        predict: the prediction, of one picture, that a head would give that has to be right for a target of a size;
            needed where the kind has no ``truth``.
    """

    contract: ClassVar[type[Any]] = TaskKind

    legend: Legend | None = field(default=None, kw_only=True)
    sizes: Sequence[tuple[int, int]] = field(default=SIZES, kw_only=True)
    wrong: Sequence[Nest] = field(default=(), kw_only=True)
    predict: Callable[[Nest, tuple[int, int], Legend], Prediction] | None = field(default=None, kw_only=True)

    def build(self) -> TaskKind:
        """The kind."""
        kind: TaskKind = self.cls()
        return kind

    @property
    def words(self) -> Legend:
        """The legend that it is tried with."""
        if self.legend is not None:
            return self.legend
        return Legend(LABELS if self.cls.needs_labels else ())

    def targets(self, size: tuple[int, int], count: int = COUNT) -> list[Nest]:
        """Example targets, one for each picture."""
        return example_targets(self.build(), size, self.words, count)

    def right(self, target: Nest, size: tuple[int, int]) -> Prediction:
        """The prediction that is right for a target."""
        kind = self.build()
        if self.predict is not None:
            return self.predict(target, size, self.words)
        found = kind.truth(target, self.words)
        if found is None and kind.is_picture:
            found = Prediction(kind.name, target[None].float() / 255)
        if found is None:
            raise ConformanceError(
                f"{self.name} has no truth, so that the case cannot make predictions. "
                f"Give it some: KindCase({self.cls.__name__}, predict=lambda target, size, legend: Prediction(...))."
            )
        return found

    def predicted(self, size: tuple[int, int]) -> Answers:
        """Predictions that would be right for the next picture."""
        targets = self.targets(size)
        predictions = [self.right(target, size) for target in (*targets[1:], targets[0])]
        return Answers(self.build(), self.words, size, predictions, targets)


@cache
def installed() -> Registry:
    """What is installed, found once."""
    return build_registry()


def find_kind(name: object, own: TaskKind | type[TaskKind] | None, whose: str) -> TaskKind:
    """A kind by name: the case's own, or one of the core's, or else an installed one.

    Args:
        name: what a head or a data set puts into its ``kind``.
        own: the kind that the case gives, which may not be installed.
        whose: who says so, for the message.

    Raises:
        ConformanceError: there is none, or the case's is another.
    """
    given = own() if isinstance(own, type) else own
    if given is not None:
        if given.name != name:
            raise ConformanceError(
                f"{whose}.kind is {name!r}, and its case has the kind {given.name!r}. Make the two the same."
            )
        return given
    for cls in icm_kinds():
        if cls.name == name:
            return cls()
    known = ", ".join(installed().kinds.names)
    try:
        return installed().kind(str(name))
    except SpecError as error:
        raise ConformanceError(
            f"{whose}.kind is {name!r}. Set kind: ClassVar[str] to the name of a kind that is installed ({known}), or "
            "give the case your own, which need not be: kind=YourKind."
        ) from error


def example_targets(kind: TaskKind, size: tuple[int, int], legend: Legend, count: int) -> list[Nest]:
    """Targets that a kind makes up; the b-th depends on b, size and legend alone."""
    return [kind.example_target(size, legend, torch.Generator().manual_seed(50 + index)) for index in range(count)]


def as_trained(kind: TaskKind, target: Nest, size: tuple[int, int], legend: Legend) -> Nest:
    """A data set's target as a training feed hands it on where nothing is augmented."""
    return kind.unwrap(kind.wrap(target, size), size, legend)
