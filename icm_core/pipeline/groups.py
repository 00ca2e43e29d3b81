"""Like goes with like: items of one key, to be worked on together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

Group = list[tuple[int, Item]]
"""Items with their numbers."""

_PATIENCE = 8
"""An item waits while so many batches' worth of items pass."""


def alike(items: Iterable[Item], key: Callable[[Item], Hashable], most: int) -> Iterator[Group[Item]]:
    """Groups of at most so many items of one key, each item with its number.

    An item waits for others of its key while 8 times `most` items pass; then it goes, with those that it found. The
    groups follow from the items and their order alone. A key of None goes alone.
    """
    if most == 1:
        yield from ([one] for one in enumerate(items))
        return
    waiting: dict[Hashable, Group[Item]] = {}  # a dict keeps the order in which groups began
    for number, item in enumerate(items):
        its = key(item)
        if its is None:
            yield [(number, item)]
        else:
            group = waiting.setdefault(its, [])
            group.append((number, item))
            if len(group) == most:
                yield waiting.pop(its)
        while waiting and number - waiting[oldest := next(iter(waiting))][0][0] >= most * _PATIENCE:
            yield waiting.pop(oldest)
    yield from waiting.values()
