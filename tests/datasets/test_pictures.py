"""Folders of pictures without targets."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from icm_core import InputError


@pytest.fixture
def tree(tmp_path: Path, picture) -> Path:
    for name in ("z.PNG", "test/b.jpg", "test/inner/a.webp", "test/inner/c.tif"):
        picture(tmp_path / name)
    (tmp_path / "test/notes.txt").write_text("none")
    return tmp_path


def test_a_split_is_a_folder(opened, tree: Path) -> None:
    data = opened("pictures", tree, "test")
    assert [s.key for s in data] == ["test/b", "test/inner/a", "test/inner/c"]
    assert (data.kind, data.labels, data.ignore_index, data[0].target) == ("pictures", (), None, None)


@pytest.mark.parametrize("split", ["", "all"])
def test_the_whole_folder(opened, tree: Path, split: str) -> None:
    assert [s.key for s in opened("pictures", tree, split)] == ["test/b", "test/inner/a", "test/inner/c", "z"]


def test_pictures_are_upright(opened, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (8, 4)).save(tmp_path / "turned.jpg", exif=exif)
    assert opened("pictures", tmp_path, "all")[0].picture.shape == (3, 8, 4)


def test_no_pictures(opened, tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"{number}.mp4").touch()
    with pytest.raises(InputError, match=r"no pictures .*, but 0\.mp4, 1\.mp4, 2\.mp4, 3\.mp4, 4\.mp4 and 2 more"):
        opened("pictures", tmp_path, "all")


def test_five_names_are_shown_and_no_more_are_there(opened, tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.mp4").touch()
    with pytest.raises(InputError, match=r", but 0\.mp4, 1\.mp4, 2\.mp4, 3\.mp4, 4\.mp4$"):
        opened("pictures", tmp_path, "all")


def test_a_sixth_name_is_one_more(opened, tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"{number}.mp4").touch()
    with pytest.raises(InputError, match=r", but 0\.mp4, 1\.mp4, 2\.mp4, 3\.mp4, 4\.mp4 and 1 more$"):
        opened("pictures", tmp_path, "all")


def test_links_are_followed_but_not_to_a_folder_that_they_are_in(opened, tmp_path: Path, picture) -> None:
    picture(tmp_path / "all/inner/deep/a.png")
    picture(tmp_path / "elsewhere/b.png")
    (tmp_path / "all/linked").symlink_to(tmp_path / "elsewhere")
    for number, target in enumerate(["all", "all/inner", "all/inner/deep"]):
        (tmp_path / f"all/inner/deep/loop{number}").symlink_to(tmp_path / target)
    assert [s.key for s in opened("pictures", tmp_path / "all", "all")] == ["inner/deep/a", "linked/b"]


def test_a_folder_inside_a_file(opened, tree: Path) -> None:
    with pytest.raises(InputError, match=r"expects the folder .*deep, and .*z\.PNG is a file"):
        opened("pictures", tree / "z.PNG/deep", "all")


def test_of_folders_that_are_missing_the_highest_is_named(opened, tree: Path) -> None:
    with pytest.raises(InputError, match=rf"expects the folder .*; {tree} holds no 'one', but "):
        opened("pictures", tree / "one/two/three", "all")


def test_the_real_ones(opened, shared) -> None:
    data = opened("pictures", shared("kodak"), "all")
    assert len(data) == 24 and {tuple(sorted(s.picture.shape)) for s in data} == {(3, 512, 768)}
