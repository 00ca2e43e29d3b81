"""What a lane does with the items that it is given: together, alone, and where something is wrong with one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from icm_core.bitstream import split
from icm_core.corpus.decoding import Coded, Decoding
from icm_core.corpus.dispatch import Done, Ended, Event, Opened, Refused, dispatch
from icm_core.corpus.encoding import Encoding, Picture
from icm_core.corpus.work import Outcome, Place, Unit, attempt, plain
from icm_core.errors import BitstreamError, IcmError, InputError, SpecError
from icm_core.pictures import open_picture
from icm_core.pipeline.pipeline import Pipeline

FULL = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes. Out of memory!")


def decoding(toy: Path, **more: Any) -> Decoding:
    return Decoding(**{"model": str(toy), "device": "cpu", "precision": "fp32", "max_pixels": 10**6, **more})


def encoding(toy: Path, **more: Any) -> Encoding:
    return Encoding(**{"model": str(toy), "device": "cpu", "precision": "fp32", "quality": 2.0, **more})


@pytest.fixture
def alike(coded: Path, tmp_path: Path) -> list[Coded]:
    """Three files of one size."""
    files = sorted(coded.rglob("*.icm"))
    same = [path for path in files if int(path.stem[1:]) % 4 == 0]
    assert len(same) == 3
    return [Coded(path, tmp_path / path.stem) for path in same]


def rows(found: list[Any]) -> list[Any]:
    return [{**one["row"], "seconds": 0} for one in found]


def test_together_or_alone_the_answers_are_the_same_and_are_verified_alike(
    toy: Path, album: Path, tmp_path: Path
) -> None:
    pictures = [path for path in sorted(album.rglob("*.png")) if int(path.stem[1:]) % 4 == 0]
    lane = encoding(toy, control=True).open(Place())
    lane([Picture(path, tmp_path / f"{path.stem}.icm") for path in pictures])
    files = [Coded(tmp_path / f"{path.stem}.icm", tmp_path / path.stem) for path in pictures]
    job = decoding(toy, verify=True, tasks=("coarse",)).open(Place())
    together, alone = rows(list(job(files))), [rows(list(job([one])))[0] for one in files]
    assert together == alone
    assert [row["verified"] for row in together] == [["base"]] * 3


def test_of_files_that_go_together_one_that_is_too_large_is_refused(toy: Path, alike: list[Coded]) -> None:
    job = decoding(toy, max_pixels=64 * 48 - 1)
    found = job.open(Place())(alike)
    assert all(isinstance(one, BitstreamError) and "64 pixels" not in str(one) for one in found)
    assert all("3071 pixels are accepted" in str(one) for one in found)
    assert job.key(alike[0]) is None
    assert decoding(toy).key(alike[0]) is not None


def test_an_enhancement_that_is_joined_keeps_to_the_limit_as_well(
    toy: Path, alike: list[Coded], tmp_path: Path
) -> None:
    base, fine = split(alike[0].source.read_bytes())
    (tmp_path / "base.icm").write_bytes(base)
    (tmp_path / "fine.icme").write_bytes(fine)
    one = Coded(tmp_path / "base.icm", tmp_path / "base")
    (row,) = decoding(toy, enhancement=tmp_path / "fine.icme").open(Place())([one])
    assert not isinstance(row, IcmError)
    assert row["row"]["bytes"] == alike[0].source.stat().st_size
    assert "fine" in row["row"]["tasks"]
    (refused,) = decoding(toy, enhancement=tmp_path / "fine.icme", max_pixels=100).open(Place())([one])
    assert isinstance(refused, BitstreamError)


def test_too_large_a_picture_is_refused_before_the_enhancement_is_looked_at(
    toy: Path, alike: list[Coded], tmp_path: Path
) -> None:
    (tmp_path / "base.icm").write_bytes(split(alike[0].source.read_bytes())[0])
    (tmp_path / "fine.icme").write_bytes(b"no enhancement")
    one = Coded(tmp_path / "base.icm", tmp_path / "base")
    for most, says in ((10**6, "the enhancement part does not start with"), (100, "1 to 100 pixels are accepted")):
        (refused,) = decoding(toy, enhancement=tmp_path / "fine.icme", max_pixels=most).open(Place())([one])
        assert isinstance(refused, BitstreamError) and says in str(refused)


@pytest.mark.parametrize("order", ["encode", "decode"])
def test_what_does_not_fit_into_memory_together_goes_alone_and_a_bug_is_none_of_it(
    order: str, toy: Path, album: Path, alike: list[Coded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [path for path in sorted(album.rglob("*.png")) if int(path.stem[1:]) % 4 == 0]
    lane: Callable[[Any], Any]
    items: list[Any]
    if order == "encode":
        lane = encoding(toy).open(Place())
        items = [Picture(path, tmp_path / f"{path.stem}.icm") for path in pictures]
    else:
        lane, items = decoding(toy, tasks=("coarse",)).open(Place()), list(alike)

    name = f"{order}_batch"
    usual = getattr(Pipeline, name)

    def fails(error: Exception) -> Callable[..., Any]:
        def fail(pipe: Pipeline, several: Any, *more: Any, **named: Any) -> Any:
            if len(several) > 1:
                raise error
            return usual(pipe, several, *more, **named)

        return fail

    monkeypatch.setattr(Pipeline, name, fails(FULL))
    assert not any(isinstance(one, IcmError) for one in lane(items))
    monkeypatch.setattr(Pipeline, name, fails(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        lane(items)


def test_a_picture_that_cannot_be_read_spoils_no_other_and_is_read_once(
    toy: Path, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [path for path in sorted(album.rglob("*.png")) if int(path.stem[1:]) % 4 == 0]
    (tmp_path / "broken.png").write_bytes(b"no picture")
    items = [Picture(path, tmp_path / f"{path.stem}.icm") for path in (*pictures[:2], tmp_path / "broken.png")]
    lane = encoding(toy).open(Place())
    read: list[Path] = []

    def watched(path: Path) -> Any:
        read.append(path)
        return open_picture(path)

    monkeypatch.setattr("icm_core.pictures.open_picture", watched)
    one, two, broken = lane(items)
    assert not isinstance(one, IcmError)
    assert not isinstance(two, IcmError)
    assert isinstance(broken, InputError)
    assert read.count(tmp_path / "broken.png") == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"encoder": "deeep"}, "has no encoder 'deeep'"),
        ({"effort": 5000}, "effort is 5000"),
        ({"quality": 77.0}, "quality 77 is out of range"),
        ({"search_for": ("coarse",)}, "needs an effort of 1 or more"),
    ],
)
def test_what_no_picture_can_be_coded_with_is_said_when_the_job_is_opened(
    toy: Path, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        encoding(toy, **options).open(Place())


def test_a_pipeline_that_cannot_be_loaded_is_said_when_the_job_is_opened(toy: Path) -> None:
    with pytest.raises(SpecError, match="no such file"):
        decoding(toy, model=str(toy.with_name("gone.json"))).open(Place())


def test_rows_have_a_mark_only_where_somebody_asks_for_one(toy: Path, alike: list[Coded]) -> None:
    (plain_row,) = decoding(toy, tasks=("coarse",)).open(Place())(alike[:1])
    assert not isinstance(plain_row, IcmError)
    assert plain_row["mark"] == ""
    (marked,) = decoding(toy, tasks=("coarse",), resume=True).open(Place())(alike[:1])
    assert not isinstance(marked, IcmError)
    assert len(marked["mark"]) == 32
    (kept,) = decoding(toy, tasks=("coarse",), resume=True).open(Place())([replace(alike[0], earlier=marked)])
    assert not isinstance(kept, IcmError)
    assert kept["row"] == {**marked["row"], "kept": True}


def test_a_mark_is_another_where_anything_is_that_answers_depend_on(
    toy: Path, alike: list[Coded], tmp_path: Path
) -> None:
    usual: dict[str, Any] = {"tasks": ("coarse",), "resume": True}
    others: list[dict[str, Any]] = [{}, {"tasks": None}, {"draw": True}, {"precision": "bf16"}]
    marks = [decoding(toy, **{**usual, **more}).open(Place())(alike[:1])[0]["mark"] for more in others]  # type: ignore[index]
    elsewhere = replace(alike[0], stem=tmp_path / "elsewhere")
    marks += [decoding(toy, **usual).open(Place())([elsewhere])[0]["mark"]]  # type: ignore[index]
    marks += [decoding(toy, **usual).open(Place())(alike[1:2])[0]["mark"]]  # type: ignore[index]
    assert len(set(marks)) == len(marks)


def test_a_drawing_that_is_gone_is_drawn_again(toy: Path, alike: list[Coded]) -> None:
    job = decoding(toy, tasks=("coarse",), draw=True, resume=True)
    (first,) = job.open(Place())(alike[:1])
    assert not isinstance(first, IcmError)
    row = first["row"]["tasks"]["coarse"]
    for key in ("picture", "drawing"):
        if key in row:
            Path(str(row[key])).unlink()
            (again,) = job.open(Place())([replace(alike[0], earlier=first)])
            assert not isinstance(again, IcmError)
            assert "kept" not in again["row"]
            assert Path(str(row[key])).is_file()


def test_an_error_travels_as_the_cores_own() -> None:
    class FinerError(BitstreamError):
        pass

    class OtherError(IcmError):
        pass

    assert type(plain(FinerError("of a file"))) is BitstreamError
    assert str(plain(FinerError("of a file"))) == "of a file"
    assert type(plain(OtherError("x"))) is IcmError


def test_memory_that_ran_out_is_a_sentence_and_a_bug_is_not() -> None:
    def fail(error: Exception) -> Callable[[str], str]:
        def work(_: str) -> str:
            raise error

        return work

    for error in (MemoryError(), FULL):
        found = attempt(fail(error), "a.png")
        assert isinstance(found, InputError)
        assert str(found) == "a.png: not enough memory for a picture of this size"
    with pytest.raises(RuntimeError, match="a bug"):
        attempt(fail(RuntimeError("a bug")), "a.png")


def test_items_that_come_apart_keep_their_numbers() -> None:
    assert Unit((7, 4), ("seven", "four")).apart() == [Unit((7,), ("seven",)), Unit((4,), ("four",))]


class Two:
    """Two workers, the second of which never begins; the first does what it is given."""

    def __init__(self, ends: int) -> None:
        self._events: list[tuple[int, Event[str]]] = [(1, Ended("left")), (0, Opened())]
        self._ends, self._given = ends, 0
        self.alive = 1
        self.begun: list[int] = []

    def give(self, worker: int, unit: Unit[str]) -> None:
        self._given += 1
        if self._given == self._ends:
            self._events.append((worker, Ended("left")))
        elif self._given != self._ends + 1:
            done = [Outcome(number, item) for number, item in zip(unit.numbers, unit.items, strict=True)]
            self._events.append((worker, Done(done)))

    def events(self) -> list[tuple[int, Event[str]]]:
        assert self._events, "it would wait for ever"
        return [self._events.pop(0)]

    def replace(self, worker: int) -> None:
        self.begun.append(worker)
        self._events.append((worker, Opened()))

    def close(self) -> None:
        pass


def test_who_ends_while_loading_does_not_matter_as_long_as_another_works() -> None:
    units = [Unit((number,), (f"item {number}",)) for number in range(3)]
    found = list(dispatch(lambda: Two(ends=99), units))
    assert sorted(one.number for one in found) == [0, 1, 2]
    assert not any(one.error for one in found)


def test_the_unit_that_waited_behind_one_that_ended_its_worker_is_done_by_the_next() -> None:
    crew = Two(ends=1)
    units = [Unit((number,), (f"item {number}",)) for number in range(2)]
    found = {one.number: one for one in dispatch(lambda: crew, units)}
    assert str(found[0].error) == "item 0: the worker that had it left; if memory is short, try fewer --workers"
    assert found[1].row == "item 1"
    assert crew.begun == [0]


def test_what_one_cannot_do_nobody_can() -> None:
    crew = Two(ends=99)
    crew._events = [(0, Refused(SpecError("no such pipeline")))]
    with pytest.raises(SpecError, match="no such pipeline"):
        list(dispatch(lambda: crew, [Unit((0,), ("item",))]))
