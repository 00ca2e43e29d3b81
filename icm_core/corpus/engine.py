"""Who works: this process, several, or Ray."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path

from icm_core.corpus.dispatch import dispatch
from icm_core.corpus.here import here
from icm_core.corpus.processes import Processes
from icm_core.corpus.work import Item, Job, Outcomes, Row, Unit
from icm_core.errors import InputError
from icm_core.pipeline.groups import alike
from icm_registry import unknown

ENGINES = ("local", "ray")

_PICTURES = 4
"""A worker takes seconds to begin, so fewer pictures than this are not worth one."""
_MEMORY = 2 << 30
"""Bytes that a worker should find free: a pipeline, and a picture of one or two megapixels."""
_ON_A_GPU = 2
"""Workers on each GPU: one reads, codes entropy and writes while the other's networks compute."""


def units_of(items: Iterable[Item], batch: int, key: Callable[[Item], Hashable]) -> Iterator[Unit[Item]]:
    """Items in groups of at most so many that have one key; a key of None goes alone."""
    for group in alike(items, key, batch):
        yield Unit(tuple(number for number, _ in group), tuple(item for _, item in group))


def work_through(
    job: Job[Item, Row],
    units: Iterable[Unit[Item]],
    *,
    engine: str = "local",
    workers: int | None = None,
    threads: int = 1,
    device: str = "auto",
    items: int,
) -> Outcomes[Row]:
    """Outcomes as they come. What comes of an item does not depend on who did it.

    Args:
        job: what is done.
        units: for what.
        engine: one of `ENGINES`.
        workers: how many; None for as many as are worth it.
        threads: of PyTorch's, in each worker.
        device: what the job computes on, as in `icm_core.load`.
        items: how many items there are.

    Raises:
        IcmError: nothing can be done, or a number or a name is none.
    """
    check_numbers(workers=workers, threads=threads)
    if engine not in ENGINES:
        raise InputError(unknown("engine", engine, ENGINES))
    if engine == "ray":
        from icm_core.corpus.on_ray import Actors

        return dispatch(lambda: Actors(job, workers, threads, device, items), units)
    count = workers_for(items, workers, threads, device)
    if count == 1:
        return here(job, units, threads)
    return dispatch(lambda: Processes(job, count, threads), units)


def check_numbers(**numbers: int | None) -> None:
    """Raise `InputError` unless each number is 1 or more, or not given."""
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise InputError(f"--{name} is {number}; it should be 1 or more")


def workers_for(items: int, asked: int | None = None, threads: int = 1, device: str = "auto") -> int:
    """How many processes: as many as are asked for, else one a core and two a GPU, as far as they are worth it."""
    if asked is not None:
        return max(1, min(asked, items))
    gpus = _gpus() if device != "cpu" else 0
    if device.startswith("cuda:"):
        gpus = min(gpus, 1)
    most = gpus * _ON_A_GPU if gpus else min(_cores() // threads, _free_memory() // _MEMORY)
    return max(1, min(most, items // _PICTURES))


def device_at(device: str, number: int) -> str:
    """The device of a worker: several GPUs are shared out, unless one of them is named."""
    count = _gpus() if device in ("auto", "cuda") else 0
    return f"cuda:{number % count}" if count > 1 else device


def _gpus() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _free_memory() -> int:
    """Bytes that processes could take; where the system does not say, more than enough."""
    try:
        lines: Sequence[str] = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 1 << 62
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found else 1 << 62
