"""Pictures by their numbers through a pipeline, in this process or in several."""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import BaseContext

import torch

from icm_core.errors import InputError
from icm_core.interfaces import DataSet
from icm_core.pipeline.load import load
from icm_core.pipeline.pipeline import Pipeline
from icm_core.plugins.datasets import open_dataset
from icm_core.plugins.registry import Registry, build_registry
from icm_evaluation.measure import measure, warm_up
from icm_evaluation.options import Options
from icm_evaluation.plan import Plan, make_plan
from icm_evaluation.results import PictureRow

_MOST_WORKERS = 8
_PICTURES = 4
"""A worker takes seconds to begin, so fewer pictures than this are not worth one."""

Rows = Generator[tuple[int, PictureRow], None, None]
"""Measured pictures with their numbers; closing it stops the work."""


@dataclass(frozen=True)
class Site:
    """What a process needs to measure."""

    options: Options
    registry: Registry
    pipe: Pipeline
    data: DataSet
    plan: Plan

    @classmethod
    def open(cls, options: Options, registry: Registry | None = None) -> Site:
        """Load everything that the options name."""
        registry = registry or build_registry()
        data = open_dataset(options.data, options.split, registry, options.data_params())
        pipe = load(options.model, device=options.device, precision=options.precision, registry=registry)
        qualities = options.qualities or whole_qualities(pipe)
        plan = make_plan(
            pipe,
            data,
            registry,
            qualities,
            options.enhancement,
            effort=options.effort,
            search_for=options.search_for,
            only=options.tasks,
        )
        return cls(options, registry, pipe, data, plan)

    def row(self, number: int) -> PictureRow:
        """One picture, measured."""
        return measure(self.pipe, self.plan, self.data[number], self.options.keep)


def whole_qualities(pipe: Pipeline) -> tuple[float, ...]:
    """All whole numbers that the pipeline has."""
    low, high = pipe.codec.quality_range
    return tuple(float(quality) for quality in range(math.ceil(low), math.floor(high) + 1)) or (low,)


def workers_of(site: Site, pictures: int) -> int:
    """How many processes."""
    if site.options.workers is not None:
        return max(1, min(site.options.workers, pictures))
    if site.pipe.device.type != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _MOST_WORKERS, pictures // _PICTURES))


def rows_of(site: Site, numbers: Sequence[int], workers: int) -> Rows:
    """Pictures as they are done, with their numbers. Each is computed by one thread, whoever does it."""
    return _here(site, numbers) if workers == 1 else _there(site.options, numbers, workers)


def _here(site: Site, numbers: Sequence[int]) -> Rows:
    with _one_thread():
        warm_up(site.pipe, site.plan)
        for number in numbers:
            yield number, site.row(number)


def _there(options: Options, numbers: Sequence[int], workers: int) -> Rows:
    pool = ProcessPoolExecutor(workers, mp_context=process_context(), initializer=_begin, initargs=(options,))
    try:
        waiting = {pool.submit(_row, number) for number in numbers}
        while waiting:
            ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in ready:
                yield future.result()
    except BrokenProcessPool as error:
        raise InputError(
            f"one of {workers} worker processes ended by itself, perhaps for lack of memory; try fewer with --workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def process_context() -> BaseContext:
    """Workers are not forked from here: a forked PyTorch may hang in its thread pools.

    Where there is a fork server, it imports the libraries once for all workers and computes nothing.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


_own: list[Site] = []
"""A worker process's site: between two pictures there is no other place for it."""


def _begin(options: Options) -> None:
    torch.set_num_threads(1)
    site = Site.open(options)
    warm_up(site.pipe, site.plan)
    _own.append(site)


def _row(number: int) -> tuple[int, PictureRow]:
    return number, _own[0].row(number)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
