"""What a journal keeps, and what it reads of journals that others wrote or that the power cut."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from icm_core.corpus.journal import Journal
from icm_core.errors import InputError


def found(file: str, mark: str = "m", **more: Any) -> Any:
    return {"mark": mark, "row": {"file": file, "tasks": {}, **more}}


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_what_was_found_is_there_for_the_next_run(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:
        assert journal.earlier(Path("a.icm")) is None
        journal.add(found("a.icm"))
        journal.add(found("b.icm"))
    with closing(Journal(tmp_path)) as journal:
        assert journal.earlier(Path("a.icm")) == found("a.icm")
        assert journal.earlier(Path("b.icm")) == found("b.icm")
        assert journal.earlier(Path("c.icm")) is None


def test_the_last_that_was_found_of_a_file_counts(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:
        journal.add(found("a.icm", "old"))
        journal.add(found("a.icm", "new"))
    with closing(Journal(tmp_path)) as journal:
        assert journal.earlier(Path("a.icm")) == found("a.icm", "new")


def test_what_was_kept_is_not_written_again(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:
        journal.add(found("a.icm"))
        journal.add(found("a.icm", kept=True))
    assert lines(tmp_path / ".icm-decode.jsonl") == [found("a.icm")]


def test_every_shard_writes_a_file_of_its_own_and_reads_all(tmp_path: Path) -> None:
    for shard, name in (("-1-of-2", "a.icm"), ("-2-of-2", "b.icm")):
        with closing(Journal(tmp_path, shard)) as journal:
            journal.add(found(name))
    assert lines(tmp_path / ".icm-decode-1-of-2.jsonl") == [found("a.icm")]
    assert lines(tmp_path / ".icm-decode-2-of-2.jsonl") == [found("b.icm")]
    for shard in ("", "-1-of-2"):
        with closing(Journal(tmp_path, shard)) as journal:
            assert [journal.earlier(Path(name)) for name in ("a.icm", "b.icm")] == [found("a.icm"), found("b.icm")]


def test_a_line_that_was_cut_spoils_neither_those_before_nor_the_next(tmp_path: Path) -> None:
    path = tmp_path / ".icm-decode.jsonl"
    path.write_bytes(json.dumps(found("a.icm")).encode() + b'\n{"mark": "m", "ro')
    with closing(Journal(tmp_path)) as journal:
        assert journal.earlier(Path("a.icm")) == found("a.icm")
        journal.add(found("b.icm"))
    with closing(Journal(tmp_path)) as journal:
        assert journal.earlier(Path("a.icm")) == found("a.icm")
        assert journal.earlier(Path("b.icm")) == found("b.icm")


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"3",
        b"{}",
        b'{"mark": 3, "row": {"file": "a.icm", "tasks": {}}}',
        b'{"mark": "m", "row": {"file": "a.icm", "tasks": []}}',
        b'{"mark": "m", "row": {"file": ["a.icm"], "tasks": {}}}',
        b'{"mark": "m", "row": "a.icm"}',
        b"\xff\xfe",
    ],
)
def test_a_line_of_another_shape_is_as_if_it_were_not_there(tmp_path: Path, line: bytes) -> None:
    (tmp_path / ".icm-decode.jsonl").write_bytes(line + b"\n" + json.dumps(found("b.icm")).encode() + b"\n")
    with closing(Journal(tmp_path)) as journal:
        assert journal.earlier(Path("a.icm")) is None
        assert journal.earlier(Path("b.icm")) == found("b.icm")


def test_a_journal_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / ".icm-decode.jsonl").mkdir()
    with pytest.raises(InputError, match=r"cannot use .*\.icm-decode\.jsonl: Is a directory"):
        Journal(tmp_path)
