"""Several data sets seen as one, and data sets kept in memory."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from icm_core.errors import SpecError
from icm_core.interfaces import ComponentParams, DataSet, Sample


class Mixture(DataSet):
    """Data sets one after the other; targets are kept where all have them of one kind with the same classes.

    Args:
        parts: the data sets; one may stand more than once.

    Raises:
        SpecError: they have targets of one kind but differ in their classes.
    """

    name: ClassVar[str] = "training.mixture"
    kind: ClassVar[str] = "pictures"

    def __init__(self, parts: Sequence[DataSet]) -> None:
        super().__init__(ComponentParams(), Path(), "")
        self.parts = tuple(parts)
        self.has_targets = len({part.kind for part in parts}) == 1 and parts[0].kind != "pictures"
        if self.has_targets:
            for part in parts[1:]:
                if (part.labels, part.ignore_index) != (parts[0].labels, parts[0].ignore_index):
                    raise SpecError(
                        f"the data sets {parts[0].name} and {part.name} of one feed differ in their classes"
                    )
        self._ends = list(itertools.accumulate(len(part) for part in parts))

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in order."""
        return self.parts[0].labels if self.has_targets else ()

    @property
    def ignore_index(self) -> int | None:
        """Value in class maps that counts nowhere."""
        return self.parts[0].ignore_index if self.has_targets else None

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, number: int) -> Sample:
        index = bisect.bisect_right(self._ends, number)
        sample = self.parts[index][number - (self._ends[index - 1] if index else 0)]
        return sample if self.has_targets else Sample(sample.key, sample.picture, None)


class InMemory(DataSet):
    """A data set whose pictures are decoded once, before worker processes share its memory.

    Args:
        data: the data set.
    """

    name: ClassVar[str] = "training.in_memory"
    kind: ClassVar[str] = "pictures"

    def __init__(self, data: DataSet) -> None:
        super().__init__(data.params, data.root, data.split)
        self.__dict__["kind"] = data.kind  # what it holds decides, not its class
        self._labels, self._ignore_index = data.labels, data.ignore_index
        self._samples = [data[number] for number in range(len(data))]

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in order."""
        return self._labels

    @property
    def ignore_index(self) -> int | None:
        """Value in class maps that counts nowhere."""
        return self._ignore_index

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, number: int) -> Sample:
        return self._samples[number]


def in_memory(data: DataSet, limit: float) -> DataSet:
    """The data set itself, or a copy in memory where that takes fewer bytes than ``limit`` (by its first picture)."""
    if len(data) == 0:
        return data
    first = data[0]
    target = first.target.numel() * first.target.element_size() if first.target is not None else 0
    return InMemory(data) if (first.picture.numel() + target) * len(data) <= limit else data
