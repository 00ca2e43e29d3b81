"""Workers that are actors on Ray: on this machine, or on those of a cluster.

The cluster is the one that the environment variable RAY_ADDRESS names; without it, Ray is started on this machine and
ended afterwards. Every machine has the same packages installed, and sees the same folders under the same names.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from icm_core.corpus.dispatch import Broken, Done, Ended, Event, Opened, Refused
from icm_core.corpus.work import Item, Job, Place, Row, Unit, Work, outcomes, plain
from icm_core.errors import IcmError, InputError

if TYPE_CHECKING:
    import types

_PATIENCE = 60.0
"""Seconds in which actors may end what they have begun, when they are told to leave."""
_STORE = 100 << 20
"""Bytes of Ray's store on this machine; names and rows are small, and pictures never travel."""


class Actors(Generic[Item, Row]):
    """A crew of actors, each with the job opened.

    Args:
        job: what they do.
        workers: how many; None for one on each GPU that the cluster has, or on each core where it has none.
        threads: of PyTorch's in each; an actor takes so many cores of its machine.
        device: what the job computes on.
        items: how many items there are.

    Raises:
        InputError: Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, job: Job[Item, Row], workers: int | None, threads: int, device: str, items: int) -> None:
        self._ray = _library()
        self._own = not self._ray.is_initialized()
        if self._own:
            _begin(self._ray, None if workers is None else workers * threads)
        have = self._ray.cluster_resources()
        gpus = 0 if device == "cpu" else int(have.get("GPU", 0))
        if workers is None:
            workers = gpus or int(have.get("CPU", 1)) // threads
        self._job, self._threads = job, threads
        self._actor = self._ray.remote(num_cpus=threads, num_gpus=1 if gpus else 0)(_Actor)
        self._actors: dict[int, Any] = {}
        self._waiting: dict[int, deque[Any]] = {}
        for number in range(max(1, min(workers, items))):
            self.replace(number)

    @property
    def alive(self) -> int:
        """See `Crew`."""
        return len(self._actors)

    def replace(self, worker: int) -> None:
        """See `Crew`."""
        # A GPU that Ray gives is the only one that the actor sees, so that every actor is the first on its own.
        actor = self._actor.remote(self._job, Place(0, self._threads), str(Path.cwd()), list(sys.path))
        self._actors[worker] = actor
        self._waiting[worker] = deque([actor.open.remote()])

    def give(self, worker: int, unit: Unit[Item]) -> None:
        """See `Crew`."""
        self._waiting[worker].append(self._actors[worker].do.remote(unit))

    def events(self) -> list[tuple[int, Event[Row]]]:
        """See `Crew`."""
        self._ray.wait([one for waiting in self._waiting.values() for one in waiting], num_returns=1)
        found: list[tuple[int, Event[Row]]] = []
        for number, waiting in list(self._waiting.items()):
            # In the order of the calls: what an actor had done before it ended was done.
            if not waiting or not self._ray.wait([waiting[0]], timeout=0)[0]:
                continue
            try:
                found.append((number, self._ray.get(waiting.popleft())))
            except self._ray.exceptions.RayActorError:
                found.append((number, Ended("ended by itself, or with its machine")))
                del self._actors[number], self._waiting[number]
        return found

    def close(self) -> None:
        """See `Crew`."""
        begun = [one for waiting in self._waiting.values() for one in waiting]
        try:
            if begun:
                self._ray.wait(begun, num_returns=len(begun), timeout=_PATIENCE)
        finally:
            for actor in self._actors.values():
                self._ray.kill(actor)
            self._actors.clear()
            self._waiting.clear()
            if self._own:
                self._ray.shutdown()


class _Actor:
    """One lane."""

    def __init__(self, job: Job[Any, Any], place: Place, folder: str, path: list[str]) -> None:
        self._job, self._place = job, place
        self._work: Work[Any, Any] | None = None
        # Relative names mean what they mean where the program was started, and plugins are found where it found them,
        # as far as this machine has those folders.
        if Path(folder).is_dir():
            os.chdir(folder)
        sys.path += [one for one in path if one and one not in sys.path and Path(one).exists()]

    def open(self) -> Event[Any]:
        import torch

        torch.set_num_threads(self._place.threads)
        try:
            self._work = self._job.open(self._place)
        except IcmError as error:
            return Refused(plain(error))
        except Exception:
            return Broken(traceback.format_exc())
        return Opened()

    def do(self, unit: Unit[Any]) -> Event[Any]:
        assert self._work is not None  # nothing is given before it is open
        try:
            return Done(outcomes(self._work, unit))
        except Exception:
            return Broken(traceback.format_exc())


def _library() -> types.ModuleType:
    try:
        import ray
    except ImportError as error:
        raise InputError("--engine ray needs Ray; install it with: pip install 'icm-framework[ray]'") from error
    return ray


def _begin(ray: types.ModuleType, cores: int | None) -> None:
    address = os.environ.get("RAY_ADDRESS")
    # No reports to Ray's makers, unless somebody wants them.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        else:
            ray.init(num_cpus=cores, object_store_memory=_STORE, **quiet)
    except Exception as error:
        where = f"the cluster at {address} (RAY_ADDRESS)" if address else "Ray on this machine"
        raise InputError(f"{where} cannot be used: {' '.join(str(error).split())[:300]}") from error
