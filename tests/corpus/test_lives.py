"""What a worker does from its first message to its last, and what its crew makes of one that ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from icm_jobs import Acting

from icm_core.corpus import processes
from icm_core.corpus.dispatch import Broken, Done, Ended, Event, Opened, Refused
from icm_core.corpus.on_ray import _Actor
from icm_core.corpus.processes import Processes, _event_of, _serve, _Worker, process_context
from icm_core.corpus.work import Job, Outcome, Place, Unit, Work
from icm_core.errors import IcmError, InputError, WeightsError


class FinerError(WeightsError):
    """An error of a plugin's own, which other processes need not know."""


@dataclass(frozen=True)
class Speaking(Job[str, str]):
    """Opens as it is told, and does what each item says."""

    opening: str = ""

    def open(self, place: Place) -> Work[str, str]:
        if self.opening == "finer":
            raise FinerError("there are no weights")
        if self.opening == "bug":
            raise ZeroDivisionError("of the opening")
        return lambda items: [self._one(place, item) for item in items]

    def _one(self, place: Place, item: str) -> str | IcmError:
        if item == "finer":
            return FinerError("of an item")
        if item == "bug":
            raise ZeroDivisionError("of an item")
        if item == "end" and callable(signal.getsignal(signal.SIGTERM)):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        if item == "place":
            return f"{place.number} {place.threads} {torch.get_num_threads()}"
        if item == "signals":
            return f"{signal.getsignal(signal.SIGINT) is signal.SIG_IGN}"
        return item.upper()


def unit(*items: str, first: int = 7) -> Unit[str]:
    return Unit(tuple(range(first, first + len(items))), items)


