"""Which commands the program has: its own and those of plugins, each with what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from icm_core.cli.app import _Program
from icm_core.cli.commands import Found, find_commands
from icm_core.errors import SpecError

GOOD = 'NAME = "{name}"\nEXAMPLE = "Example: icm {name}"\ndef run() -> None:\n    """Do it."""\n'
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a distribution with one command into a folder."""
    monkeypatch.syspath_prepend(tmp_path)

    def put(distribution: str, name: str, source: str = GOOD) -> None:
        module = f"{distribution.replace('-', '_')}_of_{tmp_path.name}"  # once imported, a name stays with its module
        about = tmp_path / f"{distribution.replace('-', '_')}-2.5.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.5\n")
        (about / "entry_points.txt").write_text(f"[icm.commands]\n{name} = {module}\n")
        (tmp_path / f"{module}.py").write_text(source.replace("{name}", name))

    return put


def found(tmp_path: Path) -> dict[tuple[str, str], Found]:
    return {(one.distribution, one.name): one for one in find_commands([str(tmp_path)])}


def test_a_plugins_command_is_there_with_who_brings_it(tmp_path: Path, install: Install) -> None:
    install("lab-one", "paint")
    (one,) = found(tmp_path).values()
    assert (one.name, one.distribution, one.version, one.problem) == ("paint", "lab-one", "2.5", "")
    assert one.command is not None
    assert one.command.EXAMPLE == "Example: icm paint"


def test_no_plugin_replaces_a_command_of_the_program(tmp_path: Path, install: Install) -> None:
    install("lab-one", "encode")
    install("lab-two", "paint")
    every = found(tmp_path)
    assert every["lab-one", "encode"].command is None
    assert every["lab-one", "encode"].problem == "the program has a command of this name"
    assert every["lab-two", "paint"].problem == ""


def test_of_two_plugins_with_one_command_neither_has_it(tmp_path: Path, install: Install) -> None:
    install("lab-one", "paint")
    install("lab-two", "paint")
    install("lab-three", "draw")
    problems = {key: one.problem for key, one in found(tmp_path).items()}
    twice = "more than one distribution brings a command of this name"
    assert problems == {("lab-one", "paint"): twice, ("lab-two", "paint"): twice, ("lab-three", "draw"): ""}


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (GOOD.replace("EXAMPLE", "SAMPLE"), "its module lacks EXAMPLE"),
        (GOOD.replace("run", "walk").replace("NAME", "TITLE"), "its module lacks NAME, run"),
        (GOOD.replace("{name}", "print", 1), "its module calls it 'print'"),
        ("raise SystemExit('not today')", "could not be loaded (SystemExit: not today)"),
        ("import no_such_module", "could not be loaded (ModuleNotFoundError: No module named 'no_such_module')"),
    ],
)
def test_a_command_that_cannot_be_used_says_why_and_leaves_others_alone(
    tmp_path: Path, install: Install, source: str, problem: str
) -> None:
    install("lab-bad", "paint", source)
    install("lab-good", "draw")
    every = found(tmp_path)
    assert (every["lab-bad", "paint"].command, every["lab-bad", "paint"].problem) == (None, problem)
    assert every["lab-good", "draw"].command is not None


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (SpecError("the spec is\nwrong"), "icm: the spec is wrong"),
        (
            OSError(36, "File name too long", "a" * 300),
            f"icm: a path cannot be used: File name too long: '{'a' * 200}'",
        ),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"), "icm: a path cannot be used: 'utf-8'"),
        (RuntimeError("Symlink loop from 'x'"), "icm: a path cannot be used: Symlink loop from 'x'"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_exit_code_2(error: Exception, line: str) -> None:
    result = CliRunner().invoke(_raising(error), [])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyError("a bug")])
def test_a_bug_stays_one(error: Exception) -> None:
    result = CliRunner().invoke(_raising(error), [])
    assert result.exit_code == 1
    assert result.exception is error


def _raising(error: Exception) -> typer.Typer:
    program = typer.Typer(cls=_Program)

    @program.callback(invoke_without_command=True)
    def _run() -> None:
        raise error

    return program
