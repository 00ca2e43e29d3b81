"""Ablations: every variant trained, exported and measured, with what variants have in common done once.

::

    OUT/<variant>/seed-<n>/run/       a run, as `icm train` makes it
    OUT/<variant>/seed-<n>/pipeline/  its export
    OUT/<variant>/seed-<n>/result.json
    OUT/ablation.json, ablation.md, ablation.png, ablation.svg
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch

from icm_core.corpus.processes import process_context
from icm_core.errors import InputError, SpecError, WeightsError
from icm_core.pipeline.build import build
from icm_core.plugins.datasets import open_dataset
from icm_core.plugins.registry import Registry, build_registry
from icm_evaluation.extras import need
from icm_evaluation.options import Options
from icm_evaluation.plan import make_plan
from icm_evaluation.results import Result, read_result
from icm_evaluation.run import evaluate
from icm_evaluation.variants import Variant
from icm_evaluation.work import whole_qualities
from icm_training.checking import check as check_training
from icm_training.engine import Options as TrainOptions
from icm_training.engine import pipeline_of, train
from icm_training.export import export
from icm_training.folder import RunFolder
from icm_training.recipe import RecipeSpec


@dataclass(frozen=True)
class Job:
    """One variant with one seed.

    Attributes:
        variant: the variant.
        seed: the seed.
        folder: where everything of it goes.
    """

    variant: Variant
    seed: int
    folder: Path

    @property
    def recipe(self) -> RecipeSpec:
        """The variant's recipe with this seed."""
        return self.variant.recipe.model_copy(update={"seed": self.seed})

    @property
    def result(self) -> Path:
        """The measurement."""
        return self.folder / "result.json"


@dataclass(frozen=True)
class Plan:
    """An ablation.

    Attributes:
        jobs: every variant with every seed.
        train: how runs are carried out; ``out`` is replaced for each job.
        measure: what is measured; ``model`` is replaced for each job.
    """

    jobs: Sequence[Job]
    train: TrainOptions
    measure: Options


@dataclass(frozen=True)
class Work:
    """What a job still needs.

    Attributes:
        job: the job.
        stages: stages to be trained.
        shared: stages that an earlier job trains alike, with that job's variant.
        measure: whether the measurement is missing.
    """

    job: Job
    stages: tuple[str, ...]
    shared: tuple[tuple[str, str], ...]
    measure: bool


def jobs_of(variants: Sequence[Variant], seeds: Sequence[int], out: Path) -> list[Job]:
    """Every variant with every seed."""
    return [Job(v, seed, out / v.name / f"seed-{seed}") for v in variants for seed in seeds]


def check(plan: Plan, registry: Registry) -> None:
    """Look before the first training whether every variant can be trained and measured; no network is computed.

    Args:
        plan: the ablation.
        registry: what is installed.

    Raises:
        IcmError: a component, data set, loss or module is not there or does not fit, or nothing of a variant can be
            measured; the message begins with the variant.
    """
    first: dict[str, Job] = {}
    for job in plan.jobs:
        first.setdefault(job.variant.name, job)
    measured = open_dataset(plan.measure.data, plan.measure.split, registry, plan.measure.data_params())
    for name, job in first.items():
        recipe, options = job.recipe, replace(plan.train, out=job.folder / "run")
        try:
            spec = pipeline_of(recipe, options.home, registry)
            check_training(recipe, spec, [stage.name for stage in recipe.stages], options, registry)
            with torch.device("meta"):
                pipe = build(spec, registry)
            qualities = plan.measure.qualities or whole_qualities(pipe)
            make_plan(pipe, measured, registry, qualities, only=plan.measure.tasks)
        except (InputError, SpecError, WeightsError) as error:
            raise type(error)(f"variant {name!r}: {error}") from error


def work_of(jobs: Sequence[Job]) -> list[Work]:
    """What is left to do; a stage counts for the first job that has it."""
    owners: dict[str, Job] = {}
    found = []
    for job in jobs:
        folder = RunFolder(job.folder / "run")
        own, shared = [], []
        for stage, key in _keys(job).items():
            owner = owners.setdefault(key, job)
            if owner is not job:
                shared.append((stage, owner.variant.name))
            elif not folder.is_done(stage):
                own.append(stage)
        found.append(Work(job, tuple(own), tuple(shared), not job.result.is_file()))
    return found


