"""Items that go together in a lane: what each is told, what is kept, and which options reach the pipeline."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PIL import Image

from icm_core.bitstream.container import read, write
from icm_core.corpus import decoding as module
from icm_core.corpus import engine
from icm_core.corpus.decoding import Coded, Decoding, Marked
from icm_core.corpus.encoding import Encoded, Encoding, Picture
from icm_core.corpus.work import Place
from icm_core.errors import BitstreamError, IcmError, InputError
from icm_core.pipeline.pipeline import Pipeline
from icm_core.pipeline.told import Told


def decoding(toy: Path, **more: Any) -> Decoding:
    options = {"model": str(toy), "device": "cpu", "precision": "fp32", "max_pixels": 10**6, "tasks": ("coarse",)}
    return Decoding(**{**options, **more})


def encoding(toy: Path, **more: Any) -> Encoding:
    return Encoding(**{"model": str(toy), "device": "cpu", "precision": "fp32", "quality": 2.0, **more})


@pytest.fixture
def alike(coded: Path, tmp_path: Path) -> list[Coded]:
    """Three files of one size."""
    files = [path for path in sorted(coded.rglob("*.icm")) if int(path.stem[1:]) % 4 == 0]
    return [Coded(path, tmp_path / "out" / path.stem) for path in files]


@pytest.fixture
def pictures(album: Path, tmp_path: Path) -> list[Picture]:
    """Three pictures of one size."""
    files = [path for path in sorted(album.rglob("*.png")) if int(path.stem[1:]) % 4 == 0]
    return [Picture(path, tmp_path / "out" / f"{path.stem}.icm") for path in files]


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many items went to the pipeline together, time after time."""
    seen: list[int] = []
    for name in ("encode_batch", "decode_batch"):
        usual = getattr(Pipeline, name)

        def watched(pipe: Pipeline, several: Any, *more: Any, usual: Any = usual, **named: Any) -> Any:
            seen.append(len(several))
            return usual(pipe, several, *more, **named)

        monkeypatch.setattr(Pipeline, name, watched)
    return seen


def decoded(job: Decoding, files: list[Coded]) -> list[Marked]:
    found = list(job.open(Place())(files))
    assert not any(isinstance(one, IcmError) for one in found), found
    return cast(list[Marked], found)


def encoded(job: Encoding, items: list[Picture]) -> list[Encoded]:
    found = list(job.open(Place())(items))
    assert not any(isinstance(one, IcmError) for one in found), found
    return cast(list[Encoded], found)


@pytest.mark.parametrize(("kept", "together"), [((), [3]), ((1,), [2]), ((0, 2), [1]), ((0, 1, 2), [])])
def test_files_that_were_decoded_before_are_kept_and_the_others_go_together(
    toy: Path, alike: list[Coded], batches: list[int], kept: tuple[int, ...], together: list[int]
) -> None:
    job = decoding(toy, resume=True)
    first = decoded(job, alike)
    assert batches == [3]
    del batches[:]
    files = [replace(one, earlier=first[number] if number in kept else None) for number, one in enumerate(alike)]
    found = decoded(job, files)
    assert [number for number, one in enumerate(found) if "kept" in one["row"]] == list(kept)
    assert batches == together
    assert [one["row"]["file"] for one in found] == [str(one.source) for one in alike]
    assert [one["mark"] for one in found] == [one["mark"] for one in first]


def test_a_row_is_kept_for_its_mark_alone_and_under_the_files_own_name(toy: Path, alike: list[Coded]) -> None:
    job, one = decoding(toy, resume=True), alike[0]
    (first,) = decoded(job, [one])
    for mark in ("", first["mark"][:-1], first["mark"].upper(), "0" * 32):
        (found,) = decoded(job, [replace(one, earlier=Marked(mark=mark, row=first["row"]))])
        assert "kept" not in found["row"]
    (found,) = decoded(decoding(toy), [replace(one, earlier=Marked(mark="", row=first["row"]))])
    assert "kept" not in found["row"] and found["mark"] == ""
    moved = Marked(mark=first["mark"], row={**first["row"], "file": "elsewhere.icm"})
    (found,) = decoded(job, [replace(one, earlier=moved)])
    assert found["row"] == {**first["row"], "kept": True}


