"""Units to workers: every item has one outcome, whatever happens to whom."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from icm_jobs import Acting

from icm_core.corpus import engine
from icm_core.corpus.dispatch import Broken, Done, Ended, Event, Opened, Refused, dispatch
from icm_core.corpus.engine import check_numbers, device_at, units_of, work_through, workers_for
from icm_core.corpus.work import Outcome, Outcomes, Unit, outcomes
from icm_core.errors import IcmError, InputError, WeightsError


def worked(items: list[str], batch: int = 1, opening: str = "ok", **how: object) -> list[str | IcmError]:
    units = units_of(items, batch, lambda _: "all")
    how = {"workers": 2, "device": "cpu", **how}
    found = {}
    with closing(work_through(Acting(opening), units, items=len(items), **how)) as outcomes:  # type: ignore[arg-type]
        for outcome in outcomes:
            assert outcome.number not in found
            found[outcome.number] = outcome.row if outcome.error is None else outcome.error
    assert sorted(found) == list(range(len(items)))
    return [found[number] for number in range(len(items))]


@pytest.mark.parametrize("batch", [1, 3])
def test_those_who_end_have_their_items_named_and_are_replaced(batch) -> None:
    items = ["ok-0", "die-1", "bad-2", "ok-3", "full-4", "die-5", "quit-6", *(f"ok-{n}" for n in range(7, 12))]
    found = worked(items, batch)
    for item, one in zip(items, found, strict=True):
        what = item.split("-")[0]
        if what == "ok":
            assert one == f"{item} by 1 of 1"
        else:
            says = {
                "bad": f"{item} cannot be used",
                "full": f"{item}: not enough memory for a picture of this size",
                "die": f"{item}: the worker that had it was killed (SIGKILL); if memory is short, try fewer --workers",
                "quit": f"{item}: the worker that had it ended by itself; if memory is short, try fewer --workers",
            }[what]
            assert type(one) is InputError and str(one) == says


def test_workers_are_other_processes_with_threads_of_their_own() -> None:
    found = [str(one) for one in worked([f"who-{n}" for n in range(4)], threads=2)]
    assert all(" by 2 of " in one for one in found)
    assert str(os.getpid()) not in {one.split()[-1] for one in found}


def test_what_no_worker_can_do_ends_everything() -> None:
    with pytest.raises(WeightsError, match="there are no weights"):
        worked(["ok-0", "ok-1"], opening="refuse")
    with pytest.raises(InputError, match=r"a worker was killed \(SIGKILL\) while it was loading"):
        worked(["ok-0", "ok-1"], opening="die")


def test_a_bug_is_no_users_error() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)Traceback .*ZeroDivisionError: of bug-1"):
        worked(["ok-0", "bug-1"])
    with pytest.raises(ZeroDivisionError):
        worked(["ok-0", "bug-1"], workers=1)


def test_nobody_is_left_when_the_work_is_done_or_stopped() -> None:
    worked(["ok-0", "ok-1"])
    assert not multiprocessing.active_children()
    units = units_of([f"slow-{n}" for n in range(50)], 1, lambda _: None)
    with closing(work_through(Acting(), units, items=50, workers=2, device="cpu")) as outcomes:
        next(outcomes)
    assert not multiprocessing.active_children()


def test_nothing_to_do_begins_nobody() -> None:
    assert worked([]) == []
    assert worked([], workers=None) == []


class Scripted:
    """A crew whose workers do, end and begin when a script says so."""

    def __init__(self, workers: int, draw) -> None:
        self._draw = draw
        self._given: dict[int, deque[Unit[int]]] = {}
        self._news: list[tuple[int, Event[int]]] = [(n, Opened()) for n in range(workers)]
        self.alive = workers
        self.closed = False

    def give(self, worker: int, unit: Unit[int]) -> None:
        self._given.setdefault(worker, deque()).append(unit)
        assert len(self._given[worker]) <= 2

    def events(self) -> list[tuple[int, Event[int]]]:
        news, self._news = self._news, []
        if news:
            return news
        busy = [worker for worker, its in self._given.items() if its]
        assert busy, "it would wait for ever"
        worker = self._draw(st.sampled_from(busy))
        unit = self._given[worker].popleft()
        if all(self._draw(st.integers(0, 4)) for _ in unit.items):
            return [
                (worker, Done([Outcome(number, item) for number, item in zip(unit.numbers, unit.items, strict=True)]))
            ]
        del self._given[worker]
        self.alive -= 1
        return [(worker, Ended("left"))]

    def replace(self, worker: int) -> None:
        self.alive += 1
        self._news.append((worker, Opened()))

    def close(self) -> None:
        self.closed = True


@settings(deadline=None)
@given(data=st.data(), items=st.integers(0, 30), workers=st.integers(1, 4), batch=st.integers(1, 3))
def test_every_item_has_one_outcome_whoever_ends_when(data, items, workers, batch) -> None:
    crew = Scripted(workers, data.draw)
    found = list(dispatch(lambda: crew, units_of(range(items), batch, lambda item: item % 2)))
    assert sorted(outcome.number for outcome in found) == list(range(items))
    assert all(outcome.row == outcome.number for outcome in found if outcome.error is None)
    assert crew.closed


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"workers": 0}, "--workers is 0; it should be 1 or more"),
        ({"threads": -1}, "--threads is -1; it should be 1 or more"),
        ({"engine": "rai"}, "unknown engine 'rai'; did you mean 'ray'?"),
    ],
)
def test_wrong_numbers_and_names_are_refused(how, says) -> None:
    with pytest.raises(InputError) as error:
        worked(["ok-0"], **how)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("items", "asked", "threads", "device", "gpus", "gigabytes", "found"),
    [
        (1000, None, 1, "cpu", 0, 999, 16),
        (1000, None, 4, "cpu", 0, 999, 4),
        (1000, None, 1, "cpu", 0, 9, 4),
        (1000, None, 1, "cpu", 8, 999, 16),
        (1000, None, 1, "auto", 8, 999, 16),
        (1000, None, 1, "auto", 2, 999, 4),
        (1000, None, 1, "cuda:1", 8, 999, 2),
        (9, None, 1, "cpu", 0, 999, 2),
        (1, None, 1, "cpu", 0, 999, 1),
        (1000, 3, 1, "cpu", 0, 1, 3),
        (2, 3, 1, "cpu", 0, 999, 2),
        (0, 3, 1, "cpu", 0, 999, 1),
    ],
)
def test_as_many_workers_as_are_worth_it(items, asked, threads, device, gpus, gigabytes, found, monkeypatch) -> None:
    monkeypatch.setattr(engine, "_cores", lambda: 16)
    monkeypatch.setattr(engine, "_gpus", lambda: gpus)
    monkeypatch.setattr(engine, "_free_memory", lambda: gigabytes << 30)
    assert workers_for(items, asked, threads, device) == found


def test_several_gpus_are_shared_out_unless_one_is_named(monkeypatch) -> None:
    monkeypatch.setattr(engine, "_gpus", lambda: 2)
    assert [device_at("auto", number) for number in range(4)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert [device_at(name, 3) for name in ("cpu", "cuda:0", "cuda")] == ["cpu", "cuda:0", "cuda:1"]
    monkeypatch.setattr(engine, "_gpus", lambda: 1)
    assert device_at("auto", 3) == "auto"


def test_the_memory_that_is_free_is_that_of_this_machine() -> None:
    assert 1 << 20 < engine._free_memory() <= 1 << 62


def test_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5, 6}, raising=False)
    assert engine._cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert engine._cores() == 64
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert engine._cores() == 1


@pytest.mark.parametrize(("there", "count", "found"), [(True, 3, 3), (True, 1, 1), (False, 3, 0)])
def test_gpus_are_those_that_can_be_used(there: bool, count: int, found: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert engine._gpus() == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("MemTotal:       99 kB\nMemFree:         7 kB\nMemAvailable:   51 kB\nSwapFree: 3 kB\n", 51 * 1024),
        ("MemTotal:       99 kB\nMemFree:         7 kB\n", 1 << 62),
        ("", 1 << 62),
        (None, 1 << 62),
    ],
)
def test_free_memory_is_what_processes_could_take(
    text: str | None, found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path) -> str:
        assert str(path) == "/proc/meminfo"
        if text is None:
            raise FileNotFoundError(path)
        return text

    monkeypatch.setattr(Path, "read_text", read)
    assert engine._free_memory() == found


@pytest.mark.parametrize(
    ("items", "asked", "threads", "device", "gpus", "gigabytes", "found"),
    [
        (1000, None, 1, "cuda:0", 0, 999, 16),
        (1000, None, 1, "cuda:0", 1, 1, 2),
        (1000, None, 1, "cuda", 3, 1, 6),
        (1000, None, 20, "cpu", 0, 999, 1),
        (1000, None, 1, "cpu", 0, 1, 1),
        (1000, None, 4, "cpu", 0, 5, 2),
        (8, None, 1, "cpu", 0, 999, 2),
        (7, None, 1, "cuda", 8, 999, 1),
        (1000, 40, 1, "cpu", 0, 1, 40),
        (5, 5, 99, "cpu", 0, 1, 5),
    ],
)
def test_a_worker_has_its_threads_its_memory_and_pictures_enough(
    items: int,
    asked: int | None,
    threads: int,
    device: str,
    gpus: int,
    gigabytes: int,
    found: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "_cores", lambda: 16)
    monkeypatch.setattr(engine, "_gpus", lambda: gpus)
    monkeypatch.setattr(engine, "_free_memory", lambda: gigabytes << 30)
    assert workers_for(items, asked, threads, device) == found


def test_each_worker_has_a_gpu_of_its_own_as_far_as_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_gpus", lambda: 3)
    assert [device_at("cuda", number) for number in range(5)] == ["cuda:0", "cuda:1", "cuda:2", "cuda:0", "cuda:1"]
    assert [device_at(name, 4) for name in ("cuda:2", "cpu")] == ["cuda:2", "cpu"]
    monkeypatch.setattr(engine, "_gpus", lambda: 0)
    assert [device_at(name, 4) for name in ("auto", "cuda")] == ["auto", "cuda"]


def test_numbers_of_items_are_those_that_they_have_among_all() -> None:
    found = list(units_of("abAcBxd", 2, lambda item: None if item == "x" else item.isupper()))
    assert found == [
        Unit((0, 1), ("a", "b")),
        Unit((2, 4), ("A", "B")),
        Unit((5,), ("x",)),
        Unit((3, 6), ("c", "d")),
    ]


def test_one_worker_works_here_with_the_threads_that_are_asked_for_and_gives_them_back(threads: Any) -> None:
    with threads(1):
        assert worked(["ok-0", f"who-{os.getpid()}"], workers=1, threads=2) == [
            "ok-0 by 2 of 2",
            f"who-{os.getpid()} by 2 of {os.getpid()}",
        ]
        assert torch.get_num_threads() == 1
        units = units_of(["ok-0", "ok-1"], 1, lambda _: None)
        with closing(work_through(Acting(), units, items=2, workers=1, threads=2)) as outcomes:
            next(outcomes)
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 1


def test_a_number_that_is_given_is_1_or_more() -> None:
    check_numbers(workers=None, threads=1, batch=2)
    for number in (0, -1):
        with pytest.raises(InputError, match=f"--batch is {number}; it should be 1 or more"):
            check_numbers(workers=None, threads=1, batch=number)


def test_errors_of_items_are_the_cores_own_and_rows_stay_with_their_numbers() -> None:
    class FinerError(WeightsError):
        pass

    given: list[Any] = ["a", FinerError("of b"), None]
    one, two, three = outcomes(lambda _: given, Unit((4, 2, 9), ("a", "b", "c")))
    assert (one, three) == (Outcome(4, "a"), Outcome(9, None))
    assert (two.number, two.row, type(two.error), str(two.error)) == (2, None, WeightsError, "of b")


class Queue:
    """Workers that are there, give what is said, and end at the end; what they were given is noted."""

    def __init__(self, *events: tuple[int, Event[int]] | list[tuple[int, Event[int]]]) -> None:
        self._events = deque(events)
        self.given: list[tuple[int, tuple[int, ...]]] = []
        self.begun: list[int] = []
        self.alive, self.closed = 2, False

    def give(self, worker: int, unit: Unit[int]) -> None:
        self.given.append((worker, unit.numbers))

    def events(self) -> list[tuple[int, Event[int]]]:
        found = self._events.popleft()
        return found if isinstance(found, list) else [found]

    def replace(self, worker: int) -> None:
        self.begun.append(worker)

    def close(self) -> None:
        self.closed = True


def done(*numbers: int) -> Event[int]:
    return Done([Outcome(number, number) for number in numbers])


def found_of(crew: Queue, items: int, batch: int = 1) -> list[tuple[int, str]]:
    units: Any = units_of([f"item {n}" for n in range(items)], batch, lambda _: "all")
    found: Outcomes[int] = dispatch(lambda: crew, units)
    return [(one.number, str(one.error or one.row)) for one in found]


def test_everybody_has_one_before_anybody_has_two_and_nobody_has_three() -> None:
    crew = Queue((0, Opened()), (1, Opened()), (0, done(0)), (1, done(2)), (1, done(3)), (0, done(1)), (0, done(4)))
    assert [number for number, _ in found_of(crew, 5)] == [0, 2, 3, 1, 4]
    assert crew.given == [(0, (0,)), (0, (1,)), (1, (2,)), (1, (3,)), (0, (4,))]
    assert crew.closed
    both = Queue([(0, Opened()), (1, Opened())], (0, done(0)))
    assert next(dispatch(lambda: both, units_of(range(9), 1, lambda _: None))).number == 0
    assert both.given == [(0, (0,)), (1, (1,)), (0, (2,)), (1, (3,))]


def test_of_one_that_ended_the_first_failed_the_second_is_done_and_several_are_tried_one_by_one() -> None:
    crew = Queue((0, Opened()), (0, Ended("left")), (0, Opened()), (0, done(1)), (0, done(2)))
    says = "item 0: the worker that had it left; if memory is short, try fewer --workers"
    assert found_of(crew, 3) == [(0, says), (1, "1"), (2, "2")]
    assert crew.given == [(0, (0,)), (0, (1,)), (0, (1,)), (0, (2,))]
    assert crew.begun == [0]
    crew = Queue((0, Opened()), (0, Ended("left")), (0, Opened()), (0, done(2, 3)), (0, Ended("left")), (0, Opened()))
    crew._events += [(0, done(1))]
    says = "item 0: the worker that had it left; if memory is short, try fewer --workers"
    assert found_of(crew, 4, batch=2) == [(2, "2"), (3, "3"), (0, says), (1, "1")]
    assert crew.given == [(0, (0, 1)), (0, (2, 3)), (0, (2, 3)), (0, (0,)), (0, (1,)), (0, (1,))]


def test_nobody_is_begun_when_nothing_is_left_to_do() -> None:
    crew = Queue((0, Opened()), (0, Ended("left")))
    assert len(found_of(crew, 1)) == 1
    assert crew.begun == [] and crew.closed
    crew = Queue((0, Opened()), (1, Opened()), (1, Ended("left")), (0, done(0)))
    assert found_of(crew, 1) == [(0, "0")]
    assert crew.begun == []


def test_whoever_stops_asking_ends_the_crew_and_so_does_what_cannot_be_done() -> None:
    crew = Queue((0, Opened()), (0, done(0)))
    work = dispatch(lambda: crew, units_of(range(9), 1, lambda _: None))
    assert next(work).number == 0
    work.close()
    assert crew.closed
    for event, error in ((Refused(WeightsError("none")), WeightsError), (Broken("Traceback"), RuntimeError)):
        crew = Queue((0, Opened()), (1, event))
        with pytest.raises(error):
            found_of(crew, 3)
        assert crew.closed
    crew = Queue((0, Ended("was killed")), (1, Ended("left")))
    crew.alive = 0
    with pytest.raises(InputError, match="a worker was killed while it was loading; try fewer with --workers"):
        found_of(crew, 3)
    assert crew.closed


def test_one_that_ended_right_after_it_was_done_is_replaced_for_what_is_still_to_come() -> None:
    crew = Queue((0, Opened()), [(0, done(0)), (0, Ended("left"))], (0, Opened()), (0, done(2)), (0, done(3)))
    says = "item 1: the worker that had it left; if memory is short, try fewer --workers"
    assert found_of(crew, 4) == [(0, "0"), (1, says), (2, "2"), (3, "3")]
    assert crew.begun == [0]