def run(plan: Plan, *, parallel: int = 1, told: Callable[[str], None] = lambda _: None) -> list[Result]:
    """Do what is left to do, and return all measurements in the order of the jobs.

    Args:
        plan: the ablation.
        parallel: jobs at a time, by Ray where it is installed, else as processes of this machine. Jobs that share a
            stage wait for its owner.
        told: gets a line about each step.

    Raises:
        IcmError: anything that cannot be used; what was done until then is kept.
    """
    works = work_of(plan.jobs)
    if parallel > 1:
        beside = _with_ray if find_spec("ray") is not None else _with_processes
        for work in beside(plan, works, parallel):
            told(f"{work.job.variant.name}, seed {work.job.seed}: done")
    else:
        registry = build_registry()
        for work in works:
            told(f"{work.job.variant.name}, seed {work.job.seed}")
            _do(plan, work, registry)
    return [read_result(job.result) for job in plan.jobs]


def _waves(works: Sequence[Work]) -> tuple[list[Work], list[Work]]:
    """Those that wait for nobody, then those that take stages over."""
    return [work for work in works if not work.shared], [work for work in works if work.shared]


def _with_ray(plan: Plan, works: Sequence[Work], parallel: int) -> Iterator[Work]:
    """Jobs beside one another on a Ray of this machine, each with its share of the GPUs, as they are done."""
    ray = need("ray", "ray")
    ray.init(num_cpus=parallel, include_dashboard=False, logging_level="warning", log_to_driver=False)
    try:
        gpus = 0 if plan.train.device == "cpu" else torch.cuda.device_count()
        remote = ray.remote(num_cpus=1, num_gpus=min(1, gpus / parallel))(_do)
        for wave in _waves(works):
            for work, reference in [(one, remote.remote(plan, one)) for one in wave]:
                ray.get(reference)
                yield work
    finally:
        ray.shutdown()


def _with_processes(plan: Plan, works: Sequence[Work], parallel: int) -> Iterator[Work]:
    """Jobs beside one another as processes, which share the cores and whatever GPU there is, as they are done."""
    threads = max(1, torch.get_num_threads() // parallel)
    pool = ProcessPoolExecutor(
        parallel, mp_context=process_context(), initializer=torch.set_num_threads, initargs=(threads,)
    )
    try:
        for wave in _waves(works):
            for work, future in [(one, pool.submit(_do, plan, one)) for one in wave]:
                future.result()
                yield work
    except BrokenProcessPool as error:
        raise InputError(
            f"one of {parallel} processes ended by itself, perhaps for lack of memory; try fewer with --parallel"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _do(plan: Plan, work: Work, registry: Registry | None = None) -> None:
    """Train, export and measure one job."""
    registry = registry or build_registry()
    job = work.job
    out = job.folder / "run"
    folders = {(other.variant.name, other.seed): other.folder for other in plan.jobs}
    given = {stage: folders[owner, job.seed] / "run" / stage for stage, owner in work.shared}
    options = replace(plan.train, out=out, resume=(out / "recipe.json").is_file(), given=given)
    train(job.recipe, options, registry)
    made = export(out, job.folder / "pipeline", registry, name=job.variant.name)
    if not job.result.is_file():
        evaluate(replace(plan.measure, model=str(made.spec)), job.result)


def _keys(job: Job) -> dict[str, str]:
    """What each stage's weights depend on, as a hash: pipeline, seed, data, and all that came before."""
    recipe = json.loads(job.recipe.model_dump_json())
    common = {key: value for key, value in recipe.items() if key not in ("stages", "recipe", "description", "files")}
    common["pipeline"] = {key: value for key, value in common["pipeline"].items() if key not in ("name", "description")}
    keys, so_far = {}, json.dumps(common, sort_keys=True)
    for stage in recipe["stages"]:
        so_far = hashlib.sha256(f"{so_far}{json.dumps(stage, sort_keys=True)}".encode()).hexdigest()
        keys[stage["name"]] = so_far
    return keys
