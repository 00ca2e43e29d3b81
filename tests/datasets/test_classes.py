"""Class folders and ImageNet."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch

from icm_core import InputError
from icm_tasks import ViT

SYNSETS = ("n01440764", "n01443537", "n02102040", "n03888257")
VAL = "ILSVRC2012_val_{:08d}"


@pytest.fixture
def folders(tmp_path: Path, picture) -> Path:
    """Three classes in train; the middle one is missing in val."""
    for name in ("train/cat/1.png", "train/bird/2.png", "train/dog/deep/3.png", "val/dog/4.jpeg", "val/bird/5.png"):
        picture(tmp_path / name)
    return tmp_path


def test_folders_are_numbered_in_sorted_order(opened, folders: Path) -> None:
    data = opened("folders", folders, "train")
    assert data.labels == ("bird", "cat", "dog") and data.kind == "classification"
    assert [(s.key, int(s.target)) for s in data] == [("train/bird/2", 0), ("train/cat/1", 1), ("train/dog/deep/3", 2)]
    assert data[0].target.dtype == torch.int64 and data[0].target.shape == ()


def test_many_folders_are_numbered_in_sorted_order_too(opened, tmp_path: Path, picture) -> None:
    """Whatever the order in which the file system gives them."""
    names = [f"class{number:02}" for number in range(32)]
    for name in [*names[::3], *names[2::3], *names[1::3]]:
        picture(tmp_path / "train" / name / "1.png")
    data = opened("folders", tmp_path, "train")
    assert data.labels == tuple(names) and _classes(data) == [*range(32)]


def test_a_split_without_some_class_has_the_numbers_of_train(opened, folders: Path) -> None:
    data = opened("folders", folders, "val")
    assert [(s.key, int(s.target)) for s in data] == [("val/bird/5", 0), ("val/dog/4", 2)]


def test_a_picture_has_the_class_of_its_folder_where_names_begin_alike(opened, tmp_path: Path, picture) -> None:
    """Of folders "fox" comes before "fox-cub", of paths "fox/" after "fox-cub/"."""
    for name in ("fox/1.png", "fox-cub/2.png", "fox-cub/3.png"):
        picture(tmp_path / "val" / name)
    data = opened("folders", tmp_path)
    assert {s.key: data.labels[int(s.target)] for s in data} == {
        "val/fox/1": "fox",
        "val/fox-cub/2": "fox-cub",
        "val/fox-cub/3": "fox-cub",
    }
    assert [s.key for s in data] == ["val/fox-cub/2", "val/fox-cub/3", "val/fox/1"]  # in the order of their paths


def test_classes_can_be_given_in_order(opened, folders: Path) -> None:
    data = opened("folders", folders, "val", classes=["dog", "cat", "bird"])
    assert data.labels == ("dog", "cat", "bird") and [int(s.target) for s in data] == [2, 0]


def test_two_files_that_differ_in_their_ending_have_two_keys(opened, folders: Path, picture) -> None:
    picture(folders / "val/dog/4.png")
    assert [s.key for s in opened("folders", folders)] == ["val/bird/5", "val/dog/4.jpeg", "val/dog/4.png"]


def test_hidden_files_are_none_of_the_data(opened, folders: Path) -> None:
    (folders / "val/dog/._4.jpeg").write_bytes(b"")
    (folders / "val/.cache").mkdir()
    assert len(opened("folders", folders)) == 2


def test_a_class_that_train_does_not_have(opened, folders: Path, picture) -> None:
    picture(folders / "val/bird1/6.png")
    picture(folders / "val/dogs/7.png")
    with pytest.raises(InputError, match=r"val/bird1, whose name is none of the 3 classes .*; did you mean 'bird'\?"):
        opened("folders", folders)


def test_a_class_without_pictures(opened, folders: Path) -> None:
    (folders / "val/cat").mkdir()
    (folders / "val/cat/notes.txt").write_text("")
    with pytest.raises(InputError, match=r"no pictures in the class folder .*val/cat, but notes\.txt"):
        opened("folders", folders)


def test_pictures_without_class_folders(opened, tmp_path: Path, picture) -> None:
    picture(tmp_path / "val/1.png")
    with pytest.raises(InputError, match=r"a folder for each class in .*val, and found none, but 1\.png"):
        opened("folders", tmp_path)


@pytest.mark.parametrize("classes", ["numbers", [], ["one"], ["a", "a"], 3])
def test_other_classes_are_refused(opened, folders: Path, classes: object) -> None:
    with pytest.raises(InputError, match=r"datasets\.folders\.params\.classes is "):
        opened("folders", folders, classes=classes)


def test_a_link_to_a_folder_above_ends(opened, folders: Path) -> None:
    (folders / "val/dog/again").symlink_to(folders / "val/dog")
    assert len(opened("folders", folders)) == 2


def test_a_subset_of_imagenet_keeps_the_numbers_of_the_whole(opened, tmp_path: Path, picture) -> None:
    for synset in SYNSETS[1:]:
        picture(tmp_path / f"val/{synset}/{synset}_1.JPEG")
    data = opened("folders", tmp_path, classes="imagenet")
    assert [int(s.target) for s in data] == [1, 217, 701]
    assert data.labels == ViT.labels.fget(_OfImageNet()) and data.labels[701] == "parachute, chute"


class _OfImageNet:
    """The parameters of a head for ImageNet, without its network."""

    params = ViT.Params()


def test_a_folder_that_is_no_synset_is_named(opened, tmp_path: Path, picture) -> None:
    picture(tmp_path / "val/n01440765/1.JPEG")
    with pytest.raises(InputError, match=r"n01440765, whose name is none of the 1000 classes .*mean 'n01440764'\?"):
        opened("folders", tmp_path, classes="imagenet")


def test_the_real_subset(opened, shared) -> None:
    data = opened("folders", shared("imagenette224"), classes="imagenet")
    assert len(data) == 1000
    sample = data[-1]
    assert sample.picture.shape == (3, 224, 224) and int(sample.target) == 701
    assert sample.key.startswith("val/n03888257/")


@pytest.fixture
def flat(tmp_path: Path, picture) -> Path:
    """Three validation pictures without class folders."""
    for number in (1, 2, 3):
        picture(tmp_path / f"val/{VAL.format(number)}.JPEG")
    return tmp_path


@cache
def _meta() -> bytes:
    """The kit's list: ILSVRC2012_IDs that run against the order of the classes, then 860 synsets more."""
    wnids = [*reversed(_all_synsets()), *(f"n9{number:07d}" for number in range(860))]
    return _meta_of(dict(enumerate(wnids, 1)))


