"""Units to workers: every item has one outcome, whatever happens to whom."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from icm_jobs import Acting

from icm_core.corpus import engine
from icm_core.corpus.dispatch import Done, Ended, Event, Opened, dispatch
from icm_core.corpus.engine import device_at, units_of, work_through, workers_for
from icm_core.corpus.work import Outcome, Unit
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
