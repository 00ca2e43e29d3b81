"""WebDataset shards, as the webdataset package and as tar itself write them."""

from __future__ import annotations

import gzip
import io
import pickle
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from icm_core import InputError


def encoded(colour: int = 0, kind: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (6, 4)) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, (colour,) * 3 if mode == "RGB" else colour).save(buffer, kind)
    return buffer.getvalue()


def write(path: Path, members: Mapping[str, bytes] | list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members.items() if isinstance(members, Mapping) else members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_shards_of_the_webdataset_package(opened, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    with webdataset.ShardWriter(str(tmp_path / "train-%06d.tar"), maxcount=3, verbose=0) as writer:
        for number in range(7):
            pixels = np.full((4, 6, 3), number, np.uint8)
            writer.write({"__key__": f"{number:06d}", "png": pixels, "cls": number * 100})
    data = opened("webdataset", tmp_path, "train")
    assert len(data) == 7 and data.kind == "classification"
    for number in (5, 0, 6, 2):  # in no order
        sample = data[number]
        assert sample.key == f"train-{number // 3:06d}/{number:06d}"
        assert int(sample.target) == number * 100 and sample.target.dtype == torch.int64
        assert sample.picture.shape == (3, 4, 6) and sample.picture.unique().tolist() == [number]


def test_shards_in_a_folder_of_the_split(opened, tmp_path: Path) -> None:
    for shard in ("b", "a"):
        write(tmp_path / f"val/{shard}.tar", {"1.webp": encoded(kind="WEBP"), "1.cls": b" 3\n"})
    assert [s.key for s in opened("webdataset", tmp_path)] == ["a/1", "b/1"]


def test_shards_of_a_splits_name_count_before_its_folder(opened, tmp_path: Path) -> None:
    for path in ("val-0.tar", "val/9.tar"):
        write(tmp_path / path, {"1.png": encoded(), "1.cls": b"3"})
    assert [s.key for s in opened("webdataset", tmp_path)] == ["val-0/1"]


def test_a_split_whose_name_begins_with_anothers_is_another(opened, tmp_path: Path) -> None:
    for name in ("val-0", "val2-0", "validation-0"):
        write(tmp_path / f"{name}.tar", {"1.png": encoded(), "1.cls": b"3"})
    assert [s.key for s in opened("webdataset", tmp_path, "val")] == ["val-0/1"]


def test_class_maps(opened, tmp_path: Path) -> None:
    write(tmp_path / "val-0.tar", {"x/1.JPG": encoded(kind="JPEG"), "x/1.seg.png": encoded(2, mode="L")})
    data = opened("webdataset_maps", tmp_path, classes=["a", "b", "c"])
    assert (data.kind, data.labels, data.ignore_index) == ("segmentation", ("a", "b", "c"), 255)
    assert data[0].key == "val-0/x/1" and data[0].target.tolist() == [[2] * 6] * 4


def test_only_the_value_that_is_named_counts_nowhere(opened, tmp_path: Path) -> None:
    members = {"1.png": encoded(), "1.seg.png": encoded(7, mode="L"), "2.png": encoded()}
    write(tmp_path / "val-0.tar", {**members, "2.seg.png": encoded(255, mode="L")})
    data = opened("webdataset_maps", tmp_path, classes=["a", "b"], ignore=7)
    assert data.ignore_index == 7 and data[0].target.unique().tolist() == [7]
    with pytest.raises(InputError, match=r"holds the value 255; the classes are 0 to 1 and 7, which is ignored"):
        data[1]


def test_keys_are_as_they_are_written(opened, tmp_path: Path) -> None:
    """And endings in any letters."""
    write(tmp_path / "val-0.tar", {"Sea/IMG_1.PNG": encoded(), "Sea/IMG_1.CLS": b"3"})
    assert [s.key for s in opened("webdataset", tmp_path)] == ["val-0/Sea/IMG_1"]


def test_a_file_with_holes_is_not_read_as_if_it_had_none(opened, tmp_path: Path) -> None:
    tar = shutil.which("tar")
    if tar is None or "GNU tar" not in subprocess.run([tar, "--version"], capture_output=True, text=True).stdout:
        pytest.skip("GNU tar is what writes sparse files")
    with (tmp_path / "1.png").open("wb") as file:
        file.write(encoded())
        file.truncate(1 << 20)
    (tmp_path / "2.png").write_bytes(encoded(9))
    subprocess.run([tar, "--sparse", "--format=gnu", "-cf", "val-0.tar", "1.png", "2.png"], cwd=tmp_path, check=True)
    assert (tmp_path / "val-0.tar").stat().st_size < 1 << 16
    with pytest.raises(InputError, match=r"the picture of val-0/1 in .*val-0\.tar is empty"):
        opened("webdataset_pictures", tmp_path)[0]
    assert int(opened("webdataset_pictures", tmp_path)[1].picture[0, 0, 0]) == 9


def test_pictures_alone(opened, tmp_path: Path) -> None:
    write(tmp_path / "val-0.tar", {"1.png": encoded(), "1.json": b"{}", "2.jpeg": encoded(kind="JPEG")})
    assert [(s.key, s.target) for s in opened("webdataset_pictures", tmp_path)] == [
        ("val-0/1", None),
        ("val-0/2", None),
    ]


def test_long_names_are_read_whole(opened, tmp_path: Path) -> None:
    name = "folder/" * 30 + "é" * 80
    write(tmp_path / "val-0.tar", {f"{name}.png": encoded(), f"{name}.cls": b"1"})
    assert opened("webdataset", tmp_path)[0].key == f"val-0/{name}"


def test_a_name_that_is_no_text_is_written_out(opened, tmp_path: Path) -> None:
    write(tmp_path / "val-0.tar", {"\udcff1.png": encoded(), "\udcff1.cls": b"1", "2.png": encoded(), "2.cls": b"1"})
    assert [s.key for s in opened("webdataset", tmp_path)] == [r"val-0/\udcff1", "val-0/2"]


@pytest.mark.parametrize("value", [0, 1, 255])
def test_a_map_of_one_class_holds_that_class_alone(opened, tmp_path: Path, value: int) -> None:
    write(tmp_path / "val-0.tar", {"1.png": encoded(), "1.seg.png": encoded(value, mode="L")})
    data = opened("webdataset_maps", tmp_path, classes=["a"])
    if value == 1:
        with pytest.raises(InputError, match="holds the value 1; the classes are 0 to 0 and 255"):
            data[0]
    else:
        assert data[0].target.unique().tolist() == [value]


def test_names_of_imagenet(opened, tmp_path: Path) -> None:
    write(tmp_path / "val-0.tar", {"1.png": encoded(), "1.cls": b"999", "2.png": encoded(), "2.cls": b"1000"})
    data = opened("webdataset", tmp_path, classes="imagenet")
    assert data.labels[int(data[0].target)] == "toilet tissue, toilet paper, bathroom tissue"
    with pytest.raises(InputError, match=r"cls of val-0/2 in .*val-0\.tar holds the class 1000; .* 0 to 999"):
        data[1]


def test_nothing_is_unpickled(opened, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "sprung",))

    trap = pickle.dumps(Trap())
    members = {"1.png": encoded(), "1.cls": b"1", "1.pyd": trap, "1.pth": trap, "1.pickle": trap, "1.npy": trap}
    write(tmp_path / "val-0.tar", members)
    (tmp_path / "val-0.tar.index").write_bytes(trap)
    assert int(opened("webdataset", tmp_path)[0].target) == 1
    write(tmp_path / "val-0.tar", {"1.png": trap, "1.cls": trap})
    with pytest.raises(InputError, match="not a picture"):
        opened("webdataset", tmp_path)[0]
    assert not (tmp_path / "sprung").exists()


def test_worker_processes_read_on_their_own(opened, tmp_path: Path) -> None:
    write(
        tmp_path / "val-0.tar",
        {f"{n}.{e}": encoded(n) if e == "png" else b"1" for n in range(9) for e in ("png", "cls")},
    )
    data = opened("webdataset", tmp_path)
    loader = torch.utils.data.DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context="fork")
    assert [int(sample.picture[0, 0, 0]) for sample in loader] == [*range(9)]


