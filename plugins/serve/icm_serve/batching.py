"""One thread that does the work of all requests: the oldest first, with others that can be done together with it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """What is to be done for one request.

    Attributes:
        key: works of one key can be done together.
        item: what it is to be done with.
        run: does it for items of works with this key, and gives a result for each.
        pixels: how large it is.
    """

    key: Hashable
    item: Any
    run: Callable[[Sequence[Any]], Sequence[Any]]
    pixels: int


class TooLateError(Exception):
    """The work was not begun in time."""


@dataclass(frozen=True)
class _Waiting:
    work: Work
    deadline: float
    future: Future[Any] = field(default_factory=Future)


class Batcher:
    """Does works in a thread of its own.

    Args:
        most: works that are done together.
        pixels: of all works that are done together; a single one may have more.
        seen: called with the number of works and the seconds that they took, after each batch.
    """

    def __init__(self, most: int, pixels: int, seen: Callable[[int, float], None]) -> None:
        self._most, self._pixels, self._seen = most, pixels, seen
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="icm-serve", daemon=True)
        self._usual = 0.5

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Do what waits, and end; nothing may be submitted any more."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def submit(self, work: Work, deadline: float) -> Future[Any]:
        """What will be the work's result.

        Args:
            work: the work.
            deadline: by `time.monotonic`; a work that has not begun by then is dropped with `TooLateError`.
        """
        one = _Waiting(work, deadline)
        with self._changed:
            if self._stopping:
                raise RuntimeError("the batcher has stopped")
            self._waiting.append(one)
            self._changed.notify()
        return one.future

    @property
    def waiting(self) -> int:
        """Number of works that have not begun."""
        return len(self._waiting)

    @property
    def wait(self) -> float:
        """Seconds after which a new work would be begun, as far as one can tell."""
        return self._usual * (1 + self.waiting)

    def _loop(self) -> None:
        while works := self._next():
            start = time.monotonic()
            self._do(works)
            seconds = time.monotonic() - start
            self._usual = 0.8 * self._usual + 0.2 * seconds / len(works)
            self._seen(len(works), seconds)

    def _next(self) -> list[_Waiting]:
        """The next works to do together; none where there is nothing more to do."""
        while True:
            with self._changed:
                while not self._waiting and not self._stopping:
                    self._changed.wait()
                if not self._waiting:
                    return []
                works = self._taken()
            now = time.monotonic()
            ready = []
            for one in works:
                if not one.future.set_running_or_notify_cancel():
                    continue  # whoever asked has gone
                if one.deadline < now:
                    one.future.set_exception(TooLateError())
                else:
                    ready.append(one)
            if ready:
                return ready

    def _taken(self) -> list[_Waiting]:
        first = self._waiting.popleft()
        taken, pixels = [first], first.work.pixels
        left: deque[_Waiting] = deque()
        for one in self._waiting:
            fits = one.work.key == first.work.key and pixels + one.work.pixels <= self._pixels
            if fits and len(taken) < self._most:
                taken.append(one)
                pixels += one.work.pixels
            else:
                left.append(one)
        self._waiting = left
        return taken

    def _do(self, works: Sequence[_Waiting]) -> None:
        try:
            found = works[0].work.run([one.work.item for one in works])
            for one, result in zip(works, found, strict=True):
                one.future.set_result(result)
        except Exception as error:
            if len(works) == 1:
                works[0].future.set_exception(error)
                return
            for one in works:  # one of them may have spoiled it for all
                if not one.future.done():
                    self._do([one])
