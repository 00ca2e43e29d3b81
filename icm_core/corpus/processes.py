"""Workers that are processes of this machine."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, Generic

from icm_core.corpus.dispatch import Broken, Done, Ended, Event, Opened, Refused
from icm_core.corpus.work import Item, Job, Place, Row, Unit, outcomes, plain
from icm_core.errors import IcmError

_PATIENCE = 20.0
"""Seconds that a worker has to leave when it is told to."""


@dataclass(frozen=True)
class _Worker:
    process: BaseProcess
    connection: Connection


class Processes(Generic[Item, Row]):
    """A crew of processes, each with the job opened and its own threads of PyTorch's.

    Args:
        job: what they do.
        workers: how many.
        threads: of PyTorch's in each.
    """

    def __init__(self, job: Job[Item, Row], workers: int, threads: int) -> None:
        self._job, self._threads = job, threads
        self._context = process_context()
        self._workers: dict[int, _Worker] = {}
        for number in range(workers):
            self.replace(number)

    @property
    def alive(self) -> int:
        """See `Crew`."""
        return len(self._workers)

    def replace(self, worker: int) -> None:
        """See `Crew`."""
        ours, theirs = self._context.Pipe()
        arguments = (self._job, Place(worker, self._threads), theirs)
        # BaseContext lacks Process for mypy, because every context has its own class of it.
        process = self._context.Process(target=_serve, args=arguments, daemon=True)  # type: ignore[attr-defined]
        process.start()
        theirs.close()
        self._workers[worker] = _Worker(process, ours)

    def give(self, worker: int, unit: Unit[Item]) -> None:
        """See `Crew`."""
        try:
            self._workers[worker].connection.send(unit)
        except OSError:
            return  # it is gone, and `events` will say so

    def events(self) -> list[tuple[int, Event[Row]]]:
        """See `Crew`."""
        wait([one for worker in self._workers.values() for one in (worker.connection, worker.process.sentinel)])
        found: list[tuple[int, Event[Row]]] = []
        for number, worker in list(self._workers.items()):
            event = _event_of(worker)
            if event is not None:
                found.append((number, event))
            if isinstance(event, Ended):
                worker.connection.close()
                del self._workers[number]
        return found

    def close(self) -> None:
        """See `Crew`."""
        for worker in self._workers.values():
            worker.connection.close()
            worker.process.terminate()
        for worker in self._workers.values():
            worker.process.join(_PATIENCE)
            worker.process.kill()
            worker.process.join()
        self._workers.clear()


def process_context() -> BaseContext:
    """Workers are not forked from here: a forked PyTorch may hang in its thread pools.

    Where there is a fork server, it imports the libraries once for all workers and computes nothing.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "icm_core.pipeline.load"])
    return context


def _event_of(worker: _Worker) -> Event[Any] | None:
    # Dead or not is asked first: what a worker sent before it ended is still there to be read.
    ended = not worker.process.is_alive()
    try:
        if worker.connection.poll():
            found: Event[Any] = worker.connection.recv()
            return found
    except (EOFError, OSError):
        ended = True
    if not ended:
        return None
    worker.process.join(_PATIENCE)
    code = worker.process.exitcode
    return Ended(f"was killed ({signal.Signals(-code).name})" if code is not None and code < 0 else "ended by itself")


def _serve(job: Job[Item, Row], place: Place, connection: Connection) -> None:
    """A worker's life: open the job, then do what comes, until nobody is there any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; whoever began us ends us
    # It leaves by an exception, which clears up what is half written.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    import torch

    torch.set_num_threads(place.threads)
    try:
        try:
            work = job.open(place)
            connection.send(Opened())
            while True:
                connection.send(Done(outcomes(work, connection.recv())))
        except IcmError as error:
            connection.send(Refused(plain(error)))
        except (EOFError, ConnectionError):
            return
        except Exception:
            connection.send(Broken(traceback.format_exc()))
    except ConnectionError:
        return
