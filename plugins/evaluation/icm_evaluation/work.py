"""Pictures by their numbers through a pipeline, in this process or in several."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from icm_core.corpus.engine import device_at, work_through, workers_for
from icm_core.corpus.here import here
from icm_core.corpus.work import Job, Place, Unit, Work, attempt
from icm_core.errors import IcmError
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

Rows = Generator[tuple[int, PictureRow], None, None]
"""Measured pictures with their numbers; closing it stops the work."""


@dataclass(frozen=True)
class Numbered:
    """A picture of the data set, by its number."""

    number: int

    def __str__(self) -> str:
        return f"picture {self.number} of the data set"


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
            encoder=options.encoder,
            effort=options.effort,
            search_for=options.search_for,
            only=options.tasks,
        )
        return cls(options, registry, pipe, data, plan)

    def row(self, number: int) -> PictureRow:
        """One picture, measured."""
        return measure(self.pipe, self.plan, self.data[number], self.options.keep)

    def rows(self, pictures: Sequence[Numbered]) -> list[PictureRow | IcmError]:
        """Pictures, one after the other."""
        return [attempt(lambda one: self.row(one.number), picture) for picture in pictures]


@dataclass(frozen=True)
class Measuring(Job[Numbered, PictureRow]):
    """The job of measuring pictures, where the options are all that is there."""

    options: Options

    def open(self, place: Place) -> Work[Numbered, PictureRow]:
        """Load everything that the options name."""
        device = device_at(self.options.device, place.number)
        return Opened(Site.open(replace(self.options, device=device))).open(place)


@dataclass(frozen=True)
class Opened(Job[Numbered, PictureRow]):
    """The same job in the process that has loaded everything already."""

    site: Site

    def open(self, place: Place) -> Work[Numbered, PictureRow]:  # noqa: ARG002 (the site is there)
        """Let the networks run once, so that the first picture's times are like the others'."""
        warm_up(self.site.pipe, self.site.plan)
        return self.site.rows


def whole_qualities(pipe: Pipeline) -> tuple[float, ...]:
    """All whole numbers that the pipeline has."""
    low, high = pipe.codec.quality_range
    return tuple(float(quality) for quality in range(math.ceil(low), math.floor(high) + 1)) or (low,)


def workers_of(site: Site, pictures: int) -> int:
    """How many processes or actors."""
    asked = site.options.workers
    if asked is None and site.pipe.device.type != "cpu":
        return 1
    found = workers_for(pictures, asked, device="cpu")
    return found if asked is not None else min(found, _MOST_WORKERS)


def rows_of(site: Site, numbers: Sequence[int], workers: int) -> Rows:
    """Pictures as they are done, with their numbers. Each is computed by one thread, whoever does it.

    Raises:
        IcmError: of the first picture that cannot be measured.
    """
    options = site.options
    units = [Unit((number,), (Numbered(number),)) for number in numbers]
    if workers == 1 and options.engine == "local":
        outcomes = here(Opened(site), units, threads=1)
    else:
        outcomes = work_through(
            Measuring(options),
            units,
            engine=options.engine,
            workers=workers,
            device=options.device,
            items=len(units),
        )
    with closing(outcomes):
        for outcome in outcomes:
            if outcome.row is None:
                assert outcome.error is not None  # one of the two is there
                raise outcome.error
            yield outcome.number, outcome.row
