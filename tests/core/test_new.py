"""`icm new`: packages that work as they are written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from icm_core import InputError
from icm_core.cli import app
from icm_core.scaffold import KINDS, make_package, package_files

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it there


def test_packages_of_every_kind_pass_their_own_tests_at_once(tmp_path: Path) -> None:
    site, tests = tmp_path / "site", []
    for kind in KINDS:
        folder = tmp_path / kind
        make_package(kind, f"mylab.own_{kind}", folder)
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        info = site / f"mylab_own_{kind}-{project['version']}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
        ((group, points),) = project["entry-points"].items()
        lines = [f"{name} = {target}" for name, target in points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]))
        (folder / f"mylab_own_{kind}").rename(site / f"mylab_own_{kind}")
        tests.append(str(folder / "tests"))
    path = os.pathsep.join([str(site), *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", "-p", "no:cacheprovider", *tests],
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "passed" in done.stdout and "skipped" not in done.stdout


def test_the_command_writes_a_package_and_says_what_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["new", "head", "mylab.depth"])
    assert result.exit_code == 0, result.output
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        "mylab-depth/README.md",
        "mylab-depth/mylab_depth/__init__.py",
        "mylab-depth/mylab_depth/depth.py",
        "mylab-depth/mylab_depth/mylab-depth.json",
        "mylab-depth/pyproject.toml",
        "mylab-depth/tests/test_depth.py",
    ]
    assert "pip install --editable 'mylab-depth[test]'" in result.stdout
    spec = json.loads((tmp_path / "mylab-depth/mylab_depth/mylab-depth.json").read_text())
    assert spec["tasks"]["depth"]["head"]["use"] == "mylab.depth"


def test_a_name_of_an_installed_component_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["new", "head", "tasks.vit", "-o", str(tmp_path / "vit")])
    assert result.exit_code == 2
    assert "'tasks.vit' is taken" in result.stderr
    assert not (tmp_path / "vit").exists()


def test_existing_files_are_never_written_over(tmp_path: Path) -> None:
    kept = tmp_path / "pyproject.toml"
    kept.write_text("mine")
    result = CliRunner().invoke(app, ["new", "codec", "mylab.mine", "-o", str(tmp_path)])
    assert result.exit_code == 2
    assert "pyproject.toml exists already, and nothing was written; choose another folder with -o" in result.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["pyproject.toml"]
    assert kept.read_text() == "mine"


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        ("haed", "mylab.depth", "unknown kind 'haed'; did you mean 'head'?"),
        ("head", "depth", "should be like 'mylab.depth'"),
        ("head", "Mylab.Depth", "should be like 'mylab.depth'"),
        ("head", "../x.y", "should be like 'mylab.depth'"),
        ("head", "mylab.class", "'class' cannot be the name of its module"),
    ],
)
def test_what_cannot_be_made(kind: str, name: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        package_files(kind, name)
    assert says in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_the_code_is_formatted_and_complete(kind: str) -> None:
    for path, text in package_files(kind, "mylab.own_part").items():
        assert text.endswith("\n") and not text.endswith("\n\n"), path
        assert "TODO" not in text and "{{" not in text and "{%" not in text
        assert all(len(line) <= 120 and line == line.rstrip() for line in text.split("\n")), path
        if path.endswith(".py"):
            compile(text, path, "exec")