@pytest.fixture
def live(threads: Any) -> Iterator[Callable[..., list[Event[str]]]]:
    """A worker's life in this process; gives all that it says to whoever gives it units."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(job: Job[str, str], *units: Unit[str], place: Place = Place()) -> list[Event[str]]:  # noqa: B008
        ours, theirs = multiprocessing.Pipe()
        said: list[Event[str]] = []

        def tell() -> None:
            with suppress(EOFError, OSError), closing(ours):
                said.append(ours.recv())
                for one in units:
                    ours.send(one)
                    said.append(ours.recv())

        teller = Thread(target=tell)
        teller.start()
        try:
            _serve(job, place, theirs)
        finally:
            theirs.close()
            teller.join()
        return said

    with threads(torch.get_num_threads()):
        yield call
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_a_worker_opens_its_job_and_does_unit_after_unit(live: Callable[..., list[Event[str]]]) -> None:
    opened, one, two = live(Speaking(), unit("a"), unit("b", "c", first=3))
    assert isinstance(opened, Opened)
    assert one == Done([Outcome(7, "A")])
    assert two == Done([Outcome(3, "B"), Outcome(4, "C")])


def test_a_worker_has_the_place_and_the_threads_that_it_is_given(live: Callable[..., list[Event[str]]]) -> None:
    _, found = live(Speaking(), unit("place"), place=Place(5, 2))
    assert found == Done([Outcome(7, "5 2 2")])


def test_errors_travel_as_the_cores_own(live: Callable[..., list[Event[str]]]) -> None:
    (refused,) = live(Speaking("finer"))
    assert isinstance(refused, Refused)
    assert type(refused.error) is WeightsError
    assert str(refused.error) == "there are no weights"
    _, found = live(Speaking(), unit("a", "finer"))
    assert isinstance(found, Done)
    assert found.outcomes[0] == Outcome(7, "A")
    assert (found.outcomes[1].number, found.outcomes[1].row) == (8, None)
    assert type(found.outcomes[1].error) is WeightsError


def test_a_bug_ends_a_worker_with_its_traceback(live: Callable[..., list[Event[str]]]) -> None:
    *_, found = live(Speaking("bug"))
    assert isinstance(found, Broken) and "ZeroDivisionError: of the opening" in found.text
    _, found, *more = live(Speaking(), unit("bug"), unit("a"))
    assert isinstance(found, Broken) and "Traceback" in found.text and "of an item" in found.text
    assert more == []


def test_a_worker_ignores_ctrl_c_and_leaves_by_an_exception_when_it_is_ended(
    live: Callable[..., list[Event[str]]],
) -> None:
    assert live(Speaking(), unit("signals"))[1] == Done([Outcome(7, "True")])
    with pytest.raises(SystemExit) as caught:
        live(Speaking(), unit("end"))
    assert caught.value.code == 143


def test_a_worker_leaves_when_nobody_is_there_any_more(live: Callable[..., list[Event[str]]]) -> None:
    del live  # signals and threads are as before afterwards
    ours, theirs = multiprocessing.Pipe()
    ours.close()
    _serve(Speaking(), Place(), theirs)
    theirs.close()


class Process:
    """A process as its crew sees it: alive or not, and with an exit code once it was waited for."""

    def __init__(self, alive: bool, code: int | None = None) -> None:
        self._alive, self._code = alive, code
        self.exitcode: int | None = None

    def is_alive(self) -> bool:
        return self._alive

    def join(self, patience: float) -> None:
        assert patience > 1
        self.exitcode = self._code


def told(process: Process, *messages: Event[str], closed: bool = False) -> list[Event[str] | None]:
    """What is made of a worker, message by message, and once more."""
    ours, theirs = multiprocessing.Pipe()
    for message in messages:
        theirs.send(message)
    if closed:
        theirs.close()
    worker: Any = _Worker(process, ours)  # type: ignore[arg-type]
    with closing(ours), closing(theirs):
        return [_event_of(worker) for _ in range(len(messages) + 1)]


def test_what_a_worker_said_before_it_ended_is_heard_first() -> None:
    done: Event[str] = Done([Outcome(1, "a")])
    assert told(Process(False, 0), Opened(), done) == [Opened(), done, Ended("ended by itself")]
    assert told(Process(False, 0), done, closed=True) == [done, Ended("ended by itself")]


def test_of_a_worker_that_is_alive_and_silent_there_is_nothing_to_tell() -> None:
    assert told(Process(True), Opened()) == [Opened(), None]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (-9, "was killed (SIGKILL)"),
        (-15, "was killed (SIGTERM)"),
        (0, "ended by itself"),
        (3, "ended by itself"),
        (None, "ended by itself"),
    ],
)
def test_how_a_worker_ended_is_said(code: int | None, why: str) -> None:
    assert told(Process(False, code)) == [Ended(why)]
    assert told(Process(True, code), closed=True) == [Ended(why)]  # it has closed its end, and is about to leave


def test_workers_are_begun_by_a_server_that_has_imported_the_pipelines_and_nothing_forks_this_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "forkserver" in multiprocessing.get_all_start_methods():
        assert process_context().get_start_method() == "forkserver"
        preloaded: list[list[str]] = []
        context = multiprocessing.get_context("forkserver")
        monkeypatch.setattr(type(context), "set_forkserver_preload", lambda _, names: preloaded.append(names))
        process_context()
        assert preloaded == [["icm_core.corpus.processes", "icm_core.pipeline.load"]]
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["fork", "spawn"])
    assert process_context().get_start_method() == "spawn"


@dataclass(frozen=True)
class Ending(Job[str, str]):
    """Items that end a worker, or keep it."""

    folder: Path

    def open(self, place: Place) -> Work[str, str]:
        return lambda items: [self._one(place, item) for item in items]

    def _one(self, place: Place, item: str) -> str:
        if item == "quit":
            os._exit(3)
        if item == "tidy":
            half = self.folder / "half"
            half.touch()
            try:
                time.sleep(20)
            finally:
                half.unlink()
        if item == "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            (self.folder / f"stubborn-{os.getpid()}").touch()
            time.sleep(20)
        return f"{place.number} {place.threads}"


@pytest.fixture
def crew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Processes[str, str]]:
    """A crew of copies of this process, which begin at once."""
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("processes are not copied here")
    monkeypatch.setattr(processes, "process_context", lambda: multiprocessing.get_context("fork"))
    return lambda workers, each=1: Processes(Ending(tmp_path), workers, each)


def heard(crew: Processes[str, str], count: int) -> list[tuple[int, Event[str]]]:
    found: list[tuple[int, Event[str]]] = []
    while len(found) < count:
        found += crew.events()
    return found


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_keep_their_numbers_when_they_are_replaced(crew: Callable[..., Processes[str, str]]) -> None:
    with closing(crew(2)) as made:
        assert sorted(heard(made, 2), key=lambda one: one[0]) == [(0, Opened()), (1, Opened())]
        made.give(0, unit("quit"))
        assert heard(made, 1) == [(0, Ended("ended by itself"))]
        assert made.alive == 1
        made.replace(0)
        assert made.alive == 2
        assert heard(made, 1) == [(0, Opened())]
        for worker in (0, 1):
            made.give(worker, unit("place"))
            assert heard(made, 1) == [(worker, Done([Outcome(7, f"{worker} 1")]))]
    assert made.alive == 0
    assert not multiprocessing.active_children()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_each_worker_has_as_many_threads_as_it_is_told(crew: Callable[..., Processes[str, str]]) -> None:
    with closing(crew(1, 3)) as made:
        heard(made, 1)
        made.give(0, unit("place"))
        assert heard(made, 1) == [(0, Done([Outcome(7, "0 3")]))]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_worker_that_is_gone_may_be_given_something(crew: Callable[..., Processes[str, str]]) -> None:
    with closing(crew(1)) as made:
        heard(made, 1)
        made.give(0, unit("quit"))
        multiprocessing.active_children()[0].join()
        for _ in range(3):
            made.give(0, unit("place"))
        assert heard(made, 1) == [(0, Ended("ended by itself"))]


def wait_for(there: Callable[[], Sequence[Path]]) -> list[Path]:
    end = time.monotonic() + 60
    while not (found := there()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return list(found)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_worker_that_is_told_to_leave_clears_up_what_is_half_written(
    crew: Callable[..., Processes[str, str]], tmp_path: Path
) -> None:
    made = crew(1)
    heard(made, 1)
    made.give(0, unit("tidy"))
    wait_for(lambda: list(tmp_path.glob("half")))
    made.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_worker_that_does_not_leave_is_ended_after_a_while(
    crew: Callable[..., Processes[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_PATIENCE", 0.1)
    made = crew(1)
    heard(made, 1)
    made.give(0, unit("stubborn"))
    (mark,) = wait_for(lambda: list(tmp_path.glob("stubborn-*")))
    made.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.name.partition("-")[2]), 0)


def actor(job: Job[str, str], folder: str, path: list[str], place: Place = Place()) -> _Actor:  # noqa: B008
    return _Actor(job, place, folder, path)


@pytest.fixture
def around(tmp_path: Path, threads: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Another folder than the one that tests are in, and a search path that may be changed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with threads(torch.get_num_threads()):
        yield tmp_path


def test_an_actor_does_what_a_worker_does(around: Path) -> None:
    made = actor(Speaking(), str(around), [], Place(0, 2))
    assert made.open() == Opened()
    assert made.do(unit("a", "place")) == Done([Outcome(7, "A"), Outcome(8, "0 2 2")])
    found = made.do(unit("finer"))
    assert isinstance(found, Done) and type(found.outcomes[0].error) is WeightsError
    broken = made.do(unit("bug"))
    assert isinstance(broken, Broken) and "ZeroDivisionError: of an item" in broken.text


def test_an_actor_that_cannot_begin_says_why(around: Path) -> None:
    refused = actor(Speaking("finer"), str(around), []).open()
    assert isinstance(refused, Refused) and type(refused.error) is WeightsError
    broken = actor(Speaking("bug"), str(around), []).open()
    assert isinstance(broken, Broken) and "Traceback" in broken.text


def test_an_actor_is_where_the_program_was_started_and_finds_what_that_found(around: Path) -> None:
    for name in ("start", "site"):
        (around / name).mkdir()
    known = [*sys.path]
    actor(Speaking(), str(around / "start"), [known[-1], "", str(around / "gone"), str(around / "site")])
    assert Path.cwd() == around / "start"
    assert sys.path == [*known, str(around / "site")]
    actor(Speaking(), str(around / "gone"), [])
    assert Path.cwd() == around / "start"  # this machine has no such folder


class Cluster:
    """Ray as far as a crew asks for it: calls wait until somebody wants what came of them, or their actor has ended."""

    def __init__(self, begun: bool, **resources: float) -> None:
        self._resources, self.begun = resources, begun
        self.log: list[object] = []
        self.made: list[_Actor] = []
        self.exceptions = SimpleNamespace(RayActorError=ZeroDivisionError)

    def is_initialized(self) -> bool:
        return self.begun

    def init(self, **options: Any) -> None:
        self.log.append(("init", options.get("num_cpus"), options.get("address")))

    def cluster_resources(self) -> dict[str, float]:
        return self._resources

    def remote(self, **needs: float) -> Callable[[type[_Actor]], Any]:
        self.log.append(needs)
        return lambda kind: SimpleNamespace(remote=lambda *arguments: self._make(kind, *arguments))

    def _make(self, kind: type[_Actor], *arguments: Any) -> Any:
        made = kind(*arguments)
        self.made.append(made)

        def call(name: str) -> Any:
            return SimpleNamespace(remote=lambda *arguments: lambda: getattr(made, name)(*arguments))

        return SimpleNamespace(open=call("open"), do=call("do"), made=made)

    def wait(self, calls: list[Any], num_returns: int = 1, timeout: float | None = None) -> tuple[list[Any], list[Any]]:
        assert 1 <= num_returns <= len(calls)
        if timeout != 0:
            self.log.append(("wait", num_returns, timeout))
        return calls, []

    def get(self, call: Any) -> Any:
        return call()

    def kill(self, found: Any) -> None:
        self.log.append(("kill", self.made.index(found.made)))

    def shutdown(self) -> None:
        self.log.append("shutdown")


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch, around: Path) -> Callable[..., Any]:
    """A crew of actors on such a cluster."""
    from icm_core.corpus.on_ray import Actors

    del around
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def begin(
        cluster: Cluster, workers: int | None = None, threads: int = 1, device: str = "auto", items: int = 100
    ) -> Any:
        monkeypatch.setitem(sys.modules, "ray", cluster)
        return Actors(Speaking(), workers, threads, device, items)

    return begin


@pytest.mark.parametrize(
    ("resources", "how", "count", "needs"),
    [
        ({"CPU": 7.0}, {}, 7, {"num_cpus": 1, "num_gpus": 0}),
        ({"CPU": 7.0}, {"threads": 3}, 2, {"num_cpus": 3, "num_gpus": 0}),
        ({"CPU": 2.0}, {"threads": 3}, 1, {"num_cpus": 3, "num_gpus": 0}),
        ({}, {}, 1, {"num_cpus": 1, "num_gpus": 0}),
        ({"CPU": 7.0, "GPU": 2.0}, {}, 2, {"num_cpus": 1, "num_gpus": 1}),
        ({"CPU": 7.0, "GPU": 2.0}, {"device": "cpu"}, 7, {"num_cpus": 1, "num_gpus": 0}),
        ({"CPU": 7.0, "GPU": 2.0}, {"workers": 5}, 5, {"num_cpus": 1, "num_gpus": 1}),
        ({"CPU": 7.0}, {"workers": 5, "items": 4}, 4, {"num_cpus": 1, "num_gpus": 0}),
        ({"CPU": 7.0}, {"items": 3}, 3, {"num_cpus": 1, "num_gpus": 0}),
        ({"CPU": 7.0}, {"workers": 5, "items": 0}, 1, {"num_cpus": 1, "num_gpus": 0}),
    ],
)
def test_as_many_actors_as_the_cluster_can_have(
    on: Callable[..., Any], resources: dict[str, float], how: dict[str, Any], count: int, needs: dict[str, float]
) -> None:
    cluster = Cluster(True, **resources)
    made = on(cluster, **how)
    assert made.alive == len(cluster.made) == count
    assert cluster.log == [needs]
    assert {one._place for one in cluster.made} == {Place(0, how.get("threads", 1))}


@pytest.mark.parametrize(("workers", "each", "cores"), [(None, 2, None), (3, 1, 3), (3, 2, 6)])
def test_where_there_is_no_cluster_one_is_begun_with_cores_for_all_and_ended(
    on: Callable[..., Any], workers: int | None, each: int, cores: int | None
) -> None:
    cluster = Cluster(False, CPU=8.0)
    made = on(cluster, workers, each)
    assert cluster.log[0] == ("init", cores, None)
    made.close()
    assert cluster.log[-1] == "shutdown"


def test_a_cluster_that_is_there_stays_and_actors_may_end_what_they_have_begun(on: Callable[..., Any]) -> None:
    cluster = Cluster(True, CPU=2.0)
    made = on(cluster)
    made.give(0, unit("a"))
    del cluster.log[:]
    made.close()
    assert cluster.log == [("wait", 3, 60.0), ("kill", 0), ("kill", 1)]
    assert made.alive == 0


def test_events_of_an_actor_come_in_the_order_of_its_calls(on: Callable[..., Any]) -> None:
    made = on(Cluster(True, CPU=2.0))
    assert made.events() == [(0, Opened()), (1, Opened())]
    made.give(1, unit("a"))
    made.give(1, unit("b", first=8))
    assert made.events() == [(1, Done([Outcome(7, "A")]))]
    assert made.events() == [(1, Done([Outcome(8, "B")]))]


def test_an_actor_that_ended_is_counted_no_more_and_may_be_replaced(
    on: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = on(Cluster(True, CPU=2.0))
    made.events()
    made.give(0, unit("a"))
    made.give(1, unit("b"))

    def ended(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(Cluster, "get", ended)
        assert made.events() == [(number, Ended("ended by itself, or with its machine")) for number in (0, 1)]
    assert made.alive == 0
    made.replace(1)
    assert made.alive == 1
    assert made.events() == [(1, Opened())]
    made.give(1, unit("c"))
    assert made.events() == [(1, Done([Outcome(7, "C")]))]


@pytest.mark.parametrize("error", [ImportError("libray.so"), ModuleNotFoundError("No module named 'ray'")])
def test_ray_that_cannot_be_imported_is_to_be_installed(
    on: Callable[..., Any], error: ImportError, monkeypatch: pytest.MonkeyPatch
) -> None:
    del on

    class Missing:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "ray":
                raise error

    from icm_core.corpus.on_ray import Actors

    monkeypatch.delitem(sys.modules, "ray", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    with pytest.raises(
        InputError, match=r"--engine ray needs Ray; install it with: pip install 'icm-framework\[ray\]'"
    ):
        Actors(Acting(), 1, 1, "cpu", 1)
