import json
from collections.abc import Callable
from pathlib import Path

import pytest

from icm_core import load
from icm_core.bitstream.container import read
from icm_core.pictures import open_picture

Run = Callable[..., str]
Partly = Callable[..., tuple[str, list[str]]]
MakePhoto = Callable[..., Path]
MODEL = ("-m", "tiny-model")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_picture_becomes_a_file_of_the_same_stem(tmp_path: Path, photo: Path, run: Run) -> None:
    run("encode", photo, *MODEL, "-q", 2.5, "-o", tmp_path / "out")
    assert names(tmp_path / "out") == ["photo.icm"]
    container = read((tmp_path / "out" / "photo.icm").read_bytes())
    assert (container.height, container.width, container.quality.value) == (24, 40, 2.5)


def test_pictures_and_folders_go_together(tmp_path: Path, photo: Path, make_photo: MakePhoto, run: Run) -> None:
    make_photo("album/a.png")
    make_photo("album/b.JPG")
    (tmp_path / "album" / "notes.txt").touch()
    run("encode", photo, tmp_path / "album", *MODEL, "-o", tmp_path / "out")
    assert names(tmp_path / "out") == ["a.icm", "b.icm", "photo.icm"]


def test_a_file_that_is_named_twice_is_coded_once(tmp_path: Path, photo: Path, run: Run) -> None:
    rows = json.loads(run("encode", photo, photo, tmp_path / "." / "photo.png", *MODEL, "-o", tmp_path, "--json"))
    assert len(rows) == 1


def test_a_single_picture_can_name_its_file(tmp_path: Path, photo: Path, run: Run) -> None:
    run("encode", photo, *MODEL, "-o", tmp_path / "new" / "name.icm")
    assert names(tmp_path / "new") == ["name.icm"]


def test_base_only_leaves_the_enhancement_out(tmp_path: Path, photo: Path, run: Run) -> None:
    run("encode", photo, *MODEL, "--base-only", "-o", tmp_path)
    assert read((tmp_path / "photo.icm").read_bytes()).enhancement is None


def test_effort_and_its_tasks_reach_the_search(tmp_path: Path, photo: Path, run: Run) -> None:
    pipe, picture = load("sicmh-small", device="cpu"), open_picture(photo)
    run("encode", photo, "-m", "sicmh-small", "-q", 2, "--effort", 4, "--for", "coarse", "-o", tmp_path)
    written = (tmp_path / "photo.icm").read_bytes()
    assert written == pipe.encode(picture, 2, effort=4, search_for=["coarse"])
    assert written not in (pipe.encode(picture, 2), pipe.encode(picture, 2, effort=4))


def test_json_says_what_was_written(tmp_path: Path, photo: Path, run: Run) -> None:
    (row,) = json.loads(run("encode", photo, *MODEL, "-o", tmp_path, "--json"))
    blob = (tmp_path / "photo.icm").read_bytes()
    assert row.pop("seconds") > 0
    assert row == {
        "file": str(photo),
        "output": str(tmp_path / "photo.icm"),
        "height": 24,
        "width": 40,
        "quality": 3.0,
        "bytes": len(blob),
        "bpp": 8 * len(blob) / (24 * 40),
        "base_bytes": 22 + len(read(blob).base.payload),
    }


