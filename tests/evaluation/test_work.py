"""Who measures which picture, and what a measurement says of where it was made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from icm_made import of_pictures, pictured

from icm_core import build_registry
from icm_core.corpus.work import Outcome, Place, Unit
from icm_core.errors import InputError
from icm_core.types import Legend
from icm_evaluation import work
from icm_evaluation.measure import file_name, warm_up
from icm_evaluation.options import Options
from icm_evaluation.plan import Plan, Setting
from icm_evaluation.provenance import command_of, device_name, versions
from icm_evaluation.results import PictureRow
from icm_evaluation.run import _encoded, _fixed
from icm_evaluation.work import Measuring, Numbered, Opened, Site, rows_of, workers_of

ROWS = {number: pictured(f"p{number}", [(100, 60)], of_pictures((30.0 + number,))) for number in (4, 0, 7)}


def plan_of(*settings: Setting, **more: Any) -> Plan:
    about = {"tasks": {"b": None, "a": None}, "skipped": {}, "clean": (), "targets": None, "legend": Legend(), **more}
    return Plan(settings, **about)


class Coder:
    """A pipeline that notes what it is asked."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.asked: list[Any] = []

    def encode(self, picture: Any, **more: Any) -> bytes:
        self.asked.append(more)
        return b"file"

    def decode(self, blob: bytes, tasks: Any = None) -> None:
        self.asked.append((blob, tasks))


@dataclass(frozen=True)
class Stored(Site):
    """A site whose rows are there already; the fourth picture cannot be read."""

    def row(self, number: int) -> PictureRow:
        if number == 3:
            raise InputError("p3 cannot be read")
        return ROWS[number]


def site(coder: Any = None, **options: Any) -> Stored:
    plan = plan_of(Setting(2.0), Setting(3.0))
    return Stored(Options("m", "d:.", **options), cast(Any, None), coder or cast(Any, Coder()), cast(Any, None), plan)


def test_the_first_picture_is_as_quick_as_the_others_with_search_and_tasks() -> None:
    coder = Coder()
    warm_up(
        cast(Any, coder),
        plan_of(Setting(2.0, 3.5), Setting(4.0), encoder="deep", effort=3, searched=("a",)),
    )
    assert coder.asked == [
        {"quality": 2.0, "enhancement_quality": 3.5, "encoder": "deep", "effort": 3, "search_for": ("a",)},
        (b"file", ["b", "a"]),
    ]


def test_settings_have_names_that_differ_and_so_have_kept_files() -> None:
    settings = [Setting(2.0), Setting(2.0, 2.0), Setting(2.0, 0.0), Setting(2.5, 3.25)]
    assert [one.name for one in settings] == ["2", "2.e2", "2.e0", "2.5.e3.25"]
    names = [file_name("val/a/b", one.quality, one.enhancement) for one in settings]
    assert names == [f"val.a.b.q{one.name}.icm" for one in settings]
    assert file_name("a", 1.0625) == "a.q1.0625.icm"
    assert settings[3].arguments == {"quality": 2.5, "enhancement_quality": 3.25}
    assert plan_of(Setting(2.0)).search == {"encoder": None, "effort": 0, "search_for": None}


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ([Setting(2.0)], ""),
        ([Setting(1.0), Setting(2.0)], ""),
        ([Setting(2.5, 1.0), Setting(2.5, 3.0)], "+base2.5"),
        ([Setting(1.0, 2.5), Setting(3.0, 2.5)], "+enhancement2.5"),
        ([Setting(2.0, 3.0)], "+base2"),
    ],
)
def test_a_system_is_called_after_the_layer_that_stays(settings: list[Setting], name: str) -> None:
    assert _fixed(settings) == name


def test_a_system_is_called_after_its_encoder_and_the_steps_of_its_search() -> None:
    assert _encoded(plan_of(Setting(1.0), encoder="deep", effort=12)) == "+deep+search12"
    assert (_encoded(plan_of(Setting(1.0))), _encoded(plan_of(Setting(1.0), effort=3))) == ("", "+search3")


def test_a_picture_that_cannot_be_measured_is_an_outcome_among_others() -> None:
    rows = site().rows([Numbered(4), Numbered(3), Numbered(0)])
    assert rows[0] == ROWS[4] and rows[2] == ROWS[0]
    assert isinstance(rows[1], InputError) and str(rows[1]) == "p3 cannot be read"


def test_a_picture_without_memory_is_called_by_its_number() -> None:
    class Full(Stored):
        def row(self, number: int) -> PictureRow:
            raise MemoryError

    (found,) = Full(**vars(site())).rows([Numbered(5)])
    assert str(found) == "picture 5 of the data set: not enough memory for a picture of this size"


def test_a_process_that_has_loaded_everything_lets_the_networks_run_once() -> None:
    coder = Coder()
    own = site(coder)
    assert Opened(own).open(Place())([Numbered(7)]) == [ROWS[7]]
    assert [type(asked) for asked in coder.asked] == [dict, tuple]
    assert coder.asked[0]["quality"] == 2.0


