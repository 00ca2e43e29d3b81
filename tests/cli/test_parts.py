"""Layers sent apart, control hashes and limits, from the shell."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., str]
Partly = Callable[..., tuple[str, list[str]]]
MakePhoto = Callable[..., Path]
MODEL = ("-m", "tiny-model")


@pytest.fixture
def parts(tmp_path: Path, coded: Path, run: Run) -> tuple[Path, Path]:
    """The file's base file and its enhancement."""
    run("split", coded, "-o", tmp_path / "parts")
    return tmp_path / "parts" / "photo.base.icm", tmp_path / "parts" / "photo.icme"


def test_split_and_join_give_back_the_file(tmp_path: Path, coded: Path, parts: tuple[Path, Path], run: Run) -> None:
    run("join", *parts, "-o", tmp_path / "again.icm")
    assert (tmp_path / "again.icm").read_bytes() == coded.read_bytes()


def test_split_says_how_large_the_parts_are(tmp_path: Path, coded: Path, run: Run) -> None:
    (row,) = json.loads(run("split", coded, "-o", tmp_path / "parts", "--json"))
    assert row["base_bytes"] == (tmp_path / "parts" / "photo.base.icm").stat().st_size
    assert row["enhancement_bytes"] == (tmp_path / "parts" / "photo.icme").stat().st_size


def test_the_base_decodes_first_and_the_enhancement_later(
    tmp_path: Path, coded: Path, parts: tuple[Path, Path], run: Run
) -> None:
    base, fine = parts
    (row,) = json.loads(run("decode", base, "-o", tmp_path / "first", "--json"))
    assert "fine" not in row["tasks"] and row["truncated"] is False
    run("decode", base, "--enhancement", fine, "-t", "fine", "-o", tmp_path / "later")
    run("decode", coded, "-t", "fine", "-o", tmp_path / "whole")
    later, whole = tmp_path / "later" / "photo.base.fine.png", tmp_path / "whole" / "photo.fine.png"
    assert later.read_bytes() == whole.read_bytes()


def test_parts_of_two_files_are_refused(
    tmp_path: Path, parts: tuple[Path, Path], make_photo: MakePhoto, run: Run, fail: Run, partly: Partly
) -> None:
    run("encode", make_photo("other.png", width=48), *MODEL, "--base-only", "-o", tmp_path)
    other = tmp_path / "other.icm"
    assert "belongs to another file" in fail("join", other, parts[1], "-o", tmp_path / "x.icm")
    _, (line,) = partly("decode", other, "--enhancement", parts[1], "-o", tmp_path)
    assert "belongs to another file" in line
    assert not (tmp_path / "x.icm").exists()


def test_join_replaces_none_of_its_parts(parts: tuple[Path, Path], fail: Run) -> None:
    assert "written over the input" in fail("join", *parts, "-o", parts[0])


def test_one_enhancement_does_not_fit_two_files(parts: tuple[Path, Path], coded: Path, fail: Run) -> None:
    assert "there are 2" in fail("decode", parts[0], coded, "--enhancement", parts[1])


def test_a_base_only_file_is_not_split(tmp_path: Path, parts: tuple[Path, Path], partly: Partly) -> None:
    _, (line,) = partly("split", parts[0], "-o", tmp_path / "more")
    assert "nothing to split off" in line
    assert not (tmp_path / "more").exists()


def test_a_cut_file_says_so_in_the_table(tmp_path: Path, coded: Path, run: Run) -> None:
    coded.write_bytes(coded.read_bytes()[:-5])
    assert "cut in its enhancement layer: base layer only" in run("decode", coded, "-o", tmp_path)


def test_control_hashes_are_checked_on_request(tmp_path: Path, photo: Path, run: Run) -> None:
    run("encode", photo, *MODEL, "--control", "-o", tmp_path)
    (row,) = json.loads(run("decode", tmp_path / "photo.icm", "--verify", "-o", tmp_path, "--json"))
    assert row["verified"] == ["base"]
    assert "verified: base" in run("decode", tmp_path / "photo.icm", "--verify", "-o", tmp_path)
    info = json.loads(run("info", tmp_path / "photo.icm", "--json"))
    assert len(info["layers"][0]["control"]) == 8 and info["layers"][1]["control"] is None
    assert info["overhead_bytes"] == 39


def test_a_file_without_control_hash_cannot_be_verified(tmp_path: Path, coded: Path, partly: Partly) -> None:
    _, (line,) = partly("decode", coded, "--verify", "-o", tmp_path)
    assert "carries no control hash; encode with --control" in line


@pytest.mark.parametrize("command", ["decode", "info"])
def test_larger_pictures_than_allowed_are_refused(coded: Path, command: str, run: Run, partly: Partly) -> None:
    _, (line,) = partly(command, coded, "--max-pixels", 24 * 40 - 1)
    assert "claims a picture of 40x24 pixels; 1 to 959 pixels are accepted" in line
    run("info", coded, "--max-pixels", 24 * 40)


def test_check_exact_of_a_codec_without_proof_says_so(fail: Run) -> None:
    assert "gives no proof that its coding path is exact" in fail("check", "tiny-model", "--exact")