def _meta_of(wnids: Mapping[int, str]) -> bytes:
    rows = np.empty((len(wnids), 1), dtype=[("ILSVRC2012_ID", object), ("WNID", object), ("words", object)])
    for index, (number, wnid) in enumerate(wnids.items()):
        rows[index, 0] = (number, wnid, "some words")
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"synsets": rows})
    return buffer.getvalue()


def _kit(root: Path, lines: str) -> Path:
    """A development kit."""
    folder = root / "ILSVRC2012_devkit_t12/data"
    folder.mkdir(parents=True)
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text(lines)
    (folder / "meta.mat").write_bytes(_meta())
    return folder


def _all_synsets() -> tuple[str, ...]:
    return ViT.synsets.fget(_OfImageNet())


def _classes(data) -> list[int]:
    return [int(sample.target) for sample in data]


def test_imagenet_in_folders(opened, tmp_path: Path) -> None:
    for synset in _all_synsets():
        (tmp_path / f"train/{synset}").mkdir(parents=True)
        (tmp_path / f"train/{synset}/{synset}_7.JPEG").touch()
    data = opened("imagenet", tmp_path, "train")
    assert len(data) == 1000 and data.labels[0] == "tench, Tinca tinca"
    with pytest.raises(InputError, match=r"n01440764_7\.JPEG is empty"):
        data[0]


def test_imagenet_is_not_read_in_part(opened, tmp_path: Path, picture) -> None:
    picture(tmp_path / "val/n01440764/1.JPEG")
    with pytest.raises(InputError, match=r"each of the 1000 classes .* found 1; missing: n01443537, .* 994 more"):
        opened("imagenet", tmp_path)


def test_imagenet_as_kaggle_hands_it_out(opened, tmp_path: Path, picture) -> None:
    for number in (1, 2):
        picture(tmp_path / f"ILSVRC/Data/CLS-LOC/val/{VAL.format(number)}.JPEG")
    (tmp_path / "LOC_val_solution.csv").write_text(
        f"ImageId,PredictionString\n{VAL.format(2)},n01440764 1 2 3 4 \n"
        f"{VAL.format(1)},n03888257 85 1 499 272 n03888257 1 1 9 9 \n"
    )
    data = opened("imagenet", tmp_path)
    assert _classes(data) == [701, 0] and data[0].key == f"val/{VAL.format(1)}"