def test_an_enhancement_of_another_quality_is_said_by_encode_info_and_the_file(
    tmp_path: Path, photo: Path, run: Run
) -> None:
    options = (*MODEL, "-q", 2, "--enhancement-quality", 3.5, "-o", tmp_path)
    (row,) = json.loads(run("encode", photo, *options, "--json"))
    assert (row["quality"], row["enhancement_quality"]) == (2.0, 3.5)
    info = json.loads(run("info", tmp_path / "photo.icm", "--json"))
    assert info["quality"] == 2.0
    assert [layer["quality"] for layer in info["layers"]] == [2.0, 3.5]
    assert "2 + 3.5" in run("info", tmp_path / "photo.icm")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--enhancement-quality", 9), "quality 9 is out of range; pipeline 'tiny-model' has 1 to 4"),
        (("--enhancement-quality", 2, "--base-only"), "a file without its enhancement layer has no quality"),
        (("--encoder", "deep"), "codec 'tiny.thumbnail' has no encoder 'deep'; known: it has one, without a name"),
        (("--effort", 5), "effort is 5, and codec 'tiny.thumbnail' has no search; it should be 0"),
        (("--for", "coarse"), "a search for tasks needs an effort of 1 or more, and it is 0"),
    ],
)
def test_a_search_that_cannot_be_is_said_before_anything_is_written(
    tmp_path: Path, photo: Path, fail: Run, options: tuple[object, ...], says: str
) -> None:
    assert says in fail("encode", photo, *MODEL, *options, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precision_can_be_chosen(tmp_path: Path, photo: Path, run: Run, precision: str) -> None:
    run("encode", photo, *MODEL, "--device", "cpu", "--precision", precision, "-o", tmp_path)
    assert (tmp_path / "photo.icm").is_file()


def test_what_fails_is_named_and_the_others_go_on(
    tmp_path: Path, photo: Path, make_photo: MakePhoto, partly: Partly
) -> None:
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    last = make_photo("last.png")
    stdout, stderr = partly(
        "encode", tmp_path / "broken.png", photo, tmp_path / "gone.png", last, *MODEL, "-o", tmp_path / "out", "--json"
    )
    assert names(tmp_path / "out") == ["last.icm", "photo.icm"]
    assert len(stderr) == 2
    assert "broken.png is not a picture" in stderr[0]
    assert "gone.png" in stderr[1]
    rows = json.loads(stdout)
    assert [Path(row["file"]).name for row in rows if "error" in row] == ["broken.png", "gone.png"]


def test_two_pictures_of_one_stem_are_refused_before_anything_is_written(
    tmp_path: Path, photo: Path, make_photo: MakePhoto, fail: Run
) -> None:
    other = make_photo("photo.jpg")
    assert "would both be written to" in fail("encode", photo, other, *MODEL, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_picture_is_written_over(tmp_path: Path, photo: Path, fail: Run) -> None:
    disguised = photo.rename(tmp_path / "photo.icm")
    before = disguised.read_bytes()
    assert "over the input" in fail("encode", disguised, *MODEL, "-o", tmp_path)
    assert disguised.read_bytes() == before


def test_one_name_does_not_fit_two_pictures(tmp_path: Path, photo: Path, make_photo: MakePhoto, fail: Run) -> None:
    assert "names one file and there are 2" in fail(
        "encode", photo, make_photo("b.png"), *MODEL, "-o", tmp_path / "out.icm"
    )


@pytest.mark.parametrize("quality", ["0.5", "4.5", "99", "nan"])
def test_a_quality_out_of_range_is_refused(tmp_path: Path, photo: Path, partly: Partly, quality: str) -> None:
    _, (line,) = partly("encode", photo, *MODEL, "-q", quality, "-o", tmp_path)
    assert "out of range" in line
    assert names(tmp_path) == ["photo.png"]


def test_an_output_folder_that_cannot_be_made_is_refused(tmp_path: Path, photo: Path, fail: Run) -> None:
    (tmp_path / "a file").touch()
    assert "cannot make the folder" in fail("encode", photo, *MODEL, "-o", tmp_path / "a file" / "out")


def test_an_unknown_pipeline_is_named_with_the_nearest(photo: Path, fail: Run) -> None:
    assert "did you mean 'tiny-model'?" in fail("encode", photo, "-m", "tinymodel")


def test_missing_weights_are_named(tmp_path: Path, photo: Path, site: Path, fail: Run) -> None:
    (tmp_path / "alone.json").write_text((site / "tiny-model.json").read_text())
    assert "tiny-model.safetensors" in fail("encode", photo, "-m", tmp_path / "alone.json", "-o", tmp_path)


def test_an_unknown_device_is_named(tmp_path: Path, photo: Path, fail: Run) -> None:
    assert "device 'tpu' is unknown" in fail("encode", photo, *MODEL, "--device", "tpu", "-o", tmp_path)


def test_a_folder_without_pictures_is_named(tmp_path: Path, fail: Run) -> None:
    assert "has no file that ends in" in fail("encode", tmp_path, *MODEL, "-o", tmp_path)


def test_too_little_memory_is_a_sentence(
    tmp_path: Path, photo: Path, partly: Partly, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object, **__: object) -> bytes:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes. Out of memory!")

    monkeypatch.setattr("icm_core.pipeline.pipeline.Pipeline.encode", exhausted)
    _, (line,) = partly("encode", photo, *MODEL, "-o", tmp_path)
    assert "photo.png: not enough memory" in line
