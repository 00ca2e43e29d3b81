"""Units to workers that are free, and what to do about one that ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from icm_core.corpus.work import Item, Outcome, Outcomes, Row, Unit
from icm_core.errors import IcmError, InputError

GivenItem = TypeVar("GivenItem", contravariant=True)
FoundRow = TypeVar("FoundRow", covariant=True)

_AHEAD = 2
"""Units that a worker has: the one that it works on, and the next, so that it need not wait for us."""


@dataclass(frozen=True)
class Opened:
    """A worker has loaded what it needs."""


@dataclass(frozen=True)
class Refused:
    """A worker cannot work at all, and neither could another."""

    error: IcmError


@dataclass(frozen=True)
class Broken:
    """A worker met a bug; `text` is its traceback."""

    text: str


@dataclass(frozen=True)
class Ended:
    """A worker is gone; `why` is a clause."""

    why: str


@dataclass(frozen=True)
class Done(Generic[FoundRow]):
    """A worker has done the oldest of its units."""

    outcomes: list[Outcome[FoundRow]]


Event = Opened | Refused | Broken | Ended | Done[Row]


class Crew(Protocol[Item, Row]):
    """Workers, by number, that do their units in the order in which they were given."""

    def give(self, worker: int, unit: Unit[Item]) -> None:
        """Hand a unit over; whether it arrived is told by `events`."""

    def events(self) -> list[tuple[int, Event[Row]]]:
        """What has happened, of each worker in order; waits until something has."""

    def replace(self, worker: int) -> None:
        """Begin a new worker in the place of one that ended."""

    @property
    def alive(self) -> int:
        """How many there are, those that are still loading among them."""

    def close(self) -> None:
        """End all workers; what they are writing is whole, or not there."""


def dispatch(begin: Callable[[], Crew[Item, Row]], units: Iterable[Unit[Item]]) -> Outcomes[Row]:
    """Outcomes as they come, of a crew that begins with the first that is asked for.

    A worker that ends by itself has its item named, and is replaced; of several items that were handed over together,
    each is tried again by itself.

    Raises:
        IcmError: a worker says that nothing can be done, or none of them could begin.
        RuntimeError: a worker met a bug; the message is its traceback.
    """
    source, again = iter(units), deque[Unit[Item]]()
    held: dict[int, deque[Unit[Item]]] = {}
    following = next(source, None)
    crew = begin()
    try:
        while again or following is not None or any(held.values()):
            for depth in range(1, _AHEAD + 1):  # everybody has one before anybody has two
                for worker, its in held.items():
                    if len(its) >= depth:
                        continue
                    if again:
                        unit = again.popleft()
                    elif following is not None:
                        unit, following = following, next(source, None)
                    else:
                        break
                    its.append(unit)
                    crew.give(worker, unit)
            for worker, event in crew.events():
                if isinstance(event, Opened):
                    held[worker] = deque()
                elif isinstance(event, Done):
                    held[worker].popleft()
                    yield from event.outcomes
                elif isinstance(event, Refused):
                    raise event.error
                elif isinstance(event, Broken):
                    raise RuntimeError(f"a worker met a bug:\n{event.text}")
                elif worker in held:
                    yield from _lost(held.pop(worker), again, event.why)
                    if again or following is not None:
                        crew.replace(worker)
                elif not crew.alive:
                    raise InputError(f"a worker {event.why} while it was loading; try fewer with --workers")
    finally:
        crew.close()


def _lost(its: deque[Unit[Item]], again: deque[Unit[Item]], why: str) -> Iterator[Outcome[Row]]:
    """What a worker that ended leaves: the unit that it was working on failed, the next is somebody else's."""
    if not its:
        return
    first = its.popleft()
    again.extend(its)
    if len(first.items) > 1:
        again.extend(first.apart())
        return
    yield Outcome(
        first.numbers[0],
        None,
        InputError(f"{first.items[0]}: the worker that had it {why}; if memory is short, try fewer --workers"),
    )