def test_another_process_loads_what_the_options_name_onto_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Options] = []

    def loaded(options: Options) -> Site:
        opened.append(options)
        return own

    own = site(Coder())
    monkeypatch.setattr(Site, "open", staticmethod(loaded))
    monkeypatch.setattr(work, "device_at", lambda device, number: f"{device}:{number}")
    options = Options("m", "d:.", device="cuda", limit=3)
    assert Measuring(options).open(Place(number=1))([Numbered(0)]) == [ROWS[0]]
    assert opened == [Options("m", "d:.", device="cuda:1", limit=3)]
    assert len(cast(Any, own.pipe).asked) == 2


@pytest.mark.parametrize(
    ("engine", "workers", "who"),
    [("local", 1, "here"), ("local", 2, "beside"), ("ray", 1, "beside"), ("ray", 3, "beside")],
)
def test_one_local_worker_is_this_process_and_any_other_is_told_everything(
    monkeypatch: pytest.MonkeyPatch, engine: str, workers: int, who: str
) -> None:
    asked: list[Any] = []

    def here(job: Any, units: Any, **more: Any) -> Iterator[Any]:
        asked.append(("here", type(job), [*units], more))
        yield from [Outcome(4, ROWS[4]), Outcome(7, ROWS[7])]

    def beside(job: Any, units: Any, **more: Any) -> Iterator[Any]:
        asked.append(("beside", type(job), [*units], more))
        yield from [Outcome(7, ROWS[7]), Outcome(4, ROWS[4])]

    monkeypatch.setattr(work, "here", here)
    monkeypatch.setattr(work, "work_through", beside)
    found = dict(rows_of(site(engine=engine, device="cpu"), [4, 7], workers))
    assert found == {4: ROWS[4], 7: ROWS[7]}
    units = [Unit((4,), (Numbered(4),)), Unit((7,), (Numbered(7),))]
    more = {"threads": 1} if who == "here" else {"engine": engine, "workers": workers, "device": "cpu", "items": 2}
    assert asked == [(who, Opened if who == "here" else Measuring, units, more)]


def test_the_first_picture_that_cannot_be_measured_ends_the_work_with_its_error() -> None:
    found = rows_of(site(), [4, 3, 0], 1)
    assert next(found) == (4, ROWS[4])
    with pytest.raises(InputError, match=r"^p3 cannot be read$"):
        next(found)
    assert [*found] == []


def test_whoever_stops_listening_stops_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[bool] = []

    def here(*_: Any, **__: Any) -> Iterator[Any]:
        try:
            yield from [Outcome(4, ROWS[4]), Outcome(7, ROWS[7])]
        finally:
            ended.append(True)

    monkeypatch.setattr(work, "here", here)
    found = rows_of(site(), [4, 7], 1)
    next(found)
    assert ended == []
    found.close()
    assert ended == [True]


@pytest.mark.parametrize(
    ("device", "asked", "worth", "workers"),
    [("cpu", None, 3, 3), ("cpu", None, 20, 8), ("cpu", 20, 20, 20), ("cuda", None, 20, 1), ("cuda", 3, 3, 3)],
)
def test_there_are_eight_workers_at_most_unless_more_are_asked_for_and_one_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, device: str, asked: int | None, worth: int, workers: int
) -> None:
    seen: list[tuple[int, int | None, str]] = []

    def worth_it(items: int, count: int | None = None, threads: int = 1, device: str = "auto") -> int:
        seen.append((items, count, device))
        return worth

    monkeypatch.setattr(work, "workers_for", worth_it)
    assert workers_of(site(Coder(device), workers=asked), 40) == workers
    assert seen == ([] if device == "cuda" and asked is None else [(40, asked, "cpu")])


def test_a_device_is_called_by_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: f"GPU at {device}")
    assert device_name(cast(Any, Coder("cuda:1"))) == "GPU at cuda:1"
    monkeypatch.setattr("platform.machine", lambda: "abacus")
    assert device_name(cast(Any, Coder())) == "abacus CPU, 1 thread a picture"


def test_versions_are_those_of_this_program_of_libraries_and_of_every_plugin() -> None:
    found = versions(build_registry())
    assert found["icm-tiny"] == "1.2.3"
    assert torch.__version__.startswith(found["torch"]) and {"icm", "python", "numpy", "pillow"} < found.keys()


def test_a_command_has_qualities_in_full_each_once_and_the_models_file() -> None:
    said = command_of(Options("dir/own.json", "maps:x:y"), [Setting(2.25, 1.0625), Setting(2.25, 3.5)])
    assert said == "icm evaluate own.json --data maps:FOLDER --split val -q 2.25 --enhancement-quality 1.0625,3.5"
    own = Options("own", "d:.", search_for=("b", "a"), keep=Path("kept"), workers=3, device="cuda")
    assert command_of(own, [Setting(1.0)]) == "icm evaluate own --data d:FOLDER --split val -q 1 --for b,a"
