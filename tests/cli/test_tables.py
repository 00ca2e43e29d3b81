"""What tables say: each number in its column, and a line for whatever failed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from icm_core import Pipeline
from icm_core.bitstream.container import read
from icm_core.cli import batch
from icm_core.cli.check import _print_sharing
from icm_core.cli.console import message_of, print_json, print_table, progress
from icm_core.coding.bounds import Bound
from icm_core.corpus.work import Outcome
from icm_core.errors import InputError
from icm_core.inspection.cost import Sharing
from icm_core.inspection.flops import Cost

Run = Callable[..., str]
Partly = Callable[..., tuple[str, list[str]]]
MakePhoto = Callable[..., Path]
MODEL = ("-m", "tiny-model")


def cells(table: str, begins: str) -> list[str]:
    """The cells of the line that begins so."""
    (line,) = [line for line in table.splitlines() if line.strip().startswith(begins)]
    return re.split(r"\s{2,}", line.strip())


def test_encode_says_width_by_height_bytes_and_bits(tmp_path: Path, photo: Path, run: Run) -> None:
    table = run("encode", photo, *MODEL, "-o", tmp_path)
    (row,) = json.loads(run("encode", photo, *MODEL, "-o", tmp_path, "--json"))
    found = cells(table, str(tmp_path / "photo.icm"))
    assert found[1:5] == ["40x24", str(row["bytes"]), f"{row['bytes'] / 120:.4f}", str(row["base_bytes"])]
    assert row["base_bytes"] < row["bytes"]
    assert re.fullmatch(r"\d+\.\d\d", found[5])


def test_decode_says_the_file_once_and_a_line_for_every_task(tmp_path: Path, coded: Path, run: Run) -> None:
    size = coded.stat().st_size
    table = run("decode", coded, "-t", "coarse,classification,fine", "-o", tmp_path)
    *first, picture = cells(table, str(coded)[:60])
    assert first[1:] == ["40x24", str(size), f"{8 * size / 960:.4f}", "coarse"]
    assert picture.startswith(str(tmp_path)[:40])  # what is too long for a line is cut
    assert cells(table, "classification")[1].startswith("class ")
    assert cells(table, "fine")[1].startswith(str(tmp_path)[:40])


def test_decode_lists_files_that_failed_below_those_that_did_not(tmp_path: Path, coded: Path, partly: Partly) -> None:
    for name in ("broken.icm", "empty.icm"):
        (tmp_path / name).write_bytes(b"not one")
    table, _ = partly("decode", tmp_path, "-t", "classification", "-o", tmp_path / "out")
    assert "2 of 3 failed" in table
    _, error = cells(table, str(tmp_path / "broken.icm"))
    assert error.startswith("the file is not an .icm file")


def test_of_a_single_file_that_failed_nothing_is_said_twice(tmp_path: Path, partly: Partly) -> None:
    (tmp_path / "broken.icm").write_bytes(b"not one")
    table, (line,) = partly("decode", tmp_path / "broken.icm", "-o", tmp_path / "out")
    assert table == ""
    assert "broken.icm" in line


def test_info_says_what_stands_in_the_file(coded: Path, run: Run) -> None:
    size = coded.stat().st_size
    info = json.loads(run("info", coded, "--json"))
    base, fine = (layer["bytes"] for layer in info["layers"])
    bpp = f"{8 * size / 960:.4f}"
    assert cells(run("info", coded), str(coded)) == [
        *(str(coded), "tiny-model", "40x24", "3", str(size), bpp, "35", f"base {base}, enhancement {fine}")
    ]


def test_info_of_one_good_file_of_several_is_an_array(tmp_path: Path, coded: Path, partly: Partly) -> None:
    (tmp_path / "broken.icm").write_bytes(b"not one")
    stdout, _ = partly("info", coded, tmp_path / "broken.icm", "--json")
    assert [Path(row["file"]).name for row in json.loads(stdout)] == ["photo.icm", "broken.icm"]


def test_check_says_the_picture_and_what_it_is_padded_to(run: Run) -> None:
    table = run("check", "tiny-model", "--size", "20x33")
    assert re.search(r"tiny-model, picture 33x20, computed at (\d+)x(\d+)", table)
    found = json.loads(run("check", "tiny-model", "--size", "20x33", "--json"))
    height, width = found["padded"]
    assert height < width
    assert f"picture 33x20, computed at {width}x{height}" in table


def test_sharing_names_each_part_and_the_share_that_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    def cost(number: int) -> Cost:
        return Cost(parameters=1000 * number, kmac_per_pixel=number / 2)

    parts: dict[str, Any] = {"codec": cost(1), "adapter": cost(2), "picture": cost(3), "enhancement": cost(4)}
    sums: dict[str, Any] = {
        "shared": cost(20),
        "separate": cost(50),
        "shared_formula": "one",
        "separate_formula": "many",
    }
    _print_sharing(Sharing(tasks=3, **parts, **sums))
    table = capsys.readouterr().out
    assert cells(table, "codec") == ["codec", "1,000", "0.50"]
    assert cells(table, "adapter") == ["adapter (mean)", "2,000", "1.00"]
    assert cells(table, "picture") == ["picture: head of the base picture", "3,000", "1.50"]
    assert cells(table, "enhancement") == ["enhancement", "4,000", "2.00"]
    assert cells(table, "shared: one") == ["shared: one", "20,000", "10.00"]
    assert cells(table, "separate systems") == ["separate systems: many", "50,000", "25.00"]
    assert cells(table, "shared / separate") == ["shared / separate", "40.0%", "40.0%"]


def test_sources_are_in_json_only_where_they_are_asked_for(run: Run) -> None:
    plain = json.loads(run("check", "tiny-model", "--size", "16x16", "--json"))
    assert not {"merged", "sources"} & plain.keys()


def test_a_proof_says_of_each_layer_how_far_it_is_from_its_limit(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = [Bound("near", "float32", 2**20, 2**24), Bound("far", "float64", 2**10, 2**53)]
    monkeypatch.setattr(Pipeline, "prove", lambda _: bounds)
    table = run("check", "tiny-model", "--exact")
    assert "tiny-model: exact, 2 layers, smallest margin 4.00 bits" in " ".join(table.split())
    assert cells(table, "near") == ["near", "float32", "2^20.00", "2^24", "4.00 bits"]
    assert cells(table, "far") == ["far", "float64", "2^10.00", "2^53", "43.00 bits"]
    one, two = json.loads(run("check", "tiny-model", "--exact", "--json"))["layers"]
    assert one == {"layer": "near", "arithmetic": "float32", "largest": 2**20, "limit": 2**24, "margin_bits": 4.0}
    assert two["margin_bits"] == 43


def test_columns_stand_where_their_signs_say(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", ">bytes"), [("a", 1), ("long name", 22222)])
    lines = capsys.readouterr().out.splitlines()
    (one,), (two,) = ([line for line in lines if line.strip().startswith(name)] for name in ("a ", "long"))
    assert one.index("a") == two.index("long")
    assert one.rstrip().endswith("1")
    assert len(one.rstrip()) == len(two.rstrip())


def test_a_wide_table_in_a_file_keeps_each_row_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "words"), [("x" * 70, "y" * 90)])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "x" in line]
    assert "x" * 70 in line
    assert "y" * 90 in line


def test_json_has_no_number_that_json_has_not() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        print_json({"psnr": float("inf")})


def test_a_sentence_names_its_file_once() -> None:
    error = InputError("the file\n  is damaged")
    assert message_of(error, Path("a.icm")) == "a.icm: the file is damaged"
    assert message_of(InputError("a.icm is damaged"), Path("a.icm")) == "a.icm is damaged"
    assert message_of(error) == "the file is damaged"


def outcomes(*found: Outcome[str]) -> Iterator[Outcome[str]]:
    yield from found


def test_rows_and_failures_stand_in_the_order_of_the_files(capsys: pytest.CaptureFixture[str]) -> None:
    kept: list[str] = []
    paths = [Path(name) for name in "abcd"]
    error = InputError("is damaged")
    given: Any = outcomes(Outcome(3, "d"), Outcome(2, None, error), Outcome(0, "a"), Outcome(1, None, error))
    rows, failures = batch.collect(given, paths, "trying", kept.append)
    assert rows == ["a", "d"]
    assert [one["file"] for one in failures] == ["b", "c"]
    assert failures[0]["error"] == "b: is damaged"
    assert kept == ["d", "a"]
    assert capsys.readouterr().err.splitlines() == ["icm: c: is damaged", "icm: b: is damaged"]


def test_who_is_stopped_is_told_how_many_are_done(capsys: pytest.CaptureFixture[str]) -> None:
    def stopped() -> Iterator[Outcome[str]]:
        yield Outcome(0, "a")
        yield Outcome(1, None, InputError("is damaged"))
        raise KeyboardInterrupt

    given: Any = stopped()
    with pytest.raises(typer.Exit) as caught:
        batch.collect(given, [Path(name) for name in "abcd"], "trying")
    assert caught.value.exit_code == 130
    assert capsys.readouterr().err.splitlines()[-1] == "icm: stopped; 1 of 4 are done, and --resume does the rest"


def test_the_table_of_failures_names_a_file_once(capsys: pytest.CaptureFixture[str]) -> None:
    batch.print_failures([batch.Failure(file="b", error="b: is damaged")], 3)
    table = capsys.readouterr().out
    assert "1 of 3 failed" in table
    assert cells(table, "b ") == ["b", "is damaged"]
    batch.print_failures([batch.Failure(file="b", error="b: is damaged")], 1)
    assert capsys.readouterr().out == ""


def test_one_failure_is_enough_for_exit_code_2() -> None:
    batch.leave([])
    with pytest.raises(typer.Exit) as caught:
        batch.leave([batch.Failure(file="b", error="is damaged")])
    assert caught.value.exit_code == 2


def test_a_bar_knows_how_many_are_done_and_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, object]] = []
    monkeypatch.setattr("icm_core.cli.console.Progress.update", lambda _, task, **more: seen.append(more))
    with progress(3, "trying") as step:
        for name in ("a", "b"):
            step(name)
    assert seen == [{"completed": 0, "total": 3, "name": "a"}, {"completed": 1, "total": 3, "name": "b"}]


def test_precision_reaches_the_pipeline(
    tmp_path: Path, photo: Path, coded: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from icm_core import load

    asked: list[object] = []

    def watched(*arguments: Any, **named: Any) -> Pipeline:
        asked.append(named["precision"])
        return load(*arguments, **named)

    monkeypatch.setattr("icm_core.pipeline.load.load", watched)
    monkeypatch.setattr("icm_core.corpus.pipelines.load", watched)
    run("encode", photo, *MODEL, "--precision", "bf16", "-o", tmp_path)
    run("decode", coded, "-t", "coarse", "--precision", "bf16", "-o", tmp_path)
    run("decode", coded, *MODEL, "-t", "coarse", "--precision", "bf16", "-o", tmp_path)
    assert asked == ["bf16"] * 3


def test_files_whose_names_have_dots_keep_them(tmp_path: Path, coded: Path, run: Run) -> None:
    (tmp_path / "v1.5.icm").write_bytes(coded.read_bytes())
    (row,) = json.loads(run("decode", tmp_path / "v1.5.icm", "-t", "coarse", "-o", tmp_path / "out", "--json"))
    assert row["tasks"]["coarse"]["picture"] == str(tmp_path / "out" / "v1.5.coarse.png")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["v1.5.coarse.png"]


def test_a_pipeline_that_is_named_is_loaded_before_any_file_is_read(tmp_path: Path, fail: Run, coded: Path) -> None:
    assert "did you mean 'tiny-model'?" in fail("decode", coded, "-m", "tinymodel", "-o", tmp_path)


def test_info_names_the_pipeline_that_has_the_enhancement_of_the_file_as_well(
    coded: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, fine = (layer.fingerprint.hex() for layer in read(coded.read_bytes()).layers)
    rows = [
        {"name": "before", "extends": False, "bases": [base], "enhancements": ["00" * 4]},
        {"name": "right", "extends": True, "bases": [base], "enhancements": [fine]},
        {"name": "other", "extends": False, "bases": ["11" * 4], "enhancements": [fine]},
    ]
    monkeypatch.setattr("icm_core.cli.info.remembered", lambda *_: rows)
    assert json.loads(run("info", coded, "--json"))["pipeline"] == "right"


def test_answers_of_a_tree_lie_in_a_tree(tmp_path: Path, coded: Path, run: Run) -> None:
    for place in ("in/a", "in/b/c"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "same.icm").write_bytes(coded.read_bytes())
    run("decode", tmp_path / "in", "-r", "-t", "coarse", "-o", tmp_path / "out")
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png")) == [
        "a/same.coarse.png",
        "b/c/same.coarse.png",
    ]