def test_what_stands_beside_the_samples_is_left_alone(opened, tmp_path: Path) -> None:
    members = {"README": b"x", "__meta__.json": b"{}", ".hidden.png": b"", "1.png": encoded(), "1.cls": b"1"}
    members |= {"folder/__meta__.json": b"{}", "folder/.hidden.png": b""}
    path = write(tmp_path / "val-0.tar", members)
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("2.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
    assert [s.key for s in opened("webdataset", tmp_path)] == ["val-0/1"]


SAMPLES = {
    "no target": ({"1.png": encoded()}, r"the sample '1' of .*val-0\.tar has no member 'cls', .*, but png"),
    "no picture": ({"1.cls": b"1"}, r"the sample '1' of .* has 0 pictures \(jpg, jpeg, png, webp\) .* cls; it should"),
    "two pictures": ({"1.png": b"", "1.jpg": b"", "1.cls": b"1"}, r"has 2 pictures"),
    "a sample twice": (
        {"1.png": encoded(), "1.cls": b"1", "2.png": encoded(), "2.cls": b"1", "1.txt": b""},
        r"val-0\.tar holds the sample '1' twice",
    ),
    "a member twice": ([("1.png", encoded()), ("1.png", encoded())], r"val-0\.tar holds the member '1\.png' twice"),
    "nothing": ({}, r"found no samples in .*val-0\.tar"),
}


@pytest.mark.parametrize("case", SAMPLES)
def test_samples_that_cannot_be_used_are_named(opened, tmp_path: Path, case: str) -> None:
    members, says = SAMPLES[case]
    write(tmp_path / "val-0.tar", members)
    with pytest.raises(InputError, match=says):
        opened("webdataset", tmp_path)


@pytest.mark.parametrize("text", [b"", b"cat", b"-1", b"1.5", b"1" * 10, "٣".encode()])
def test_a_class_that_is_no_number_is_named(opened, tmp_path: Path, text: bytes) -> None:
    write(tmp_path / "val-0.tar", {"1.png": encoded(), "1.cls": text})
    with pytest.raises(InputError, match=r"cls of val-0/1 in .* it should be a class in decimal digits"):
        opened("webdataset", tmp_path)[0]


@pytest.mark.parametrize(("data", "says"), [(b"", "is empty"), (encoded()[:45], "is cut or damaged")])
def test_a_broken_picture_is_named(opened, tmp_path: Path, data: bytes, says: str) -> None:
    write(tmp_path / "val-0.tar", {"1.png": data, "1.cls": b"1"})
    with pytest.raises(InputError, match=rf"the picture of val-0/1 in .*val-0\.tar {says}"):
        opened("webdataset", tmp_path)[0]


MAPS = {
    "another size": (encoded(1, mode="L", size=(4, 6)), r"seg\.png of val-0/1 in .* has 4x6 pixels and its picture"),
    "another class": (encoded(2, mode="L"), r"seg\.png of .* holds the value 2; the classes are 0 to 1 and 255"),
    "colours": (encoded(), r"seg\.png of .* is a PNG picture of mode RGB"),
    "cut": (encoded(1, mode="L")[:45], r"seg\.png of .* is cut or damaged"),
}


@pytest.mark.parametrize("case", MAPS)
def test_class_maps_that_cannot_be_used_are_named(opened, tmp_path: Path, case: str) -> None:
    data, says = MAPS[case]
    write(tmp_path / "val-0.tar", {"1.png": encoded(), "1.seg.png": data})
    with pytest.raises(InputError, match=says):
        opened("webdataset_maps", tmp_path, classes=["a", "b"])[0]


def _shard(path: Path) -> bytes:
    return write(
        path, {f"{n}.{e}": encoded(n) if e == "png" else b"1" for n in range(3) for e in ("png", "cls")}
    ).read_bytes()


DAMAGE = {
    "empty": (lambda data: b"", r"cannot read .* as a plain"),
    "compressed": (gzip.compress, r"cannot read .* as a plain \(not compressed\) tar file"),
    "no tar": (lambda data: b"no tar" * 1000, r"cannot read .* as a plain"),
    "cut in a member": (lambda data: data[:3400], "val-0.tar"),
    "cut in a header": (lambda data: data[:2300], "is cut or damaged at byte"),
    "header without a beginning": (
        lambda data: data[:2048] + b"\0" + data[2049:],
        "is cut or damaged at byte 2048 of",
    ),
    "overwritten header": (lambda data: data[:2048] + b"\xaa" * 512 + data[2560:], "is cut or damaged at byte 2048 of"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_shard_does_not_pass_for_a_short_one(opened, tmp_path: Path, case: str) -> None:
    spoil, says = DAMAGE[case]
    path = tmp_path / "val-0.tar"
    path.write_bytes(spoil(_shard(path)))
    with pytest.raises(InputError, match=says):
        opened("webdataset", tmp_path)


def test_a_shard_that_shrinks_while_it_is_in_use(opened, tmp_path: Path) -> None:
    path = tmp_path / "val-0.tar"
    whole = _shard(path)
    data = opened("webdataset", tmp_path)
    for kept, number in ((2000, 2), (512 + 20, 0)):  # without a byte of the third picture, and within the first
        path.write_bytes(whole[:kept])
        with pytest.raises(InputError, match=rf"val-0\.tar became shorter while .*: the picture of val-0/{number} "):
            data[number]


def test_a_shard_that_disappears(opened, tmp_path: Path) -> None:
    _shard(tmp_path / "val-0.tar")
    data = opened("webdataset", tmp_path)
    (tmp_path / "val-0.tar").unlink()
    with pytest.raises(InputError, match=r"cannot read .*val-0\.tar"):
        data[0]


def test_a_member_too_large_for_a_picture(opened, tmp_path: Path) -> None:
    info = tarfile.TarInfo("1.png")
    info.size = 1 << 30
    with (tmp_path / "val-0.tar").open("wb") as file:
        file.write(info.tobuf())
        file.truncate(512 + info.size)
    with pytest.raises(InputError, match=r"has 1073741824 bytes; a picture has at most"):
        opened("webdataset_pictures", tmp_path)[0]


def test_no_shards(opened, tmp_path: Path) -> None:
    write(tmp_path / "train-000000.tar", {})
    with pytest.raises(InputError, match=r"expects val-000000\.tar, \.\.\. in .*, and found train-000000\.tar"):
        opened("webdataset", tmp_path)


@pytest.mark.parametrize(
    ("params", "says"),
    [({"ignore": 256}, "params.ignore is 256"), ({"classes": ["a", "a"]}, "each class once"), ({"clases": []}, "mean")],
)
def test_wrong_parameters_are_named(opened, tmp_path: Path, params: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        opened("webdataset_maps", tmp_path, **params)
