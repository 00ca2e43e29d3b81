"""What commands do at their borders: names that meet, options that exclude each other, what stands in which column."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from icm_core.bitstream.container import read
from icm_core.cli import app, commands, decode, info, main, plugins, schema
from icm_core.cli.app import _reflowed
from icm_core.cli.batch import for_each
from icm_core.cli.check import _cells, _ratio
from icm_core.cli.console import bar, complain, message_of, print_table, progress
from icm_core.cli.inputs import CODED, PICTURES, Found, check_names, expand, find, shard_of
from icm_core.cli.options import parse_names
from icm_core.cli.sizes import parse_size
from icm_core.errors import InputError
from icm_core.files import read_file
from icm_core.inspection.flops import Cost

Run = Callable[..., str]
Partly = Callable[..., tuple[str, list[str]]]
MakePhoto = Callable[..., Path]
MODEL = ("-m", "tiny-model")


def cells(table: str, begins: str) -> list[str]:
    """The cells of the line that begins so."""
    (line,) = [line for line in table.splitlines() if line.strip().startswith(begins)]
    return re.split(r"\s{2,}", line.strip())


# --- the program -----------------------------------------------------------------------------------------------------


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The program is called as ``icm --version``, and what it makes of warnings is undone."""
    monkeypatch.setattr(sys, "argv", ["icm", "--version"])
    monkeypatch.setenv("PYTHONWARNINGS", "default")
    with warnings.catch_warnings():
        yield


@pytest.mark.parametrize("options", [[], ["error"]])
@pytest.mark.usefixtures("called")
def test_warnings_of_libraries_are_silent_unless_somebody_asks_for_them(
    options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "warnoptions", options)
    warnings.simplefilter("error")
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code
    assert os.environ["PYTHONWARNINGS"] == ("default" if options else "ignore")
    if options:
        with pytest.raises(UserWarning):
            warnings.warn("old", stacklevel=1)
    else:
        warnings.warn("old", stacklevel=1)


@pytest.mark.usefixtures("called")
def test_a_name_that_a_terminal_cannot_show_is_shown_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [io.BytesIO(), io.BytesIO()]
    streams = [io.TextIOWrapper(one, encoding="ascii") for one in shown]
    for name, stream in zip(("stdout", "stderr"), streams, strict=True):
        monkeypatch.setattr(sys, name, stream)
    with pytest.raises(SystemExit):
        main()
    for stream in streams:
        stream.write("é.png")
        stream.flush()
    assert [one.getvalue().endswith(rb"\xe9.png") for one in shown] == [True, True]


@pytest.mark.usefixtures("called")
def test_streams_that_go_to_no_file_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with pytest.raises(SystemExit):
        main()
    assert stdout.getvalue().startswith("icm ")


def test_the_version_is_all_that_is_printed() -> None:
    from icm_core import __version__

    result = CliRunner().invoke(app, ["--version", "info"])
    assert (result.exit_code, result.output) == (0, f"icm {__version__}\n")


def test_paragraphs_of_help_are_lines() -> None:
    text = "Do it.\n\n    One thing,\n    and another.\n\n    And then\n    the last."
    assert _reflowed(text) == "Do it.\n\nOne thing, and another.\n\nAnd then the last."
    assert (_reflowed(None), _reflowed("")) == ("", "")


# --- what is printed -------------------------------------------------------------------------------------------------


