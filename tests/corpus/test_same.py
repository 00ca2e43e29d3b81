"""The same bytes and the same rows, whoever does the work."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

WAYS = {
    "many threads around": ("--workers", 1),
    "two workers": ("--workers", 2),
    "batches": ("--workers", 1, "--batch", 3),
    "batches and workers": ("--workers", 2, "--batch", 3),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_files_are_the_same(way, run, tree, threads, toy, album, coded, tmp_path) -> None:
    with threads(2):
        code, rows, _ = run("encode", album, "-r", "-m", toy, "-o", tmp_path, *way)
    assert code == 0
    assert tree(tmp_path) == tree(coded)
    assert [Path(row["file"]).name for row in rows] == [path.stem + ".png" for path in in_order(coded)]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_answers_are_the_same(way, run, tree, threads, toy, coded, decoded, tmp_path) -> None:
    with threads(2):
        code, rows, _ = run("decode", coded, "-r", "-m", toy, "-o", tmp_path, *way)
    assert code == 0
    assert tree(tmp_path) == tree(decoded)
    assert [Path(row["file"]) for row in rows] == in_order(coded)


def in_order(folder: Path) -> list[Path]:
    """Files of a folder before those of the folders in it."""
    return sorted(folder.rglob("*.icm"), key=lambda path: (path.parent, path.name))


def test_shards_together_are_all(run, tree, toy, album, coded, decoded, tmp_path) -> None:
    for number in (3, 1, 2):
        shard = ("-m", toy, "--shard", f"{number}/3")
        assert len(run("encode", album, "-r", *shard, "-o", tmp_path / "coded")[1]) == 4
        assert len(run("decode", coded, "-r", *shard, "-o", tmp_path / "decoded")[1]) == 4
    assert tree(tmp_path / "coded") == tree(coded)
    assert tree(tmp_path / "decoded") == tree(decoded)


def test_a_list_is_coded_as_its_files_are(run, tree, toy, album, coded, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(album)
    names = sorted(str(path.relative_to(album)) for path in album.rglob("*.png"))
    (tmp_path / "list.txt").write_text("\n".join(names) + "\n\n")
    assert run("encode", "--files", tmp_path / "list.txt", "-r", "-m", toy, "-o", tmp_path / "out")[0] == 0
    assert tree(tmp_path / "out") == tree(coded)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("batch", [1, 4])
def test_damaged_ones_are_named_and_the_rest_is_done(
    workers, batch, run, tree, toy, album, coded, decoded, tmp_path
) -> None:
    import shutil

    here = shutil.copytree(album, tmp_path / "album")
    whole = (here / "deep" / "p04.png").read_bytes()
    (here / "deep" / "p04.png").write_bytes(whole[:-200])  # its header is whole, and its size known
    (here / "p00.png").write_bytes(b"no picture")
    options = ("-r", "-m", toy, "--workers", workers, "--batch", batch)
    code, rows, lines = run("encode", here, *options, "-o", tmp_path / "coded")
    assert code == 2
    assert sorted(lines) == sorted(f"icm: {row['error']}" for row in rows if "error" in row)
    assert [Path(row["file"]).name for row in rows if "error" in row] == ["p00.png", "p04.png"]
    without = {name: blob for name, blob in tree(coded).items() if name not in ("p00.icm", "deep/p04.icm")}
    assert tree(tmp_path / "coded") == without

    files = shutil.copytree(coded, tmp_path / "files")
    blob = bytearray((files / "p03.icm").read_bytes())
    blob[-30] ^= 1
    (files / "p03.icm").write_bytes(blob)
    code, rows, lines = run("decode", files, *options, "-o", tmp_path / "decoded")
    assert code == 2
    assert [Path(row["file"]).name for row in rows if "error" in row] == ["p03.icm"]
    assert len(lines) == 1 and "p03.icm" in lines[0]
    assert tree(tmp_path / "decoded") == {k: v for k, v in tree(decoded).items() if not k.startswith("p03.")}


def test_what_nobody_can_do_is_said_once_and_writes_nothing(run, toy, album, tmp_path) -> None:
    code, rows, lines = run("encode", album, "-r", "-m", toy, "-q", 9, "--workers", 2, "-o", tmp_path / "out")
    assert (code, rows) == (2, [])
    assert lines == ["icm: quality 9 is out of range; pipeline 'toy' has 1 to 4"]
    assert not (tmp_path / "out").exists()


def test_more_threads_are_used_when_asked_for(run, toy, album, tmp_path, monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(
        "icm_core.pipeline.pipeline.Pipeline.encode", lambda *_, **__: seen.append(torch.get_num_threads()) or b""
    )
    picture = next(album.glob("*.png"))
    for options in ((), ("--threads", 2)):
        from typer.testing import CliRunner

        from icm_core.cli import app

        CliRunner().invoke(app, ["encode", str(picture), "-m", str(toy), "-o", str(tmp_path), *map(str, options)])
    assert seen == [1, 2]


def test_a_turned_picture_goes_with_others_of_the_size_that_it_is_coded_in(run, tree, toy, tmp_path) -> None:
    folder = tmp_path / "album"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.linear_gradient("L").resize((40, 64)).convert("RGB").save(folder / "turned.jpg", exif=exif)
    Image.linear_gradient("L").resize((64, 40)).convert("RGB").save(folder / "upright.jpg")
    rows = run("encode", folder, "-m", toy, "-o", tmp_path / "one")[1]
    assert [(row["width"], row["height"]) for row in rows] == [(64, 40), (64, 40)]
    together = run("encode", folder, "-m", toy, "--batch", 2, "-o", tmp_path / "two")[1]
    assert together[0]["seconds"] == together[1]["seconds"]  # shared evenly
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert json.dumps(rows[0]["bytes"]) == json.dumps(together[0]["bytes"])


@pytest.mark.parametrize("order", ["encode", "decode"])
def test_seconds_of_a_batch_are_shared_by_its_pictures(run, toy, album, tmp_path, monkeypatch, order) -> None:
    pictures = [album / "p00.png", album / "deep/er/p08.png"]  # of one size
    files = [tmp_path / "out" / f"{picture.stem}.icm" for picture in pictures]
    if order == "decode":
        assert run("encode", *pictures, "-m", toy, "-o", tmp_path / "out")[0] == 0
    ticks = itertools.count(0, 3)
    monkeypatch.setattr(f"icm_core.corpus.{order[:-1]}ing.time.perf_counter", lambda: float(next(ticks)))
    rows = run(order, *(files if order == "decode" else pictures), "-m", toy, "--batch", 2, "-o", tmp_path / "found")[1]
    assert [row["seconds"] for row in rows] == [1.5, 1.5]
