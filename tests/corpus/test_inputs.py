"""Which files are read, and where their results go."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_core.cli.inputs import CODED, PICTURES, Found, find, shard_of, written_as
from icm_core.errors import InputError


def shown(found: list[Found], folder: Path) -> list[tuple[str, str]]:
    return [(str(one.path.relative_to(folder)), str(one.below)) for one in found]


def test_a_tree_is_read_to_its_bottom_in_order(folder) -> None:
    assert shown(find([folder], PICTURES, recursive=True), folder) == [
        ("a.PNG", "."),
        ("b.png", "."),
        ("x/c.jpg", "x"),
        ("x/y/d.png", "x/y"),
    ]
    assert shown(find([folder], PICTURES), folder) == [("a.PNG", "."), ("b.png", ".")]


def test_a_link_to_a_folder_is_not_followed(folder) -> None:
    (folder / "x" / "again").symlink_to(folder)
    assert len(find([folder], PICTURES, recursive=True)) == 4


def test_results_go_into_the_same_folders(folder) -> None:
    found = find([folder, folder / "x" / "y" / "d.png"], PICTURES, recursive=True)
    assert written_as(found, Path("out"), ".icm") == [
        Path("out/a.icm"),
        Path("out/b.icm"),
        Path("out/x/c.icm"),
        Path("out/x/y/d.icm"),
    ]


def test_equal_names_in_two_folders_are_no_conflict_in_a_tree(folder) -> None:
    (folder / "x" / "b.png").touch()
    assert len(written_as(find([folder], PICTURES, recursive=True), Path("out"), ".icm")) == 5
    with pytest.raises(InputError, match="would both be written to"):
        written_as(find([folder, folder / "x"], PICTURES, recursive=False), Path("out"), ".icm")


def test_a_list_names_files_and_folders(folder, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    Path("list.txt").write_text("x/c.jpg\r\n\nx/y\n../in/b.png\n")
    assert [str(one.path) for one in find([], PICTURES, listed="list.txt")] == ["x/c.jpg", "x/y/d.png", "../in/b.png"]
    below = [str(one.below) for one in find([], PICTURES, listed="list.txt", recursive=True)]
    assert below == ["x", "x", "."]


def test_a_list_can_come_in(folder, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{folder / 'b.png'}\n"))
    assert find([], PICTURES, listed="-") == [Found(folder / "b.png")]


@pytest.mark.parametrize(
    ("text", "says"),
    [(b"", "list.txt names no file"), (b"\xff\xfe", "is not text in UTF-8"), (b"gone.png\n", "gone.png: No such file")],
)
def test_a_list_that_is_none_is_refused(text, says, tmp_path) -> None:
    (tmp_path / "list.txt").write_bytes(text)
    with pytest.raises(InputError, match=says):
        find([], PICTURES, listed=str(tmp_path / "list.txt"))


def test_no_list_and_no_file_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        find([], PICTURES, listed=str(tmp_path / "gone.txt"))
    with pytest.raises(InputError, match="name files, or a list of them with --files"):
        find([], PICTURES)


def test_an_empty_folder_says_what_looks_further_down(folder) -> None:
    with pytest.raises(InputError, match="--recursive looks further down"):
        find([folder / "x" / "y"], CODED)
    with pytest.raises(InputError, match=r"has no file that ends in \.icm$"):
        find([folder], CODED, recursive=True)


@given(count=st.integers(0, 40), shards=st.integers(1, 12))
def test_shards_have_every_item_once(count, shards) -> None:
    parts = [list(shard_of(range(count), f"{number}/{shards}")) for number in range(1, shards + 1)]
    assert sorted(item for part in parts for item in part) == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1/0", "1", "a/b", "-1/2", "1/2/3"])
def test_what_is_no_shard_is_refused(shard) -> None:
    with pytest.raises(InputError, match="it should be I/N with I from 1 to N, like 2/8"):
        shard_of([1, 2], shard)