def test_a_file_is_named_by_its_whole_path_unless_the_sentence_has_that(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("in/a.icm")
    assert message_of(InputError("a.icm is damaged"), path) == "in/a.icm: a.icm is damaged"
    assert message_of(InputError("cannot read in/a.icm"), path) == "cannot read in/a.icm"
    complain(InputError("is\n damaged"), path)
    complain(InputError("is damaged"))
    assert capsys.readouterr() == ("", "icm: in/a.icm: is damaged\nicm: is damaged\n")


def test_each_file_is_worked_on_and_what_fails_is_said_and_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[dict[str, object]] = []
    monkeypatch.setattr("icm_core.cli.console.Progress.update", lambda _, task, **more: shown.append(more))
    paths = [Path("in") / name for name in ("a", "b", "c")]

    def work(path: Path) -> str:
        if path.name == "b":
            raise InputError("is damaged")
        return f"of {path}"

    rows, failures = for_each(paths, work, "trying")
    assert rows == ["of in/a", "of in/c"]
    assert failures == [{"file": "in/b", "error": "in/b: is damaged"}]
    assert capsys.readouterr() == ("", "icm: in/b: is damaged\n")
    assert shown == [{"completed": done, "total": 3, "name": name} for done, name in enumerate("abc")]


def test_a_bar_is_shown_on_a_terminal_and_is_no_output(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    for terminal in (True, False):
        monkeypatch.setenv("FORCE_COLOR", "1" if terminal else "")
        with bar("[trying]") as advance:
            advance(2, 7, "[b]a.png")
        found = capsys.readouterr()
        assert found.out == ""
        assert (found.err != "") is terminal
        if terminal:
            text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", found.err)
            assert "[trying]" in text and "2/7" in text and "[b]a.png" in text
    with progress(1, "trying") as step:
        step("a")
    assert capsys.readouterr().out == ""


def test_a_table_of_nothing_is_nothing_and_a_title_stands_above(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("a", ">b"), [], "Title")
    assert capsys.readouterr().out == ""
    print_table(("a", ">b"), [("[i]x[/i]", None)], "Title")
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip(" ─━")]
    assert lines[0] == "Title"
    assert lines[1].split() == ["a", "b"]
    assert lines[2].split() == ["[i]x[/i]", "None"]


def test_costs_have_thousands_and_ratios_are_per_cent() -> None:
    assert _cells(Cost(parameters=1_234_567, kmac_per_pixel=1234.567)) == ("1,234,567", "1,234.57")
    assert [_ratio(1, 8), _ratio(3, 2), _ratio(0, 5), _ratio(0, 0)] == ["12.5%", "150.0%", "0.0%", "-"]


# --- which files are read, and under which names results go -----------------------------------------------------------


def test_files_further_down_are_read_only_where_they_are_asked_for(tmp_path: Path) -> None:
    for name in ("a.icm", "deep/b.icm", "deep/er/c.icm", "_d/e.icm", ".f/g.icm"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [str(path.relative_to(tmp_path)) for path in expand([tmp_path], CODED)] == ["a.icm"]
    found = find([tmp_path], CODED, recursive=True)
    assert [str(one.path.relative_to(tmp_path)) for one in found] == [
        "a.icm",
        "_d/e.icm",
        "deep/b.icm",
        "deep/er/c.icm",
    ]


def test_a_file_is_read_once_whatever_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").touch()
    (tmp_path / "link.png").symlink_to("in/a.png")
    (tmp_path / "also").symlink_to("in")
    monkeypatch.chdir(tmp_path)
    names = [Path(name) for name in ("in/a.png", "in", "in/../in/a.png", "link.png", "also", tmp_path / "in/a.png")]
    assert expand(names, PICTURES) == [Path("in/a.png")]
    assert expand(names[::-1], PICTURES) == [tmp_path / "in/a.png"]


def test_a_folder_that_cannot_be_read_is_named_at_any_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.png").touch()
    usual = os.scandir

    def refused(path: Any) -> Any:
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied")
        return usual(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(InputError, match=f"cannot read the folder {tmp_path}: Permission denied"):
        find([tmp_path], PICTURES, recursive=True)


def test_lines_of_a_list_are_paths_with_all_their_spaces(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("a b.png\n  \n c.png\nd e/f.png")
    for name in ("a b.png", "d e/f.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"a b\.png: No such file or directory"):
        find([], PICTURES, listed=str(tmp_path / "list"))
    (tmp_path / "list").write_text(f"{tmp_path}/a b.png\n\n{tmp_path}/d e/f.png")
    found = find([tmp_path / "gone.png"], PICTURES, listed=str(tmp_path / "list"))
    assert found == [Found(tmp_path / name) for name in ("gone.png", "a b.png", "d e/f.png")]


def test_names_meet_where_their_files_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "also").symlink_to("out")
    monkeypatch.chdir(tmp_path)
    one, two = Path("a.png"), Path("b.png")
    check_names([one, two], [Path("out/a.icm"), Path("also/b.icm")])
    with pytest.raises(InputError, match=r"^a\.png and b\.png would both be written to also/x\.icm; nothing"):
        check_names([one, two], [Path("out/x.icm"), Path("also/x.icm")])
    with pytest.raises(InputError, match=r"^b\.png would be written over the input .*/out/\.\./a\.png; nothing"):
        check_names([one, two], [Path("out/a.icm"), tmp_path / "out/../a.png"])


@pytest.mark.parametrize(
    ("shard", "found"), [("1/1", "abcde"), ("5/5", "e"), ("6/7", ""), ("2/3", "be"), ("01/2", "ace")]
)
def test_shards_are_counted_from_1(shard: str, found: str) -> None:
    assert "".join(shard_of("abcde", shard)) == found


@pytest.mark.parametrize(("text", "names"), [("", None), (" , ", ()), ("a", ("a",)), (" a, b ,,c ", ("a", "b", "c"))])
def test_names_stand_between_commas(text: str, names: tuple[str, ...] | None) -> None:
    assert parse_names(text) == names


def test_a_size_is_height_by_width_of_up_to_five_digits() -> None:
    assert [parse_size(text) for text in ("1x2", "512x1024", "99999x10000")] == [(1, 2), (512, 1024), (99999, 10000)]
    for text in ("512x0", "0512x7", "512X7", " 5x7", "5x7 ", "5x7\n", "123456x7", "7x123456", "5x-7", ""):
        with pytest.raises(InputError, match="it should be HEIGHTxWIDTH in pixels, like 512x1024"):
            parse_size(text)


# --- split and join --------------------------------------------------------------------------------------------------


def test_no_part_is_written_over_a_file_that_is_read(tmp_path: Path, coded: Path, fail: Run) -> None:
    for name in ("x.icme", "x.base.icm"):
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(coded.read_bytes())
    before = {path.name: path.read_bytes() for path in (tmp_path / "in").iterdir()}
    assert "over the input" in fail("split", tmp_path / "in/x.icme", "-o", tmp_path / "in")
    copied = tmp_path / "in" / "x.icm"
    copied.write_bytes(coded.read_bytes())
    assert "over the input" in fail("split", copied, tmp_path / "in/x.base.icm", "-o", tmp_path / "in")
    assert {path.name: path.read_bytes() for path in (tmp_path / "in").iterdir() if path != copied} == before


def test_parts_of_two_files_never_have_one_name(tmp_path: Path, coded: Path, fail: Run) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/photo.icm").write_bytes(coded.read_bytes())
    says = "would both be written to"
    assert says in fail("split", coded, tmp_path / "other/photo.icm", "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_split_says_of_each_file_what_came_of_it(tmp_path: Path, coded: Path, partly: Partly, run: Run) -> None:
    (tmp_path / "broken.icm").write_bytes(b"no file")
    base = read(coded.read_bytes()).base_bytes
    part = coded.stat().st_size - base + 13
    out = tmp_path / "out"
    stdout, (line,) = partly("split", tmp_path, "-o", out, "--json")
    assert json.loads(stdout) == [
        {
            "file": str(coded),
            "base": str(out / "photo.base.icm"),
            "enhancement": str(out / "photo.icme"),
            "base_bytes": base,
            "enhancement_bytes": part,
        },
        {"file": str(tmp_path / "broken.icm"), "error": line.removeprefix("icm: ")},
    ]
    assert [(out / name).stat().st_size for name in ("photo.base.icm", "photo.icme")] == [base, part]
    table, _ = partly("split", tmp_path, "-o", out)
    assert "1 of 2 failed" in table
    assert cells(table, str(out / "photo.base.icm"))[1:] == [str(base), str(out / "photo.icme"), str(part)]
    assert "failed" not in run("split", coded, "-o", out)


def test_join_says_what_it_wrote_and_replaces_neither_part(tmp_path: Path, coded: Path, run: Run, fail: Run) -> None:
    run("split", coded, "-o", tmp_path)
    base, part = tmp_path / "photo.base.icm", tmp_path / "photo.icme"
    for target in (base, part):
        before = target.read_bytes()
        assert f"would be written over the input {target}" in fail("join", base, part, "-o", target)
        assert target.read_bytes() == before
    whole = tmp_path / "whole.icm"
    size = coded.stat().st_size
    assert json.loads(run("join", base, part, "-o", whole, "--json")) == {"output": str(whole), "bytes": size}
    assert cells(run("join", base, part, "-o", whole), str(whole)) == [str(whole), str(size)]
    assert whole.read_bytes() == coded.read_bytes()


# --- decode and encode -----------------------------------------------------------------------------------------------


def test_the_table_of_a_decoding_has_a_line_for_all_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    row: Any = {
        **{"height": 24, "width": 40, "quality": 3.0, "bytes": 120, "bpp": 1.0, "pipeline": "tiny-model"},
        "file": "a.icm",
        "truncated": True,
        "verified": ["base", "enhancement"],
        "kept": True,
        "tasks": {
            "one": {"kind": "some", "text": "a cat", "picture": "one.png", "drawing": "one.drawn.png"},
            "two": {"kind": "some", "text": "", "drawing": "two.drawn.png"},
        },
    }
    other: Any = {**row, "file": "b.icm", "tasks": {"three": {"picture": "three.png"}}, "truncated": False}
    del other["kept"], other["verified"]
    decode._print([row, other])
    lines = [re.split(r"\s{2,}", line.strip()) for line in capsys.readouterr().out.splitlines() if line.strip(" ─━")]
    assert lines == [
        ["file", "size", "bytes", "bpp", "task", "result"],
        ["a.icm", "40x24", "120", "1.0000", "one", "a cat; one.png; one.drawn.png"],
        ["two", "two.drawn.png"],
        ["kept"],
        ["cut in its enhancement layer: base layer only"],
        ["verified: base, enhancement"],
        ["b.icm", "40x24", "120", "1.0000", "three", "three.png"],
    ]


def test_a_row_that_was_kept_says_so_in_the_table(tmp_path: Path, coded: Path, photo: Path, run: Run) -> None:
    options: tuple[object, ...] = ("decode", coded, *MODEL, "-t", "classification", "-o", tmp_path / "out", "--resume")
    first, second = run(*options), run(*options)
    assert ["kept"] not in [line.split() for line in first.splitlines()]
    assert ["kept"] in [line.split() for line in second.splitlines()]
    options = ("encode", photo, *MODEL, "-o", tmp_path, "--resume")
    assert cells(run(*options), str(coded))[-1] == "kept"


def test_a_base_only_file_is_not_cut(tmp_path: Path, photo: Path, run: Run) -> None:
    run("encode", photo, *MODEL, "--base-only", "-o", tmp_path)
    found = json.loads(run("info", tmp_path / "photo.icm", "--json"))
    assert (found["truncated"], len(found["layers"])) == (False, 1)
    assert ", cut" not in run("info", tmp_path / "photo.icm")
    assert json.loads(run("decode", tmp_path / "photo.icm", *MODEL, "-o", tmp_path, "--json"))[0]["truncated"] is False


# --- check, graph, import, new, plugins, schema -----------------------------------------------------------------------


def test_check_names_the_file_of_a_shipped_pipeline(run: Run, site: Path) -> None:
    found = json.loads(run("check", "tiny-model", "--size", "16x16", "--json"))
    assert found["spec"] == str(site / "tiny-model.json")


def test_the_graph_of_a_pipeline_has_every_module_below_its_component_and_the_sum(run: Run) -> None:
    found = json.loads(run("check", "tiny-model", "--size", "64x128", "--json"))
    table = run("check", "tiny-model", "--size", "64x128")
    assert [module["path"] for module in found["modules"] if not module["use"]]
    parent = ""
    expected = []
    for module in found["modules"]:
        parent = module["path"] if module["use"] else parent
        expected.append(module["path"] if module["use"] else "  " + module["path"][len(parent) + 1 :])
    lines = table.splitlines()
    first = next(number for number, line in enumerate(lines) if line.strip(" ─━") == "" and number > 1) + 1
    for name, line in zip(expected, lines[first:], strict=False):
        assert line[2:].startswith(f"{name} "), line
    total = found["total"]
    assert cells(table, "all")[1:3] == [f"{total['parameters']:,}", f"{total['kmac_per_pixel']:,.2f}"]
    assert total["parameters"] > found["modules"][0]["cost"]["parameters"]


def test_values_are_shown_in_their_own_letters(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    tasks = {"classification": {"trained_on": {"data": "Straßen"}}}
    path.write_text(json.dumps({"icm": 1, "name": "mine", "extends": "tiny-model", "tasks": tasks}))
    table = run("check", path, "--sources", "--size", "16x16")
    assert '"Straßen"' in table


def test_a_graph_is_of_the_size_that_is_asked_for_and_goes_where_one_is(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tmp_path / "specs" / "file.json"
    spec.parent.mkdir()
    spec.write_text(json.dumps({"icm": 1, "name": "mine", "extends": "tiny-model"}))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert run("graph", spec, "--size", "20x33") == "mine.svg\n"
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["mine.svg"]
    assert [path.name for path in spec.parent.iterdir()] == ["file.json"]
    text = (tmp_path / "here/mine.svg").read_text()
    assert "3x20x33" in text and "3x33x20" not in text
    assert run("graph", spec, "--size", "33x20", "-o", "deep/er/X.SVG") == "deep/er/X.SVG\n"
    assert "3x33x20" in (tmp_path / "here/deep/er/X.SVG").read_text()


def test_a_part_of_one_task_is_copied_from_the_same_part_of_another(
    run: Run, fail: Run, tmp_path: Path, site: Path
) -> None:
    weights = load_file(site / "tiny-model.safetensors")
    source = tmp_path / "a=b.safetensors"
    source.write_bytes((site / "tiny-model.safetensors").read_bytes())
    target = tmp_path / "new.safetensors"
    found = json.loads(
        run("import", "tiny-model", "--adapter", f"coarse={source}", "--adapter", "classification=copy:segmentation",
            "-o", target, "--json")
    )  # fmt: skip
    assert found == {
        "file": str(target),
        "parts": ["tasks.classification.adapter", "tasks.coarse.adapter"],
        "missing": [],
    }
    written = load_file(target)
    for task, of in (("classification", "segmentation"), ("coarse", "coarse")):
        assert written[f"tasks.{task}.adapter.color.bias"].equal(weights[f"tasks.{of}.adapter.color.bias"])
    for text in ("=copy:coarse", "coarse=", "coarse", "="):
        assert f"and not as {text!r}" in fail("import", "tiny-model", "--adapter", text, "-o", target)


def test_a_new_package_lies_in_a_folder_of_its_name(
    run: Run, fail: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = json.loads(run("new", "dataset", "my_lab.street_scenes", "--kind", "pictures", "--json"))
    assert found["folder"] == "my-lab-street-scenes"
    assert all(Path(name).is_file() and name.startswith("my-lab-street-scenes/") for name in found["files"])
    assert [path.name for path in tmp_path.iterdir()] == ["my-lab-street-scenes"]
    assert "unknown kind 'picture'; did you mean 'pictures'?" in fail("new", "dataset", "my.x", "--kind", "picture")


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution whose plugin and command cannot be imported."""
    about = tmp_path / "broken" / "broken-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    points = "[icm.plugins]\nbroken = no_such_module\n[icm.commands]\npaint = no_such_module\n"
    (about / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(about.parent)
    commands.installed_commands.cache_clear()
    yield
    commands.installed_commands.cache_clear()


@pytest.mark.usefixtures("broken")
def test_what_is_broken_is_listed_and_not_remembered(run: Run) -> None:
    rows = [row for row in json.loads(run("plugins", "--json")) if row["distribution"] == "broken"]
    assert [(row["kind"], row["name"], row["version"]) for row in rows] == [
        ("plugin", "broken", "1.0"),
        ("command", "paint", "1.0"),
    ]
    assert all("No module named 'no_such_module'" in row["status"] for row in rows)
    assert plugins._provided().sound is False
    assert schema._made("pipeline").sound is False
    assert schema._made("recipe").sound is False
    assert info._pipelines().sound is False


def test_plugins_are_listed_column_by_column(run: Run) -> None:
    table = run("plugins")
    assert table.splitlines()[1].split() == ["kind", "name", "distribution", "version", "status"]
    (row,) = [
        row for row in json.loads(run("plugins", "--json")) if (row["kind"], row["name"]) == ("command", "encode")
    ]
    assert row["status"] == "ok"
    (line,) = [line for line in table.splitlines() if line.split()[:2] == ["command", "encode"]]
    assert line.split() == list(row.values())
    assert plugins._provided().sound is True


def test_what_is_known_of_shipped_pipelines_is_what_their_files_carry(coded: Path, site: Path) -> None:
    base, fine = (layer.fingerprint.hex() for layer in read(coded.read_bytes()).layers)
    found = info._pipelines()
    (row,) = [row for row in found.value if row["name"] == "tiny-model"]
    assert row == {"name": "tiny-model", "extends": False, "bases": [base], "enhancements": [fine]}
    assert found.sound is True
    assert {site / "tiny-model.json", site / "tiny-model.safetensors"} <= set(found.files)
    spec = site / "tiny-model.json"
    text = spec.read_text()
    try:
        spec.write_text("{")
        damaged = info._pipelines()
    finally:
        spec.write_text(text)
    assert damaged.sound is False
    assert "tiny-model" not in [row["name"] for row in damaged.value]


def test_a_schema_is_asked_for_by_name_or_by_option_and_remembered_by_name(
    run: Run, fail: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = run("schema", "recipe")
    assert run("schema", "--recipe") == run("schema", "no-such", "--recipe") == recipe != run("schema")
    assert run("schema", "pipeline") == run("schema")
    assert "unknown schema 'recipee'; did you mean 'recipe'?" in fail("schema", "recipee")
    asked: list[str] = []
    monkeypatch.setattr(schema, "remembered", lambda what, _: asked.append(what))
    for arguments in (("schema",), ("schema", "recipe"), ("schema", "--recipe"), ("schema", "other")):
        run(*arguments)
    assert asked == ["schema pipeline", "schema recipe", "schema recipe", "schema other"]


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"\0\xff")
    assert read_file(tmp_path / "a") == b"\0\xff"
    for name, reason in (("", "Is a directory"), ("gone", "No such file or directory"), ("a/b", "Not a directory")):
        with pytest.raises(InputError, match=f"^cannot read {tmp_path / name}: {reason}$"):
            read_file(tmp_path / name)

    def refused(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(InputError, match=f"^cannot read {tmp_path / 'a'}: Permission denied$"):
        read_file(tmp_path / "a")
