"""The work of an ablation: what is left to do, and in which order jobs beside one another do it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from icm_made import made, of_pictures, pictured

from icm_core.errors import InputError
from icm_core.plugins.registry import build_registry
from icm_evaluation import ablation
from icm_evaluation.ablation import Job, Plan, Work, jobs_of, run, work_of
from icm_evaluation.cli.ablate import _list
from icm_evaluation.options import Options
from icm_evaluation.results import write_result
from icm_evaluation.variants import Json, Variant, grid, parse_vary
from icm_training.engine import Options as TrainOptions


@pytest.fixture(scope="module")
def smoke() -> Json:
    """A recipe of the stages joint, segmentation, coarse and fine."""
    found: Json = json.loads(build_registry().recipes.get("smoke").read_text())
    return found


def variants_of(smoke: Json, vary: str, *changes: str) -> list[Variant]:
    pipeline = smoke["pipeline"]
    assert isinstance(pipeline, dict)
    return grid(pipeline, smoke, [parse_vary(vary)], changes, None)


def done(folder: Path, *stages: str) -> None:
    """What a run leaves of stages that have ended."""
    for stage in stages:
        (folder / "run" / stage).mkdir(parents=True)
        (folder / "run" / stage / "weights.safetensors").touch()
        (folder / "run" / stage / "done.json").touch()


def test_jobs_go_variant_by_variant_each_with_its_seed_and_folder(smoke: Json) -> None:
    jobs = jobs_of(variants_of(smoke, "codec.params.groups=1,2"), [7, 3], Path("out"))
    assert [(job.variant.name, job.seed, job.recipe.seed, job.result.as_posix()) for job in jobs] == [
        ("groups-1", 7, 7, "out/groups-1/seed-7/result.json"),
        ("groups-1", 3, 3, "out/groups-1/seed-3/result.json"),
        ("groups-2", 7, 7, "out/groups-2/seed-7/result.json"),
        ("groups-2", 3, 3, "out/groups-2/seed-3/result.json"),
    ]


def test_what_is_done_already_is_no_work_and_a_shared_stage_names_its_owner(smoke: Json, tmp_path: Path) -> None:
    jobs = jobs_of(variants_of(smoke, "recipe.stages.coarse.clip=1.0,2.0"), [0], tmp_path)
    done(jobs[0].folder, "joint")
    (jobs[1].folder / "run").mkdir(parents=True)
    first, second = work_of(jobs)
    assert (first.stages, first.shared) == (("segmentation", "coarse", "fine"), ())
    assert second.stages == ("coarse", "fine")
    assert second.shared == (("joint", "clip-1.0"), ("segmentation", "clip-1.0"))
    assert first.measure and second.measure  # a folder alone is no measurement
    jobs[0].result.touch()
    assert [work.measure for work in work_of(jobs)] == [False, True]


def test_a_job_whose_stages_are_done_is_to_be_measured_all_the_same(smoke: Json, tmp_path: Path) -> None:
    (job, _) = jobs_of(variants_of(smoke, "codec.params.groups=1,2"), [0], tmp_path)
    done(job.folder, "joint", "segmentation", "coarse", "fine")
    (work,) = work_of([job])
    assert (work.stages, work.shared, work.measure) == ((), (), True)


class Beside(ThreadPoolExecutor):
    """Threads in the place of processes: they see what a test has put in the place of training."""

    asked: list[tuple[int, Any, Any]]

    def __init__(self, count: int, *, mp_context: Any, initializer: Any, initargs: Any) -> None:
        super().__init__(count)
        self.asked.append((count, initializer, initargs))


Do = Callable[[Work], None]
Given = Callable[[Do], list[tuple[int, Any, Any]]]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    """Something else is done in the place of training and measuring; the pools that were asked for are listed."""

    def use(do: Do) -> list[tuple[int, Any, Any]]:
        def job(plan: Plan, work: Work, registry: object = None) -> None:
            do(work)
            rows = [pictured("a", [(50, 10)], of_pictures([30]))]
            write_result(work.job.result, made(work.job.folder.as_posix(), rows))

        Beside.asked = []
        monkeypatch.setattr(ablation, "_do", job)
        monkeypatch.setattr(ablation, "find_spec", lambda _: None)
        monkeypatch.setattr(ablation, "ProcessPoolExecutor", Beside)
        return Beside.asked

    return use


def plan_of(jobs: list[Job], out: Path) -> Plan:
    for job in jobs:
        job.folder.mkdir(parents=True)
    return Plan(jobs, TrainOptions(out=out, data=out, home=out), Options("", "shapes:."))


@pytest.mark.parametrize(("parallel", "pools"), [(1, []), (2, [2]), (3, [3])])
def test_results_are_in_the_order_of_the_jobs_and_each_is_told(
    smoke: Json, given: Given, tmp_path: Path, parallel: int, pools: list[int]
) -> None:
    """The first variant takes longest."""
    jobs = jobs_of(variants_of(smoke, "codec.params.groups=1,2"), [0, 1], tmp_path)
    asked = given(lambda work: time.sleep(0.03 if work.job is jobs[0] else 0))
    told: list[str] = []
    results = run(plan_of(jobs, tmp_path), parallel=parallel, told=told.append)
    assert [result.system for result in results] == [job.folder.as_posix() for job in jobs]
    assert [count for count, _, _ in asked] == pools
    names = [f"groups-{variant}, seed {seed}" for variant in (1, 2) for seed in (0, 1)]
    assert told == [f"{name}: done" if pools else name for name in names]


def test_processes_share_the_threads_of_this_one(smoke: Json, given: Given, tmp_path: Path, threads: Any) -> None:
    jobs = jobs_of(variants_of(smoke, "codec.params.groups=1,2"), [0], tmp_path)
    asked = given(lambda work: None)
    plan = plan_of(jobs, tmp_path)
    for count, parallel, each in ((6, 3, 2), (7, 2, 3), (1, 2, 1)):
        with threads(count):
            run(plan, parallel=parallel)
        assert asked[-1] == (parallel, torch.set_num_threads, (each,))


def test_who_takes_a_stage_over_begins_when_all_that_train_one_have_ended(
    smoke: Json, given: Given, tmp_path: Path
) -> None:
    jobs = jobs_of(variants_of(smoke, "recipe.stages.coarse.clip=1.0,2.0"), [0, 1], tmp_path)
    seen: list[str] = []

    def do(work: Work) -> None:
        name = f"{work.job.variant.name} {work.job.seed}"
        seen.append(f"{name} begins")
        time.sleep(0.05)
        seen.append(f"{name} ends")

    given(do)
    run(plan_of(jobs, tmp_path), parallel=4)
    assert sorted(seen[:4]) == ["clip-1.0 0 begins", "clip-1.0 0 ends", "clip-1.0 1 begins", "clip-1.0 1 ends"]
    assert len(seen) == 8


def test_after_a_job_that_failed_none_begins(smoke: Json, given: Given, tmp_path: Path) -> None:
    jobs = jobs_of(variants_of(smoke, "codec.params.groups=1,2"), [0, 1, 2, 3, 4], tmp_path)
    seen: list[Job] = []

    def do(work: Work) -> None:
        seen.append(work.job)
        if work.job is jobs[0]:
            raise InputError("the power went")
        time.sleep(0.05)

    given(do)
    with pytest.raises(InputError, match=r"^the power went$"):
        run(plan_of(jobs, tmp_path), parallel=2)
    assert jobs[0] in seen and jobs[-1] not in seen


class Ray:
    """A Ray that does each job when its outcome is asked for."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def init(self, **more: Any) -> None:
        self.said.append(("init", more["num_cpus"]))

    def remote(self, **more: Any) -> Callable[[Any], Any]:
        self.said.append(more)
        return lambda do: SimpleNamespace(remote=lambda *given: (do, given))

    def get(self, asked: Any) -> None:
        do, given = asked
        do(*given)

    def shutdown(self) -> None:
        self.said.append("shutdown")


