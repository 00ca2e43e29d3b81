"""Which files an order finds finished, which pipelines read them, and what a journal has written when."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from icm_core.bitstream.container import Container, Layer, LayerKind, write
from icm_core.corpus import pipelines
from icm_core.corpus.encoding import Picture, size_of
from icm_core.corpus.finished import Order
from icm_core.corpus.journal import Journal
from icm_core.corpus.pipelines import Pipelines
from icm_core.errors import BitstreamError
from icm_core.pipeline.identify import Fingerprints
from icm_core.quality import Quality

BASE = Layer(LayerKind.BASE, b"abcd", b"base")
CONTROLLED = Layer(LayerKind.BASE, b"abcd", b"base", b"hash")
FINE = Layer(LayerKind.ENHANCEMENT, b"efgh", b"fine")
FINER = Layer(LayerKind.ENHANCEMENT, b"efgh", b"fine", b"", Quality(56))
FILE = Container(30, 40, Quality(40), (BASE, FINE))
ORDER = Order(Quality(40), b"abcd", b"efgh", False)
LONG_AGO = 10**18


@pytest.fixture
def finished(tmp_path: Path) -> Callable[..., bytes | None]:
    """What an order finds of a file that is so many nanoseconds younger than its picture."""
    picture, target = tmp_path / "a.png", tmp_path / "a.icm"
    picture.touch()
    os.utime(picture, ns=(LONG_AGO, LONG_AGO))

    def call(order: Order, blob: bytes | None, size: tuple[int, int] = (30, 40), younger: int = 0) -> bytes | None:
        if blob is not None:
            target.write_bytes(blob)
            os.utime(target, ns=(LONG_AGO + younger, LONG_AGO + younger))
        return order.finished(picture, size, target)

    return call


FITS: dict[str, tuple[Order, Container]] = {
    "both layers": (ORDER, FILE),
    "base only": (replace(ORDER, enhancement=None), replace(FILE, layers=(BASE,))),
    "a control hash": (replace(ORDER, control=True), replace(FILE, layers=(CONTROLLED, FINE))),
    "an enhancement of another quality": (replace(ORDER, finer=Quality(56)), replace(FILE, layers=(BASE, FINER))),
}


@pytest.mark.parametrize("what", FITS)
@pytest.mark.parametrize("younger", [0, 1, 10**9])
def test_a_file_that_would_be_written_again_alike_is_finished(
    what: str, younger: int, finished: Callable[..., bytes | None]
) -> None:
    order, file = FITS[what]
    assert finished(order, write(file), younger=younger) == write(file)


@pytest.mark.parametrize("what", FITS)
def test_no_order_takes_the_file_of_another(what: str, finished: Callable[..., bytes | None]) -> None:
    for other in FITS.keys() - {what}:
        assert finished(FITS[what][0], write(FITS[other][1])) is None


@pytest.mark.parametrize(
    "change",
    [
        {"quality": Quality(41)},
        {"base": b"abce"},
        {"enhancement": b"efgg"},
        {"finer": Quality(40)},
    ],
    ids=str,
)
def test_a_file_of_another_quality_or_pipeline_is_not_finished(
    change: dict[str, Any], finished: Callable[..., bytes | None]
) -> None:
    assert finished(replace(ORDER, **change), write(FILE)) is None


@pytest.mark.parametrize("size", [(40, 30), (30, 41), (31, 40), (20, 60)])
def test_a_file_of_another_size_is_not_finished(size: tuple[int, int], finished: Callable[..., bytes | None]) -> None:
    assert finished(ORDER, write(FILE), size) is None


def test_a_file_that_is_missing_damaged_cut_or_older_is_not_finished(finished: Callable[..., bytes | None]) -> None:
    assert finished(ORDER, None) is None
    whole = write(FILE)
    assert finished(ORDER, whole, younger=-1) is None
    for blob in (b"", b"no file", whole[:-1], whole + b"\0", whole[:-1] + b"x"):
        assert finished(ORDER, blob) is None
    assert finished(replace(ORDER, enhancement=None), whole[:-1]) is None  # its base layer is whole, and no more


def test_an_order_says_what_a_pipeline_would_write() -> None:
    pipe: Any = SimpleNamespace(base_fingerprint=b"abcd", enhancement_fingerprint=b"efgh")
    assert Order.of(pipe, Quality(40), base_only=False, control=False) == ORDER
    found = Order.of(pipe, Quality(40), base_only=True, control=True)
    assert found == Order(Quality(40), b"abcd", None, True)
    found = Order.of(pipe, Quality(16), base_only=False, control=True, finer=Quality(56))
    assert found == Order(Quality(16), b"abcd", b"efgh", True, Quality(56))


@pytest.mark.parametrize("orientation", [None, *range(10)])
def test_the_size_of_a_picture_is_the_one_that_it_is_coded_in(tmp_path: Path, orientation: int | None) -> None:
    from PIL import Image, ImageOps

    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as image:
        width, height = ImageOps.exif_transpose(image).size
    assert size_of(Picture(tmp_path / "a.jpg", Path("a.icm"))) == (height, width)


def test_what_is_no_picture_has_no_size(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    for name in ("a.png", "gone.png"):
        assert size_of(Picture(tmp_path / name, Path("a.icm"))) is None


class Watched:
    """Loads nothing, and notes how it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, model: str, **how: Any) -> str:
        self.asked.append((model, how))
        return f"pipeline {model}"


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    made = Watched()
    monkeypatch.setattr(pipelines, "load", made)
    names = {b"abcd": "one", b"efgh": "two"}
    monkeypatch.setattr(Fingerprints, "of", lambda _, file: names.get(file.base.fingerprint))
    return made


