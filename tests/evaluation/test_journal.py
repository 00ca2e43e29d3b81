"""What a measurement has found so far: gone on with by the same measurement alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from icm_made import of_pictures, pictured

from icm_core.errors import InputError
from icm_evaluation.journal import Journal

ROWS = {number: pictured(f"p{number}", [(100, 60)], of_pictures((30.0 + number,))) for number in (4, 0, 7)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of three pictures."""
    found = tmp_path / "a.journal"
    journal = Journal(found, {"weights": "w", "data": [1, 2]})
    for number, row in ROWS.items():
        journal.add(number, row)
    return found


def test_rows_are_there_again_by_their_numbers_whatever_order_the_identity_has(path: Path) -> None:
    journal = Journal(path, {"data": [1, 2], "weights": "w"})
    assert journal.rows == ROWS
    journal.add(5, ROWS[0])
    assert Journal(path, {"weights": "w", "data": [1, 2]}).rows == {**ROWS, 5: ROWS[0]}
    journal.remove()
    journal.remove()
    assert not path.exists()


@pytest.mark.parametrize("lines", [1, 2, 4])
def test_the_beginning_of_another_measurement_is_refused_and_stays(path: Path, lines: int) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]))
    before = path.read_bytes()
    with pytest.raises(InputError, match="holds the beginning of another measurement"):
        Journal(path, {"weights": "w", "data": [2, 1]})
    assert path.read_bytes() == before


def test_a_line_that_was_being_written_is_measured_again(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])
    assert [*Journal(path, {"weights": "w", "data": [1, 2]}).rows] == [4, 0]
    assert path.read_bytes().count(b"\n") == 3


@pytest.mark.parametrize("line", [2, 3, 4])
def test_a_damaged_line_is_named_by_its_number_in_the_file(path: Path, line: int) -> None:
    lines = path.read_bytes().split(b"\n")
    lines[line - 1] = lines[line - 1][:20]
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(InputError, match=rf"a\.journal is damaged at line {line}; delete it to start again"):
        Journal(path, {"weights": "w", "data": [1, 2]})


def test_an_empty_file_is_a_beginning(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    path.touch()
    assert Journal(path, {"weights": "w"}).rows == {}
    assert path.read_bytes() == b'{"weights": "w"}\n'


def test_a_row_that_cannot_be_written_is_told(path: Path) -> None:
    journal = Journal(path, {"weights": "w", "data": [1, 2]})
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match=r"^cannot write .*a\.journal: Is a directory$"):
        journal.add(5, ROWS[0])


def test_a_row_is_on_the_disk_when_it_was_added_and_a_second_one_of_a_picture_counts(path: Path) -> None:
    journal = Journal(path, {"weights": "w", "data": [1, 2]})
    other = pictured("\u00fcber/p0", [(200, 90)], of_pictures((35.0,)), fixed=2)
    journal.add(0, other)
    assert journal.rows == Journal(path, {"weights": "w", "data": [1, 2]}).rows == {**ROWS, 0: other}
    assert path.read_bytes().count(b"\n") == 5