@pytest.mark.parametrize(("device", "parallel", "share"), [("cuda", 4, 0.75), ("cuda", 2, 1), ("cpu", 2, 0)])
def test_a_ray_of_this_machine_shares_the_gpus_out_and_ends(
    smoke: Json, given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, parallel: int, share: float
) -> None:
    ray, seen = Ray(), []
    jobs = jobs_of(variants_of(smoke, "recipe.stages.coarse.clip=1.0,2.0"), [0, 1], tmp_path)
    given(lambda work: seen.append(work.job))
    monkeypatch.setattr(ablation, "find_spec", lambda _: object())
    monkeypatch.setattr(ablation, "need", lambda *_: ray)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    plan = plan_of(jobs, tmp_path)
    told: list[str] = []
    found = run(replace(plan, train=replace(plan.train, device=device)), parallel=parallel, told=told.append)
    assert [result.system for result in found] == [job.folder.as_posix() for job in jobs]
    assert seen == [jobs[0], jobs[1], jobs[2], jobs[3]]
    assert told == [f"clip-{clip}.0, seed {seed}: done" for clip in (1, 2) for seed in (0, 1)]
    assert ray.said == [("init", parallel), {"num_cpus": 1, "num_gpus": share}, "shutdown"]


def test_ray_ends_when_a_job_has_failed_too(
    smoke: Json, given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(work: Work) -> None:
        raise InputError("the power went")

    ray = Ray()
    given(fails)
    monkeypatch.setattr(ablation, "find_spec", lambda _: object())
    monkeypatch.setattr(ablation, "need", lambda *_: ray)
    with pytest.raises(InputError, match=r"^the power went$"):
        run(plan_of(jobs_of(variants_of(smoke, "codec.params.groups=1,2"), [0], tmp_path), tmp_path), parallel=2)
    assert ray.said[-1] == "shutdown"


def test_the_list_of_the_work_says_what_is_trained_how_long_and_what_is_there(
    smoke: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    lengths = {"joint": {"steps": 30}, "segmentation": {"epochs": 0.5}, "coarse": {"steps": 7}, "fine": {
        "phases": [{"steps": 20}, {"epochs": 1.25}],
    }}  # fmt: skip
    changes = [f"recipe.stages.{name}.schedule={json.dumps(length)}" for name, length in lengths.items()]
    one, other = jobs_of(variants_of(smoke, "codec.params.groups=1,2", *changes), [4], Path())
    _list(
        [
            Work(one, ("joint", "segmentation", "fine"), (), True),
            Work(other, (), (("joint", "groups-1"), ("coarse", "groups-3")), False),
        ]
    )
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "groups-" in line]
    assert [" ".join(row) for row in rows] == [
        "groups-1 4 codec.params.groups = 1 "
        "joint (30 steps), segmentation (0.5 epochs), fine (20 steps + 1.25 epochs) - yes",
        "groups-2 4 codec.params.groups = 2 - joint of groups-1, coarse of groups-3 done",
    ]
