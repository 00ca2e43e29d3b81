import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

Run = Callable[..., str]
Partly = Callable[..., tuple[str, list[str]]]
MODEL = ("-m", "tiny-model")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_task_that_can_be_looked_at_becomes_a_picture(tmp_path: Path, coded: Path, run: Run) -> None:
    run("decode", coded, "-o", tmp_path / "out")
    assert names(tmp_path / "out") == ["photo.coarse.png", "photo.fine.png", "photo.segmentation.png"]
    for path in (tmp_path / "out").iterdir():
        assert Image.open(path).size == (40, 24)


def test_a_label_map_is_an_indexed_picture_with_its_palette(tmp_path: Path, coded: Path, run: Run) -> None:
    run("decode", coded, "-t", "segmentation", "-o", tmp_path / "out")
    with Image.open(tmp_path / "out" / "photo.segmentation.png") as picture:
        assert picture.mode == "P"
        assert (picture.getpalette() or [])[:6] == [0, 0, 255, 90, 90, 90]
        assert max(picture.tobytes()) < 4


def test_json_has_the_five_most_probable_classes(tmp_path: Path, coded: Path, run: Run) -> None:
    (row,) = json.loads(run("decode", coded, "-t", "classification", "-o", tmp_path / "out", "--json"))
    top = row["tasks"]["classification"]["top"]
    assert len(top) == 5
    assert [one["label"] for one in top] == [f"class {one['index']}" for one in top]
    probabilities = [one["probability"] for one in top]
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0 < sum(probabilities) <= 1


def test_json_has_the_files_numbers_and_the_written_pictures(tmp_path: Path, coded: Path, run: Run) -> None:
    (row,) = json.loads(run("decode", coded, "-t", "coarse,fine", "-o", tmp_path, "--json"))
    assert row.pop("seconds") > 0
    size = coded.stat().st_size
    assert row == {
        "file": str(coded),
        "pipeline": "tiny-model",
        "height": 24,
        "width": 40,
        "quality": 3.0,
        "bytes": size,
        "bpp": 8 * size / (24 * 40),
        "truncated": False,
        "tasks": {
            "coarse": {"kind": "reconstruction", "text": "", "picture": str(tmp_path / "photo.coarse.png")},
            "fine": {"kind": "reconstruction", "text": "", "picture": str(tmp_path / "photo.fine.png")},
        },
    }


def test_tasks_can_be_listed_in_one_option_or_in_several(tmp_path: Path, coded: Path, run: Run) -> None:
    (row,) = json.loads(run("decode", coded, "-t", "fine,", "-t", " coarse", "-o", tmp_path, "--json"))
    assert list(row["tasks"]) == ["fine", "coarse"]


def test_without_a_picture_no_folder_is_made(tmp_path: Path, coded: Path, run: Run) -> None:
    run("decode", coded, "-t", "classification", "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_table_names_classes_and_pictures(tmp_path: Path, coded: Path, run: Run) -> None:
    table = run("decode", coded, "-o", tmp_path)
    assert "class " in table
    assert "photo.fine.png" in table


def test_a_pipeline_can_be_named(tmp_path: Path, coded: Path, run: Run) -> None:
    run("decode", coded, *MODEL, "-t", "coarse", "-o", tmp_path)
    assert (tmp_path / "photo.coarse.png").is_file()


def test_a_whole_folder_is_decoded(tmp_path: Path, coded: Path, run: Run) -> None:
    (tmp_path / "more.icm").write_bytes(coded.read_bytes())
    rows = json.loads(run("decode", tmp_path, "-t", "coarse", "-o", tmp_path / "out", "--json"))
    assert [Path(row["file"]).name for row in rows] == ["more.icm", "photo.icm"]


def test_a_file_cut_in_its_enhancement_layer_decodes_without_the_fine_picture(
    tmp_path: Path, coded: Path, run: Run
) -> None:
    coded.write_bytes(coded.read_bytes()[:-5])
    (row,) = json.loads(run("decode", coded, "-o", tmp_path / "out", "--json"))
    assert row["truncated"] is True
    assert names(tmp_path / "out") == ["photo.coarse.png", "photo.segmentation.png"]


def test_the_fine_picture_of_a_base_only_file_is_refused(tmp_path: Path, photo: Path, run: Run, partly: Partly) -> None:
    run("encode", photo, *MODEL, "--base-only", "-o", tmp_path)
    _, (line,) = partly("decode", tmp_path / "photo.icm", "-t", "fine", "-o", tmp_path / "out")
    assert "photo.icm: the file has no enhancement layer" in line


def test_a_damaged_file_is_named_and_the_others_go_on(tmp_path: Path, coded: Path, partly: Partly) -> None:
    blob = bytearray(coded.read_bytes())
    blob[30] ^= 4
    (tmp_path / "damaged.icm").write_bytes(blob)
    (tmp_path / "empty.icm").touch()
    paths = (tmp_path / "damaged.icm", tmp_path / "empty.icm", tmp_path / "gone.icm", coded)
    stdout, stderr = partly("decode", *paths, "-t", "coarse", "-o", tmp_path / "out", "--json")
    assert names(tmp_path / "out") == ["photo.coarse.png"]
    assert [line.split(":")[0] for line in stderr] == ["icm"] * 3
    assert "damaged.icm: the file is damaged" in stderr[0]
    assert "empty.icm: the file is cut" in stderr[1] or "empty.icm: the file is not" in stderr[1]
    assert "gone.icm: No such file" in stderr[2]
    assert len([row for row in json.loads(stdout) if "error" in row]) == 3


def test_a_file_of_no_installed_pipeline_says_what_to_do(
    tmp_path: Path, coded: Path, partly: Partly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icm_core.pipeline.identify.Fingerprints.of", lambda *_: None)
    _, (line,) = partly("decode", coded, "-o", tmp_path / "out")
    assert "name its spec file with -m" in line


def test_an_unknown_task_is_named_with_the_nearest(tmp_path: Path, coded: Path, partly: Partly) -> None:
    _, (line,) = partly("decode", coded, "-t", "segmentatoin", "-o", tmp_path / "out")
    assert "did you mean 'segmentation'?" in line


def test_two_files_of_one_stem_are_refused_before_anything_is_written(tmp_path: Path, coded: Path, fail: Run) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photo.icm").write_bytes(coded.read_bytes())
    assert "would both be written to" in fail("decode", coded, tmp_path / "other", "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, coded: Path, partly: Partly) -> None:
    (tmp_path / "a file").touch()
    _, (line,) = partly("decode", coded, "-o", tmp_path / "a file")
    assert "cannot make the folder" in line
