"""Commands that show something: info, plugins, check, schema."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

Run = Callable[..., str]
Partly = Callable[..., tuple[str, list[str]]]


def test_info_counts_every_byte(coded: Path, run: Run) -> None:
    row = json.loads(run("info", coded, "--json"))
    size = coded.stat().st_size
    assert row["overhead_bytes"] == 35
    assert [layer["kind"] for layer in row["layers"]] == ["base", "enhancement"]
    assert row["overhead_bytes"] + sum(layer["bytes"] for layer in row["layers"]) == row["bytes"] == size
    assert row["bpp"] == 8 * size / (24 * 40)
    assert (row["version"], row["pipeline"], row["height"], row["width"]) == (1, "tiny-model", 24, 40)
    assert (row["quality"], row["truncated"]) == (3.0, False)


def test_info_of_a_cut_file_says_so(coded: Path, run: Run) -> None:
    coded.write_bytes(coded.read_bytes()[:-1])
    row = json.loads(run("info", coded, "--json"))
    assert row["truncated"] is True
    assert [layer["kind"] for layer in row["layers"]] == ["base"]
    assert row["overhead_bytes"] == 22  # what is left of the enhancement is neither
    assert ", cut" in run("info", coded)


def test_info_of_several_files_is_an_array(tmp_path: Path, coded: Path, run: Run) -> None:
    (tmp_path / "b.icm").write_bytes(coded.read_bytes())
    assert [Path(row["file"]).name for row in json.loads(run("info", tmp_path, "--json"))] == ["b.icm", "photo.icm"]


def test_info_needs_no_pipeline(coded: Path, site: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [folder for folder in sys.path if folder != str(site)])
    row = json.loads(run("info", coded, "--json"))
    assert row["pipeline"] is None
    assert f"unknown ({row['fingerprint']})" in run("info", coded)


def test_info_of_another_file_is_refused(photo: Path, partly: Partly) -> None:
    stdout, (line,) = partly("info", photo, "--json")
    assert "photo.png: the file is not an .icm file" in line
    assert json.loads(stdout)["error"] in line


def test_plugins_lists_components_with_their_distribution(run: Run) -> None:
    rows = json.loads(run("plugins", "--json"))
    expected = {"kind": "head", "name": "shown.labels", "distribution": "icm-tiny", "version": "1.2.3", "status": "ok"}
    assert expected in [{**row, "distribution": row["distribution"].replace("_", "-")} for row in rows]
    assert "shown.labels" in run("plugins")


def test_a_broken_plugin_is_listed_with_its_reason(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "broken-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[icm.plugins]\nbroken = no_such_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    (row,) = [row for row in json.loads(run("plugins", "--json")) if row["distribution"] == "broken"]
    assert row["kind"] == "plugin"
    assert "no_such_module" in row["status"]


def test_check_prints_the_graph_and_the_account(run: Run) -> None:
    table = run("check", "tiny-model", "--size", "24x40")
    for word in (
        "tasks.segmentation.adapter",
        "tiny.enlarge",
        "kMAC/pixel",
        "codec + 3 adapter + picture",
        "4 codec + 4 adapter + 2 picture",
    ):
        assert word in table


def test_check_gives_the_same_as_json(run: Run, site: Path) -> None:
    found = json.loads(run("check", site / "tiny-model.json", "--size", "24x40", "--json"))
    assert (found["name"], found["height"], found["width"]) == ("tiny-model", 24, 40)
    assert found["spec"] == str(site / "tiny-model.json")
    assert any(module["path"] == "codec" and module["use"] == "tiny.thumbnail" for module in found["modules"])


@pytest.mark.parametrize("size", ["0x5", "12", "12x", "5x5x5", "axb", "-1x4", "100000x1"])
def test_check_refuses_a_size_that_is_none(size: str, fail: Run) -> None:
    assert "should be HEIGHTxWIDTH" in fail("check", "tiny-model", f"--size={size}")


def test_check_names_the_file_and_the_field(tmp_path: Path, site: Path, fail: Run) -> None:
    path = tmp_path / "wrong.json"
    path.write_text((site / "tiny-model.json").read_text().replace("tiny.enlarge", "tiny.enlrage"))
    message = fail("check", path)
    assert "wrong.json: tasks." in message
    assert "did you mean 'tiny.enlarge'?" in message


def test_check_of_a_missing_file_is_refused(tmp_path: Path, fail: Run) -> None:
    assert "gone.json" in fail("check", tmp_path / "gone.json")


def test_the_schema_accepts_the_shipped_spec(run: Run, site: Path) -> None:
    schema = json.loads(run("schema"))
    jsonschema.validate(json.loads((site / "tiny-model.json").read_text()), schema)
