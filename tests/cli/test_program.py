"""What holds for the whole program."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from icm_core.cli import app, check, decode, encode, info, plugins, schema
from icm_core.cli.console import print_table
from icm_core.cli.inputs import PICTURES, expand
from icm_core.errors import InputError
from icm_demo import command as demo

COMMANDS = (check, decode, demo, encode, info, plugins, schema)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.NAME)
def test_every_command_has_help_with_an_example(command: object) -> None:
    name = command.NAME  # type: ignore[attr-defined]
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert f"Example: icm {name}" in " ".join(result.stdout.split())


def test_help_lists_every_command() -> None:
    stdout = CliRunner().invoke(app, ["--help"]).stdout
    assert all(command.NAME in stdout for command in COMMANDS)


def test_the_version_is_printed() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout.startswith("icm ")


def test_help_imports_no_network_library() -> None:
    code = "import sys, icm_core.cli; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("arguments", [["encode"], ["paint"], ["encode", "a.png", "-q", "best"], ["info", "--jsn"]])
def test_a_wrong_call_exits_with_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_folders_are_read_in_order_and_not_deeper(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "c.txt", ".png"):
        (tmp_path / name).touch()
    (tmp_path / "deeper.png").mkdir()
    assert [path.name for path in expand([tmp_path], PICTURES)] == ["a.jpg", "b.PNG"]


def test_a_missing_file_is_left_to_the_reader_where_others_are_there(tmp_path: Path) -> None:
    paths = [tmp_path / "gone.png", tmp_path / "here.png"]
    paths[1].touch()
    assert expand(paths, PICTURES) == paths


def test_nothing_but_missing_files_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.png: No such file"):
        expand([tmp_path / "gone.png", tmp_path / "lost.png"], PICTURES)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no file"):
        expand([tmp_path], PICTURES)


def test_names_with_brackets_stay_what_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("file", ">bytes"), [("[bold]a[/].png", 12)])
    assert "[bold]a[/].png" in capsys.readouterr().out
