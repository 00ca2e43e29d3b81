"""Several data sets seen as one, and data sets kept in memory."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from icm_core.errors import SpecError
from icm_core.interfaces import ComponentParams, DataSet, Sample, TaskKind
from icm_core.interfaces.dataset import PICTURES
from icm_core.nests import tensors
from icm_core.plugins.registry import Registry
from icm_core.types import Legend


class Held(DataSet):
    """What stands for other data sets: kind and legend are theirs.

    Args:
        kind: name of their kind.
        legend: what the numbers in their targets mean.
    """

    name: ClassVar[str] = "training.held"

    def __init__(self, kind: str, legend: Legend) -> None:
        super().__init__(ComponentParams(), Path(), "")
        self._kind, self._legend = kind, legend

    @property
    def kind(self) -> str:  # type: ignore[override]
        """Name of the kind of the targets."""
        return self._kind

    @property
    def legend(self) -> Legend:
        """What the numbers in targets mean."""
        return self._legend

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes or values, in order."""
        return self._legend.labels

    @property
    def unit(self) -> str:
        """Unit of the targets' values."""
        return self._legend.unit

    @property
    def ignore_index(self) -> float | None:
        """Value in targets that counts nowhere."""
        return self._legend.ignore


class Mixture(Held):
    """Data sets one after the other; targets are kept where one kind serves for all of them.

    Data sets of one kind are of that kind. Those of several are of the first kind whose heads can be trained on all of
    them (`TaskKind.also`), such as boxes for boxes and outlines together.

    Args:
        parts: the data sets, at least one; one may stand more than once.
        registry: where their kinds are looked up.

    Raises:
        SpecError: a kind is not registered, or they have targets of one kind that mean different things.

    Attributes:
        of: kind of the targets, None where there are none.
        serves: names of the kinds whose heads can be trained on the targets.
    """

    name: ClassVar[str] = "training.mixture"

    def __init__(self, parts: Sequence[DataSet], registry: Registry) -> None:
        self.parts = tuple(parts)
        self._kinds = [None if part.kind == PICTURES else registry.kind(part.kind, part.name) for part in parts]
        common = _common(self._kinds)
        self.of: TaskKind | None = None if common is None else registry.kind(common)
        self.serves: tuple[str, ...] = () if self.of is None else _serves(self.of)
        if self.of is not None:
            for part in parts[1:]:
                if (differ := _difference(part.legend, parts[0].legend)) is not None:
                    raise SpecError(f"the data sets {parts[0].name} and {part.name} of one feed differ in {differ}")
        super().__init__(common or PICTURES, parts[0].legend if self.of is not None else Legend())
        self._ends = list(itertools.accumulate(len(part) for part in parts))

    def kind_at(self, number: int) -> TaskKind | None:
        """The kind of a picture's own target, which knows all that the target has; None where there is none."""
        return None if self.of is None else self._kinds[bisect.bisect_right(self._ends, number)]

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, number: int) -> Sample:
        index = bisect.bisect_right(self._ends, number)
        sample = self.parts[index][number - (self._ends[index - 1] if index else 0)]
        return sample if self.of is not None else Sample(sample.key, sample.picture, None)


class InMemory(Held):
    """A data set whose pictures are decoded once, before worker processes share its memory.

    Args:
        data: the data set.
        count: so many pictures, the first ones; by default all.
    """

    name: ClassVar[str] = "training.in_memory"

    def __init__(self, data: DataSet, count: int | None = None) -> None:
        super().__init__(data.kind, data.legend)
        self.name = data.name  # type: ignore[misc]  # messages name the data set itself
        self._samples = [data[number] for number in range(len(data) if count is None else count)]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, number: int) -> Sample:
        return self._samples[number]


def in_memory(data: DataSet, limit: float) -> DataSet:
    """The data set itself, or a copy in memory where that takes fewer bytes than ``limit`` (by its first picture)."""
    if len(data) == 0:
        return data
    first = data[0]
    size = sum(tensor.nbytes for tensor in tensors([first.picture, first.target]))
    return InMemory(data) if size * len(data) <= limit else data


def served(data: DataSet) -> tuple[str, ...]:
    """Names of the kinds whose heads can be trained on a data set's targets, as far as it tells."""
    if isinstance(data, Mixture):
        return data.serves
    return () if data.kind == PICTURES else (data.kind,)


def _serves(kind: TaskKind) -> tuple[str, ...]:
    return (kind.name, *kind.also)


def _common(kinds: Sequence[TaskKind | None]) -> str | None:
    """The first kind that serves for all, None if there is none."""
    names = [() if kind is None else _serves(kind) for kind in kinds]
    return next((name for name in names[0] if all(name in others for others in names)), None)


def _difference(one: Legend, other: Legend) -> str | None:
    if one.labels != other.labels:
        return "their classes"
    if one.ignore != other.ignore:
        return "the value that counts nowhere"
    return "the unit of their values" if one.unit != other.unit else None
