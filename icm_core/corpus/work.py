"""What is done for many items, and what comes of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from icm_core.errors import (
    BitstreamError,
    IcmError,
    InputError,
    SpecError,
    TrainingError,
    WeightsError,
    out_of_memory,
)

Item = TypeVar("Item")
Row = TypeVar("Row")

Outcomes = Generator["Outcome[Row]", None, None]
"""What comes of items, as it comes; closing it ends the work."""

Work = Callable[[Sequence[Item]], "Sequence[Row | IcmError]"]
"""A row or an error for each of several items that go together; what else it raises is a bug, and ends everything."""

_FAMILY = (BitstreamError, SpecError, WeightsError, TrainingError, InputError)


@dataclass(frozen=True)
class Place:
    """Where a lane works.

    Attributes:
        number: of the worker, from 0.
        threads: of PyTorch's, for each picture.
    """

    number: int = 0
    threads: int = 1


@dataclass(frozen=True)
class Unit(Generic[Item]):
    """Items that are handed over together.

    Attributes:
        numbers: their numbers, which outcomes have as well.
        items: the items; as text, each is what messages call it.
    """

    numbers: tuple[int, ...]
    items: tuple[Item, ...]

    def apart(self) -> list[Unit[Item]]:
        """Each item by itself."""
        return [Unit((number,), (item,)) for number, item in zip(self.numbers, self.items, strict=True)]


@dataclass(frozen=True)
class Outcome(Generic[Row]):
    """What came of an item: a row, or an error.

    Attributes:
        number: the item's number.
        row: what was found.
        error: why there is no row.
    """

    number: int
    row: Row | None
    error: IcmError | None = None


class Job(ABC, Generic[Item, Row]):
    """What is to be done, as it travels to other processes and machines; it, items and rows are small and picklable."""

    @abstractmethod
    def open(self, place: Place) -> Work[Item, Row]:
        """Load what the work needs, once a lane.

        Raises:
            IcmError: nothing can be done at all; no item is tried.
        """


def outcomes(work: Work[Item, Row], unit: Unit[Item]) -> list[Outcome[Row]]:
    """Do the work for a unit."""
    return [
        Outcome(number, None, plain(found)) if isinstance(found, IcmError) else Outcome(number, found)
        for number, found in zip(unit.numbers, work(unit.items), strict=True)
    ]


def attempt(work: Callable[[Item], Row], item: Item) -> Row | IcmError:
    """Do the work for one item; its `IcmError`, or that memory ran out, is the result."""
    try:
        return work(item)
    except IcmError as error:
        return error
    except (MemoryError, RuntimeError) as error:
        if out_of_memory(error):
            return InputError(f"{item}: not enough memory for a picture of this size")
        raise


def plain(error: IcmError) -> IcmError:
    """The error without what need not travel: of one of the core's own classes, which every process knows."""
    kind = next((one for one in _FAMILY if isinstance(error, one)), IcmError)
    return kind(str(error))
