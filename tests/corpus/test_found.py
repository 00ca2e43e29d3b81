"""Which files are read and where results go, in the cases where one could be mistaken for another."""

from __future__ import annotations

from pathlib import Path

import pytest

from icm_core.cli.inputs import PICTURES, Found, find, shard_of, written_as
from icm_core.errors import InputError


def test_folders_and_files_are_searched_in_order_of_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b/x.png", "a/z.png", "a/y.png", "c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    # No file system promises an order; this one gives the worst.
    walk = [(".", ["b", "a"], ["c.png"]), ("./a", [], ["z.png", "y.png"]), ("./b", [], ["x.png"])]
    monkeypatch.setattr("os.walk", lambda *_, **__: ((at, folders, files) for at, folders, files in walk))
    assert [str(one.path) for one in find([Path()], PICTURES, recursive=True)] == [
        "c.png",
        "a/y.png",
        "a/z.png",
        "b/x.png",
    ]
    assert walk[0][1] == ["a", "b"]  # so that they are gone into in order
    monkeypatch.setattr(Path, "iterdir", lambda at: iter([at / "c.png", at / "b.png", at / "a.png"]))
    monkeypatch.setattr(Path, "is_file", lambda _: True)
    assert [one.path.name for one in find([Path()], PICTURES)] == ["a.png", "b.png", "c.png"]


def test_a_list_tells_folders_only_where_the_output_is_to_have_them_and_they_lie_below(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder / "x")
    (folder / "list").write_text(f"c.jpg\n\n   \ny/d.png\n../b.png\n{folder / 'a.PNG'}\n")
    listed = str(folder / "list")
    flat = find([], PICTURES, listed=listed)
    assert [str(one.below) for one in flat] == ["."] * 4
    deep = find([], PICTURES, listed=listed, recursive=True)
    assert [(one.path.name, str(one.below)) for one in deep] == [
        ("c.jpg", "."),
        ("d.png", "y"),
        ("b.png", "."),
        ("a.PNG", "."),
    ]


def test_a_folder_in_a_list_keeps_its_place_and_its_inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    (folder / "list").write_text("in/x\n")
    assert [(one.path.name, str(one.below)) for one in find([], PICTURES, listed="in/list", recursive=True)] == [
        ("c.jpg", "in"),
        ("d.png", "in/y"),
    ]


@pytest.mark.parametrize(("shard", "items"), [("1/3", [0, 3]), ("2/3", [1, 4]), ("3/3", [2]), ("", [0, 1, 2, 3, 4])])
def test_a_shard_begins_with_its_own_number(shard: str, items: list[int]) -> None:
    assert list(shard_of(range(5), shard)) == items


def test_a_folder_that_is_named_like_a_file_is_a_folder(folder: Path) -> None:
    (folder / "out.icm").mkdir()
    found = find([folder], PICTURES)
    assert written_as(found, folder / "out.icm", ".icm") == [folder / "out.icm" / "a.icm", folder / "out.icm" / "b.icm"]
    with pytest.raises(InputError, match="names one file and there are 2 pictures; give a folder"):
        written_as(found, folder / "new.ICM", ".icm")


def test_no_input_is_written_over_by_the_result_of_another(tmp_path: Path) -> None:
    for name in ("a.icm", "in/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [Found(tmp_path / "a.icm", Path("elsewhere")), Found(tmp_path / "in" / "a.png")]
    with pytest.raises(InputError, match=r"in/a\.png would be written over the input .*a\.icm; nothing was written"):
        written_as(found, tmp_path, ".icm")