def test_of_files_that_go_together_one_that_fails_is_told_so_alone(
    toy: Path, alike: list[Coded], tmp_path: Path
) -> None:
    """The second has no control hash to verify."""
    sources = []
    for number, one in enumerate(alike):
        file = read(one.source.read_bytes())
        sources.append(tmp_path / f"{number}.icm")
        if number == 1:
            sources[-1].write_bytes(one.source.read_bytes())
            continue
        from icm_core.bitstream.control_hash import control_hash
        from icm_core.pipeline.load import load

        side = load(toy, device="cpu").codec.decode([file.base.payload], (file.height, file.width), file.quality)
        base = replace(file.base, control=control_hash(side.levels))
        sources[-1].write_bytes(write(replace(file, layers=(base, *file.layers[1:]))))
    files = [Coded(source, tmp_path / "out" / source.stem) for source in sources]
    found = decoding(toy, verify=True).open(Place())(files)
    assert isinstance(found[1], BitstreamError) and "carries no control hash" in str(found[1])
    rows = [cast(Marked, found[number])["row"] for number in (0, 2)]
    assert [row["verified"] for row in rows] == [["base"], ["base"]]
    assert all("verified" not in one["row"] for one in decoded(decoding(toy), files))


def test_of_files_that_go_together_one_that_cannot_be_written_spoils_no_other(
    toy: Path, alike: list[Coded], batches: list[int], tmp_path: Path
) -> None:
    (tmp_path / "a file").touch()
    files = [alike[0], replace(alike[1], stem=tmp_path / "a file" / "x"), alike[2]]
    found = decoding(toy).open(Place())(files)
    assert [isinstance(one, IcmError) for one in found] == [False, True, False]
    assert "cannot make the folder" in str(found[1])
    assert batches == [3]
    pictures = tmp_path / "out"
    assert len(list(pictures.glob("*.coarse.png"))) == 2


def test_of_pictures_that_go_together_one_that_cannot_be_written_spoils_no_other(
    toy: Path, pictures: list[Picture], batches: list[int], tmp_path: Path
) -> None:
    (tmp_path / "a file").touch()
    items = [pictures[0], replace(pictures[1], target=tmp_path / "a file" / "x.icm"), pictures[2]]
    found = encoding(toy).open(Place())(items)
    assert [isinstance(one, IcmError) for one in found] == [False, True, False]
    assert batches == [3]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["p00.icm", "p08.icm"]


def test_rows_of_pictures_stand_in_their_order_with_what_was_written(
    toy: Path, pictures: list[Picture], batches: list[int]
) -> None:
    items = [pictures[number] for number in (2, 0, 1)]
    found = encoded(encoding(toy), items)
    assert batches == [3]
    for row, one in zip(found, items, strict=True):
        size = one.target.stat().st_size
        assert (row["file"], row["output"], row["bytes"]) == (str(one.source), str(one.target), size)
        assert (row["width"], row["height"], row["quality"]) == (64, 48, 2.0)
        assert row["bpp"] == 8 * size / (64 * 48)
        assert row["base_bytes"] == read(one.target.read_bytes()).base_bytes < size
        assert "enhancement_quality" not in row and "kept" not in row


@pytest.mark.parametrize(("kept", "together"), [((), [3]), ((1,), [2]), ((0, 2), [1]), ((0, 1, 2), [])])
def test_pictures_that_were_coded_before_are_kept_and_the_others_go_together(
    toy: Path, pictures: list[Picture], batches: list[int], kept: tuple[int, ...], together: list[int]
) -> None:
    job = encoding(toy, resume=True, enhancement_quality=3.5)
    encoded(job, pictures)
    blobs = [one.target.read_bytes() for one in pictures]
    for number, one in enumerate(pictures):
        if number not in kept:
            one.target.unlink()
    del batches[:]
    found = encoded(job, pictures)
    assert [number for number, one in enumerate(found) if "kept" in one] == list(kept)
    assert all(found[number]["seconds"] == 0 and found[number]["kept"] is True for number in kept)
    assert batches == together
    assert [one.target.read_bytes() for one in pictures] == blobs
    assert [row["enhancement_quality"] for row in found] == [3.5] * 3
    assert [row["bytes"] for row in found] == list(map(len, blobs))
    (alone,) = encoded(job, pictures[:1])
    assert alone == {**found[0], "kept": True, "seconds": 0.0}
    assert "kept" not in encoded(replace(job, resume=False), pictures[:1])[0]