def test_imagenet_as_kaggle_hands_it_out_without_the_folder_around(opened, tmp_path: Path, picture) -> None:
    picture(tmp_path / f"Data/CLS-LOC/val/{VAL.format(1)}.JPEG")
    (tmp_path / "LOC_val_solution.csv").write_text(f"ImageId,PredictionString\n{VAL.format(1)},n03888257 1 2 3 4\n")
    assert _classes(opened("imagenet", tmp_path)) == [701]


def test_the_table_of_kaggle_counts_before_a_listing(opened, flat: Path) -> None:
    names = [VAL.format(number) for number in (1, 2, 3)]
    (flat / "val.txt").write_text("".join(f"{name}.JPEG 5\n" for name in names))
    rows = [f"{name},{synset} 1 2 3 4\n" for name, synset in zip(names, SYNSETS, strict=False)]
    (flat / "LOC_val_solution.csv").write_text("".join(["ImageId,PredictionString\n", *rows]))
    assert _classes(opened("imagenet", flat)) == [0, 1, 217]


def test_a_listing_may_have_a_byte_order_mark_and_empty_lines(opened, flat: Path) -> None:
    lines = [f"{VAL.format(number)}.JPEG {number + 6}" for number in (1, 2, 3)]
    (flat / "val.txt").write_text("\ufeff" + "\n\n".join(lines) + "\n \n")
    assert _classes(opened("imagenet", flat)) == [7, 8, 9]


def test_the_table_of_kaggle_needs_no_head(opened, flat: Path) -> None:
    rows = [f"{VAL.format(number)},{SYNSETS[number]} 1 2 3 4\n" for number in (1, 3, 2)]
    (flat / "LOC_val_solution.csv").write_text("".join(rows))
    assert _classes(opened("imagenet", flat)) == [1, 217, 701]


def test_a_picture_may_be_named_with_any_ending_or_folder_or_without(opened, flat: Path) -> None:
    names = [f"val/{VAL.format(1)}.JPEG", f"{VAL.format(2)}.jpg", VAL.format(3)]
    (flat / "val.txt").write_text("".join(f"{name} {number}\n" for number, name in enumerate(names, 4)))
    assert _classes(opened("imagenet", flat)) == [4, 5, 6]


def test_flat_pictures_of_imagenet_may_have_any_format(opened, tmp_path: Path, picture) -> None:
    for number, ending in enumerate(["jpg", "PNG", "webp", "JPEG"], 1):
        picture(tmp_path / f"val/{VAL.format(number)}.{ending}")
    (tmp_path / "val.txt").write_text("".join(f"{VAL.format(number)} {number}\n" for number in range(1, 5)))
    assert _classes(opened("imagenet", tmp_path)) == [1, 2, 3, 4]


def test_names_of_flat_pictures_may_have_dots(
    opened: Callable[..., Any], tmp_path: Path, picture: Callable[..., Path]
) -> None:
    for name in ("cat.2.JPEG", "cat.1.JPEG"):
        picture(tmp_path / "val" / name)
    (tmp_path / "val.txt").write_text("cat.1.JPEG 3\ncat.2.JPEG 9\n")
    assert {sample.key: int(sample.target) for sample in opened("imagenet", tmp_path)} == {
        "val/cat.1": 3,
        "val/cat.2": 9,
    }


@pytest.mark.parametrize("words", [("217", "0", "999"), ("n02102040", "n01440764", "n15075141")])
def test_imagenet_with_a_listing(opened, flat: Path, words: tuple[str, ...]) -> None:
    lines = [f"{VAL.format(number)}.JPEG {word}" for number, word in enumerate(words, 1)]
    (flat / "val.txt").write_text("\n".join(lines) + "\n")
    assert _classes(opened("imagenet", flat)) == [217, 0, 999]


def test_imagenet_with_the_development_kit(opened, flat: Path) -> None:
    _kit(flat, "1000\n1\n999\n")
    assert _classes(opened("imagenet", flat)) == [0, 999, 1]


@pytest.mark.parametrize("place", ["data", "."])
def test_a_development_kit_may_be_unpacked_in_place(opened, flat: Path, place: str) -> None:
    folder = _kit(flat, "1000\n1\n999\n")
    (flat / place).mkdir(exist_ok=True)
    for path in [*folder.iterdir()]:
        path.rename(flat / place / path.name)
    assert _classes(opened("imagenet", flat)) == [0, 999, 1]


