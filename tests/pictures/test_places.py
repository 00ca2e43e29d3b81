"""Files beside others: which names stay inside a folder, and where they lead."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from icm_core.errors import InputError, SpecError
from icm_core.files import beside, check_inside, make_folder, read_file, write_atomically


@pytest.mark.parametrize("name", ["a.bin", "sub/a.bin", "./a.bin", "a..b/..c", "...", "sub\\a.bin", "ä ö.bin"])
def test_names_inside_the_folder_are_taken(name: str) -> None:
    check_inside(name, "a file")


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "../a.bin",
        "sub/../../a.bin",
        "sub/..",
        "..\\a.bin",
        "sub\\..\\..\\a.bin",
        "/a.bin",
        "\\a.bin",
        "//host/share/a.bin",
        "\\\\host\\share\\a.bin",
        "C:a.bin",
        "C:\\a.bin",
        "c:/a.bin",
        "a\0.bin",
    ],
)
def test_names_that_lead_out_on_any_system_are_not(name: str) -> None:
    with pytest.raises(ValueError, match=r"^a file is given relative to the spec's folder and inside it, not as "):
        check_inside(name, "a file")
    with pytest.raises(ValueError, match=r"^weights are given relative"):
        check_inside(name, "weights")


def test_a_name_is_found_from_the_folder_in_which_the_spec_seems_to_be(tmp_path: Path) -> None:
    """An installer has linked each file of a package into a cache of its own."""
    package, cache, other = (tmp_path / name for name in ("package", "cache", "other"))
    for folder in (package, cache, other):
        folder.mkdir()
    for name in ("spec.json", "a.bin"):
        (cache / name).write_text(name)
        (package / name).symlink_to(cache / name)
    assert beside(package / "spec.json", "a.bin", "a file") == package / "a.bin"
    assert beside(cache / "spec.json", "a.bin", "a file") == cache / "a.bin"
    (package / "own.bin").write_text("not linked")
    assert beside(package / "spec.json", "own.bin", "a file") == package / "own.bin"
    (other / "secret.bin").write_text("secret")
    (package / "out.bin").symlink_to(other / "secret.bin")
    with pytest.raises(SpecError, match=rf"^a file 'out\.bin' leads out of the spec's folder to {other}/secret\.bin"):
        beside(package / "spec.json", "out.bin", "a file")
    (cache / "out.bin").symlink_to(other / "secret.bin")
    with pytest.raises(SpecError, match="leads out"):
        beside(cache / "spec.json", "out.bin", "a file")


def test_a_linked_folder_is_its_own_home(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a.bin").write_text("a")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    found = beside(tmp_path / "link/spec.json", "a.bin", "a file")
    assert found == tmp_path / "link/a.bin" and found.read_text() == "a"


def test_what_is_there_already_is_a_folder_again(tmp_path: Path) -> None:
    make_folder(tmp_path / "a/b/c")
    make_folder(tmp_path / "a/b")
    assert (tmp_path / "a/b/c").is_dir()


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_may_not_be_made_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match=r"cannot make the folder .*: Permission denied"):
        make_folder(tmp_path / "a")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"cannot read {tmp_path}: Is a directory"):
        read_file(tmp_path)


def test_a_stop_while_a_file_is_written_goes_on_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        assert [path.suffix for path in tmp_path.iterdir()] == [".part"]  # aside, and whole by now
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a.icm", b"new")
    assert list(tmp_path.iterdir()) == []