def test_seconds_are_shared_by_those_that_were_computed_together(
    toy: Path, alike: list[Coded], pictures: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = decoded(decoding(toy, resume=True), alike)[0]
    encoded(encoding(toy), pictures[:1])
    ticks = itertools.count(0, 3)
    monkeypatch.setattr("time.perf_counter", lambda: float(next(ticks)))
    found = decoded(decoding(toy, resume=True), [replace(alike[0], earlier=kept), *alike[1:]])
    assert [one["row"]["seconds"] for one in found] == [kept["row"]["seconds"], 1.5, 1.5]
    assert [row["seconds"] for row in encoded(encoding(toy, resume=True), pictures)] == [0.0, 1.5, 1.5]
    assert encoded(encoding(toy), pictures[:1])[0]["seconds"] == 3.0


OPTIONS: dict[str, Any] = {
    "enhancement": False,
    "enhancement_quality": 3.5,
    "control": True,
    "encoder": "deep",
    "effort": 7,
    "search_for": ("coarse",),
}


@pytest.mark.parametrize("option", [None, *OPTIONS])
def test_every_option_reaches_the_pipeline_alone_and_together(
    toy: Path, coded: Path, pictures: list[Picture], option: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = {
        "enhancement": True,
        "enhancement_quality": None,
        "control": False,
        "encoder": None,
        "effort": 0,
        "search_for": None,
    }
    chosen = {} if option is None else {option: OPTIONS[option]}
    asked: list[tuple[object, dict[str, Any]]] = []
    blob = (coded / "p00.icm").read_bytes()

    def encode(_: Pipeline, picture: Image.Image, quality: float, **how: Any) -> bytes:
        asked.append((quality, how))
        return blob

    def encode_batch(_: Pipeline, several: list[Image.Image], quality: float, **how: Any) -> list[bytes]:
        asked.append((quality, how))
        return [blob for _ in several]

    lane: Any = encoding(toy).open(Place())  # which options go together is checked where a job is opened
    lane = type(lane)(replace(lane._job, **chosen), lane._pipe, lane._order)
    monkeypatch.setattr(Pipeline, "encode", encode)
    monkeypatch.setattr(Pipeline, "encode_batch", encode_batch)
    lane(pictures)
    lane(pictures[:1])
    assert asked == [(2.0, {**usual, **chosen})] * 2


def test_what_a_job_is_opened_with_is_checked_with_all_that_it_asks_for(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[tuple[object, ...]] = []
    monkeypatch.setattr(
        "icm_core.pipeline.search.searched_tasks", lambda _, effort, asked: searched.append((effort, asked))
    )
    lane: Any = encoding(toy, effort=7, search_for=("coarse",), control=True, enhancement_quality=3.5).open(Place())
    assert searched == [(7, ("coarse",))]
    assert (lane._order.quality.value, lane._order.control, lane._order.finer.value) == (2.0, True, 3.5)
    assert lane._order.enhancement == lane._pipe.enhancement_fingerprint
    lane = encoding(toy, enhancement=False).open(Place())
    assert (lane._order.enhancement, lane._order.control, lane._order.finer) == (None, False, None)
    lane = encoding(toy, enhancement_quality=2.0).open(Place())
    assert lane._order.finer is None


def test_a_chosen_encoder_is_looked_up_and_the_codec_stays_what_it_is(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from icm_core.interfaces import Codec

    asked: list[str] = []
    monkeypatch.setattr(Codec, "with_encoder", lambda _, name: asked.append(name))
    lane: Any = encoding(toy, encoder="deep").open(Place())
    assert asked == ["deep"]
    assert isinstance(lane._pipe.codec, Codec)


def test_each_worker_loads_on_a_gpu_of_its_own(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from icm_core.pipeline.load import load

    asked: list[tuple[object, object]] = []

    def watched(model: str, **how: Any) -> Pipeline:
        asked.append((how["device"], how["precision"]))
        return load(model, device="cpu")

    monkeypatch.setattr(engine, "_gpus", lambda: 3)
    monkeypatch.setattr("icm_core.corpus.pipelines.load", watched)
    monkeypatch.setattr("icm_core.pipeline.load.load", watched)
    for number, device in ((4, "auto"), (2, "cuda"), (1, "cuda:0"), (1, "cpu")):
        decoding(toy, device=device, precision="bf16").open(Place(number))
        encoding(toy, device=device, precision="bf16").open(Place(number))
    assert asked == [(name, "bf16") for name in ("cuda:1", "cuda:2", "cuda:0", "cpu") for _ in range(2)]


def test_pictures_lie_in_folders_that_are_made_for_them(toy: Path, alike: list[Coded], tmp_path: Path) -> None:
    one = replace(alike[0], stem=tmp_path / "new" / "deeper" / "v1.5")
    (found,) = decoded(decoding(toy), [one])
    picture = tmp_path / "new/deeper/v1.5.coarse.png"
    assert found["row"]["tasks"]["coarse"]["picture"] == str(picture)
    assert picture.is_file()


@pytest.fixture
def telling(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Told]], list[bool]]:
    """Have tasks say something; gives whether they were told to draw."""

    def have(said: dict[str, Told]) -> list[bool]:
        asked: list[bool] = []

        def tell(*_: object, draw: bool) -> Any:
            asked.append(draw)
            return iter(said.items())

        monkeypatch.setattr("icm_core.pipeline.told.telling", tell)
        return asked

    return have


def told(colour: int | None, drawn: int | None) -> Told:
    def picture(value: int | None) -> Image.Image | None:
        return None if value is None else Image.new("L", (3, 2), value)

    return Told({"kind": "some", "text": f"{colour}"}, picture(colour), picture(drawn))


@pytest.mark.parametrize("draw", [False, True])
def test_pictures_and_drawings_are_written_under_names_of_their_own(
    tmp_path: Path, telling: Callable[[dict[str, Told]], list[bool]], draw: bool
) -> None:
    asked = telling({"one": told(10, None), "two": told(None, 20), "three": told(30, 40), "four": told(None, None)})
    nothing: Any = SimpleNamespace()
    rows = module._write(nothing, nothing, tmp_path / "deep" / "er" / "v1.5", draw)
    assert asked == [draw]
    written = {path.name: Image.open(path).getpixel((0, 0)) for path in (tmp_path / "deep" / "er").iterdir()}
    assert written == {"v1.5.one.png": 10, "v1.5.two.drawn.png": 20, "v1.5.three.png": 30, "v1.5.three.drawn.png": 40}
    start = str(tmp_path / "deep" / "er" / "v1.5.")
    assert rows == {
        "one": {"kind": "some", "text": "10", "picture": f"{start}one.png"},
        "two": {"kind": "some", "text": "None", "drawing": f"{start}two.drawn.png"},
        "three": {
            "kind": "some",
            "text": "30",
            "picture": f"{start}three.png",
            "drawing": f"{start}three.drawn.png",
        },
        "four": {"kind": "some", "text": "None"},
    }


def test_all_is_drawn_before_the_first_picture_is_written(
    tmp_path: Path, telling: Callable[[dict[str, Told]], list[bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from icm_core import pictures

    usual, drawn = pictures.png_bytes, itertools.count()

    def second_fails(picture: Any) -> bytes:
        if next(drawn) == 1:
            raise InputError("too large to be drawn")
        return usual(picture)

    telling({"one": told(10, None), "two": told(20, None)})
    monkeypatch.setattr(pictures, "png_bytes", second_fails)
    nothing: Any = SimpleNamespace()
    with pytest.raises(InputError, match="too large to be drawn"):
        module._write(nothing, nothing, tmp_path / "new" / "x", False)
    assert list(tmp_path.iterdir()) == []
    telling({"four": told(None, None)})
    module._write(nothing, nothing, tmp_path / "new" / "x", False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["a", "b"])
def test_what_was_written_is_there_or_is_not_kept(toy: Path, alike: list[Coded], tmp_path: Path, place: str) -> None:
    """Of a row with a picture and a drawing, as a map has, either may be gone."""
    job: Any = decoding(toy, resume=True)
    lane = job.open(Place())
    read_one = lane._read(alike[0])
    for name in ("a", "b", "c"):
        (tmp_path / name).touch()
    tasks: Any = {"one": {"picture": str(tmp_path / "a"), "drawing": str(tmp_path / "b")}, "two": {"kind": "some"}}
    (first,) = decoded(job, alike[:1])
    earlier = replace(alike[0], earlier=Marked(mark=first["mark"], row={**first["row"], "tasks": tasks}))
    assert read_one.kept(earlier)["row"]["tasks"] == tasks
    (tmp_path / place).unlink()
    assert read_one.kept(earlier) is None
    (tmp_path / place).mkdir()
    assert read_one.kept(earlier) is None


def test_files_that_cannot_be_read_have_nothing_in_common(toy: Path, alike: list[Coded], tmp_path: Path) -> None:
    (tmp_path / "broken.icm").write_bytes(b"no file")
    job = decoding(toy)
    for name in ("broken.icm", "gone.icm", "."):
        assert job.key(Coded(tmp_path / name, tmp_path / "x")) is None
    keys = {job.key(one) for one in alike}
    assert len(keys) == 1 and None not in keys
    assert decoding(toy, max_pixels=64 * 48).key(alike[0]) in keys
    assert decoding(toy, max_pixels=64 * 48 - 1).key(alike[0]) is None


def test_of_two_pipelines_each_has_a_mark_of_its_own(
    toy: Path, alike: list[Coded], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that name their pipelines themselves."""
    lane: Any = decoding(toy, resume=True).open(Place())
    digests = {"toy": "1" * 16, "other": "2" * 16}
    asked: list[str] = []

    def weights_digest(pipe: Any) -> str:
        asked.append(pipe.name)
        return digests[pipe.name]

    monkeypatch.setattr("icm_core.pipeline.identify.weights_digest", weights_digest)
    pipes: list[Any] = [SimpleNamespace(name=name) for name in ("toy", "other", "toy", "other")]
    marks = [lane._mark(pipe, b"blob", alike[0]) for pipe in pipes]
    assert marks[:2] == marks[2:] and marks[0] != marks[1]
    assert asked == ["toy", "other"]
