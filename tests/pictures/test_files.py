from pathlib import Path

import pytest

from icm_core.errors import InputError
from icm_core.files import make_folder, read_file, write_atomically


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.icm", b"content")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.icm", b"content")]


def test_an_older_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.icm").write_bytes(b"older and longer")
    write_atomically(tmp_path / "a.icm", b"new")
    assert (tmp_path / "a.icm").read_bytes() == b"new"


def test_a_new_file_has_the_users_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    write_atomically(tmp_path / "a.icm", b"")
    assert (tmp_path / "a.icm").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / ("n" * 255), b"content")
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_older_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    (tmp_path / "a.icm").write_bytes(b"older")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises((InputError, KeyboardInterrupt)):
        write_atomically(tmp_path / "a.icm", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.icm", b"older")]


def test_a_folder_in_the_way_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "a.icm").mkdir()
    with pytest.raises(InputError, match=r"cannot write .*a\.icm: "):
        write_atomically(tmp_path / "a.icm", b"content")
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("parent", ["missing", "a file"])
def test_without_a_folder_nothing_is_written(tmp_path: Path, parent: str) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(InputError, match=r"cannot write .*a\.icm: "):
        write_atomically(tmp_path / parent / "a.icm", b"content")


def test_folders_are_made_with_those_above(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(InputError, match="cannot make the folder"):
        make_folder(tmp_path / "a" / "b")
    with pytest.raises(InputError, match="a: a file of that name is there"):
        make_folder(tmp_path / "a")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*gone\.icm: No such file"):
        read_file(tmp_path / "gone.icm")