def file_of(fingerprint: bytes) -> Container:
    return replace(FILE, layers=(replace(BASE, fingerprint=fingerprint),))


def test_each_file_is_read_by_the_pipeline_that_it_names_and_each_is_loaded_once(watched: Watched) -> None:
    made = Pipelines(None, "cuda:1", "bf16")
    assert watched.asked == []
    found = [made.of(file_of(fingerprint)) for fingerprint in (b"abcd", b"efgh", b"abcd", b"efgh")]
    assert found == ["pipeline one", "pipeline two"] * 2  # type: ignore[comparison-overlap]
    assert [model for model, _ in watched.asked] == ["one", "two"]
    for _, how in watched.asked:
        assert (how["device"], how["precision"]) == ("cuda:1", "bf16")
        assert how["registry"] is made._registry is made._fingerprints._registry
    with pytest.raises(BitstreamError, match="no installed pipeline has the fingerprint 78797a7a of this file"):
        made.of(file_of(b"xyzz"))


def test_a_pipeline_that_is_named_is_loaded_first_and_reads_every_file(watched: Watched) -> None:
    made = Pipelines("mine.json", "cpu", "fp32")
    assert [model for model, _ in watched.asked] == ["mine.json"]
    for fingerprint in (b"abcd", b"xyzz"):
        assert made.of(file_of(fingerprint)) == "pipeline mine.json"  # type: ignore[comparison-overlap]
    assert len(watched.asked) == 1


def found(file: str, mark: str = "m", **more: Any) -> Any:
    return {"mark": mark, "row": {"file": file, "tasks": {}, **more}}


def test_what_was_found_is_on_the_disk_at_once(tmp_path: Path) -> None:
    with closing(Journal(tmp_path, "-2-of-3")) as journal:
        for count, name in enumerate(("a.icm", "b.icm"), start=1):
            journal.add(found(name))
            lines = (tmp_path / ".icm-decode-2-of-3.jsonl").read_bytes().splitlines()
            assert len(lines) == count and json.loads(lines[-1]) == found(name)
    assert [path.name for path in tmp_path.iterdir()] == [".icm-decode-2-of-3.jsonl"]


def test_files_of_one_name_in_two_folders_are_two(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:
        journal.add(found("a/x.icm", "of a"))
        journal.add(found("b/x.icm", "of b"))
    with closing(Journal(tmp_path)) as journal:
        assert journal.earlier(Path("a/x.icm")) == found("a/x.icm", "of a")
        assert journal.earlier(Path("b/x.icm")) == found("b/x.icm", "of b")
        assert journal.earlier(Path("x.icm")) is None


@pytest.mark.parametrize("end", [b"", b"\n", b'\n{"mark"'])
def test_a_journal_goes_on_behind_a_line_that_was_not_ended(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / ".icm-decode.jsonl"
    path.write_bytes(json.dumps(found("a.icm")).encode() + end)
    with closing(Journal(tmp_path)) as journal:
        journal.add(found("b.icm"))
    lines = path.read_bytes().split(b"\n")
    assert json.loads(lines[0]) == found("a.icm")
    assert json.loads(lines[-2]) == found("b.icm") and lines[-1] == b""
    assert len(lines) == (4 if end.endswith(b'"') else 3)


def test_numbers_that_json_has_not_are_no_line(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal, pytest.raises(ValueError, match="not JSON compliant"):
        journal.add(found("a.icm", seconds=float("nan")))
    assert (tmp_path / ".icm-decode.jsonl").read_bytes() == b""
