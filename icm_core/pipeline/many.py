"""Many pictures, one after the other: what comes next is read while networks compute, and like goes with like."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

from icm_core.errors import InputError
from icm_core.pipeline.groups import Group, alike

Item = TypeVar("Item")
Found = TypeVar("Found")


def many(
    items: Iterable[Item],
    work: Callable[[Sequence[Item]], Sequence[Found]],
    key: Callable[[Item], Hashable],
    *,
    batch: int,
    lanes: int,
) -> Iterator[Found]:
    """Results in the order of the items.

    The iterable is read by whoever reads the results, while `lanes` threads work on what was read before. Each has one
    thread of PyTorch's, so that what an item gives does not depend on their number.

    Args:
        items: what is worked on; read only as far ahead as is needed.
        work: makes a result for each of several items that have one key.
        key: which items can be worked on together; asked only where `batch` is more than 1.
        batch: the most items that are worked on together.
        lanes: how many threads work.

    Raises:
        InputError: `batch` or `lanes` is less than 1.
    """
    for name, value in (("batch", batch), ("lanes", lanes)):
        if value < 1:
            raise InputError(f"{name} is {value}; it should be 1 or more")

    def done(group: Group[Item]) -> list[tuple[int, Found]]:
        found = work([item for _, item in group])
        return [(number, one) for (number, _), one in zip(group, found, strict=True)]

    return _ordered(_overlapped(alike(items, key, batch), done, lanes))


@contextmanager
def threads(count: int) -> Iterator[None]:
    """PyTorch computes with so many threads, and afterwards with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _overlapped(units: Iterable[Item], work: Callable[[Item], Found], lanes: int) -> Iterator[Found]:
    waiting: deque[Future[Found]] = deque()
    with threads(1), ThreadPoolExecutor(lanes, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for unit in units:
                waiting.append(pool.submit(work, unit))
                if len(waiting) > lanes:  # one more than are worked on, so that no lane waits for reading
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _ordered(groups: Iterable[list[tuple[int, Found]]]) -> Iterator[Found]:
    early: list[tuple[int, Found]] = []  # numbers differ, so that results are never compared
    following = 0
    for group in groups:
        for one in group:
            heapq.heappush(early, one)
        while early and early[0][0] == following:
            yield heapq.heappop(early)[1]
            following += 1