def test_a_development_kit_tells_of_val_alone(opened, flat: Path) -> None:
    _kit(flat, "1000\n1\n999\n")
    (flat / "val").rename(flat / "train")
    with pytest.raises(InputError, match=r"3 pictures in .*train without class folders, and none of the files"):
        opened("imagenet", flat, "train")


def test_imagenet_with_a_kit_that_lacks_its_list(opened, flat: Path) -> None:
    (_kit(flat, "1\n2\n3\n") / "meta.mat").unlink()
    with pytest.raises(InputError, match=r"meta\.mat is missing; .* class folders, LOC_val_solution\.csv or val\.txt"):
        opened("imagenet", flat)


def test_imagenet_with_a_kit_and_no_scipy(opened, flat: Path, monkeypatch) -> None:
    _kit(flat, "1\n2\n3\n")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(InputError, match=r"scipy is needed to read .*meta\.mat; install it, or sort the pictures"):
        opened("imagenet", flat)


def test_imagenet_with_a_damaged_list(opened, flat: Path) -> None:
    (_kit(flat, "1\n2\n3\n") / "meta.mat").write_bytes(b"MATLAB 5.0" + bytes(200))
    with pytest.raises(InputError, match=r"meta\.mat is not the development kit's meta\.mat"):
        opened("imagenet", flat)


def test_imagenet_with_a_list_of_other_synsets(opened, flat: Path) -> None:
    (_kit(flat, "1\n1\n1\n") / "meta.mat").write_bytes(_meta_of({1: "n01440764", 2: "n02084071"}))
    with pytest.raises(InputError, match=r"meta\.mat names 1 of ImageNet's classes; it should name 1000"):
        opened("imagenet", flat)


def test_imagenet_without_any_answers(opened, flat: Path) -> None:
    says = (
        r"3 pictures in .*val without class folders, .*: LOC_val_solution\.csv, val\.txt, ILSVRC2012_devkit_t12/data/"
    )
    with pytest.raises(InputError, match=says):
        opened("imagenet", flat)


ANSWERS = {
    "one too few": ("val.txt", "{1}.JPEG 0\n{2}.JPEG 1\n", r"no class for .*_00000003: it tells 2 classes, .* 3 pict"),
    "one too many": (
        "val.txt",
        "{1}.JPEG 0\n{2}.JPEG 1\n{3}.JPEG 1\n{4}.JPEG 1\n",
        r"a class for .*_00000004, which .*val does not hold: it tells 4 classes",
    ),
    "no class": ("val.txt", "{1}.JPEG 0\n{2}.JPEG\n", r"line 2 of .*val\.txt should hold a picture and its class"),
    "too large": ("val.txt", "{1}.JPEG 1000\n", r"line 1 of .*val\.txt has the class '1000'; it should be 0 to 999"),
    "a three of another script": (
        "val.txt",
        "{1}.JPEG \u0663\n",
        "line 1 of .* has the class '\u0663'; it should be 0",
    ),
    "a raised two": ("val.txt", "{1}.JPEG 7\n{2}.JPEG \u00b2\n", "line 2 of .* has the class '\u00b2'; it should be 0"),
    "twice": ("val.txt", "{1}.JPEG 0\n{1}.JPEG 1\n", r"line 2 of .*val\.txt names the picture .* a second time"),
    "no synset": (
        "LOC_val_solution.csv",
        "ImageId,PredictionString\n{1},n00000000 1 2 3 4\n",
        r"line 2 of .*LOC_val_solution\.csv has the class 'n00000000'",
    ),
    "no text": ("val.txt", "\udcff", r"val\.txt is not a text file"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_answers_that_do_not_fit_are_named(opened, flat: Path, case: str) -> None:
    name, text, says = ANSWERS[case]
    for number in range(1, 5):
        text = text.replace(f"{{{number}}}", VAL.format(number))
    (flat / name).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=says):
        opened("imagenet", flat)


@pytest.mark.parametrize("line", ["0", "1001", "12345", "cat"])
def test_a_ground_truth_that_is_no_id_is_named(opened, flat: Path, line: str) -> None:
    _kit(flat, f"1\n{line}\n3\n")
    with pytest.raises(InputError, match=rf"line 2 of .*ground_truth\.txt is '{line}'; .* 1 to 1000"):
        opened("imagenet", flat)
