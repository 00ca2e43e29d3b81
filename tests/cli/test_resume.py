"""A second run codes what the first one did not finish, and trusts no file that it cannot vouch for."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., str]
Partly = Callable[..., tuple[str, list[str]]]
MakePhoto = Callable[..., Path]
MODEL = ("-m", "tiny-model")


@pytest.fixture
def album(tmp_path: Path, make_photo: MakePhoto) -> Path:
    for name in ("a.png", "b.png", "c.png"):
        make_photo(f"album/{name}")
    return tmp_path / "album"


@pytest.fixture
def out(tmp_path: Path, album: Path, run: Run) -> Path:
    run("encode", album, *MODEL, "-o", tmp_path / "out")
    return tmp_path / "out"


def kept(run: Run, album: Path, out: Path, *options: object) -> list[str]:
    rows = json.loads(run("encode", album, *MODEL, "--resume", "-o", out, "--json", *options))
    return [Path(row["output"]).stem for row in rows if row.get("kept")]


def test_finished_files_are_left_alone(album: Path, out: Path, run: Run) -> None:
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in out.iterdir()}
    (out / "b.icm").unlink()
    rows = json.loads(run("encode", album, *MODEL, "--resume", "-o", out, "--json"))
    assert [row.get("kept", False) for row in rows] == [True, False, True]
    assert {row["bytes"] for row in rows} == {(out / "a.icm").stat().st_size}
    for name in ("a.icm", "c.icm"):
        stat = (out / name).stat()
        assert (stat.st_mtime_ns, stat.st_ino) == before[out / name]
    assert "kept" in run("encode", album, *MODEL, "--resume", "-o", out)


def test_without_resume_everything_is_coded_anew(album: Path, out: Path, run: Run) -> None:
    rows = json.loads(run("encode", album, *MODEL, "-o", out, "--json"))
    assert not any("kept" in row for row in rows)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "another format", "another size"])
def test_a_file_that_is_not_whole_is_coded_anew(
    damage: str, album: Path, out: Path, run: Run, make_photo: MakePhoto
) -> None:
    path = out / "b.icm"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[40] ^= 1
    if damage == "another size":
        run("encode", make_photo("b.png", width=48), *MODEL, "-o", out)
    else:
        path.write_bytes({"cut": whole[:-1], "flip": bytes(flipped), "empty": b"", "another format": b"GIF89a"}[damage])
    assert kept(run, album, out) == ["a", "c"]
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "options", [("-q", 2), ("--base-only",), ("--control",), ("--enhancement-quality", 2)], ids=str
)
def test_another_order_than_the_files_codes_all_anew(
    options: tuple[object, ...], album: Path, out: Path, run: Run
) -> None:
    assert kept(run, album, out, *options) == []
    assert kept(run, album, out, *options) == ["a", "b", "c"]
    assert kept(run, album, out) == []


def test_a_file_of_another_pipeline_is_coded_anew(album: Path, out: Path, run: Run) -> None:
    blob = bytearray((out / "b.icm").read_bytes())
    from icm_core.bitstream.container import Container, Layer, LayerKind, read, write

    file = read(bytes(blob))
    other = Layer(LayerKind.BASE, b"\0\0\0\0", file.base.payload)
    (out / "b.icm").write_bytes(write(Container(file.height, file.width, file.quality, (other, file.layers[1]))))
    assert kept(run, album, out) == ["a", "c"]


def test_a_file_older_than_its_picture_is_coded_anew(album: Path, out: Path, run: Run) -> None:
    later = (out / "b.icm").stat().st_mtime + 5
    os.utime(album / "b.png", (later, later))
    assert kept(run, album, out) == ["a", "c"]


def test_the_table_ends_with_what_failed(album: Path, out: Path, partly: Partly) -> None:
    (album / "b.png").write_bytes(b"not a picture")
    (album / "d.png").symlink_to("nowhere")
    stdout, stderr = partly("encode", album, album / "d.png", *MODEL, "-o", out)
    assert "2 of 4 failed" in stdout
    assert all(any(name in line for line in stdout.splitlines()) for name in ("b.png", "d.png"))
    assert len(stderr) == 2
