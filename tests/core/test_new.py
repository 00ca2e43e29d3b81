"""`icm new`: packages that work as they are written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from icm_core import InputError, build_registry
from icm_core.cli import app
from icm_core.scaffold import COMPONENTS, DATA_SETS, HEADS, make_package, package_files

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it there


OF_KINDS = {"head": [*HEADS], "dataset": [*DATA_SETS]}
EVERY = [(component, kind) for component in COMPONENTS for kind in OF_KINDS.get(component, [None])]


def called(component: str, kind: str | None) -> str:
    return f"mylab.own_{component}" if kind is None else f"mylab.{kind}_{component}"


def test_every_package_passes_its_own_tests_at_once(tmp_path: Path) -> None:
    site, tests = tmp_path / "site", []
    for component, kind in EVERY:
        name = called(component, kind)
        folder, package = tmp_path / name, name.replace(".", "_")
        make_package(component, name, folder, kind)
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        info = site / f"{package}-{project['version']}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
        ((group, points),) = project["entry-points"].items()
        lines = [f"{entry} = {target}" for entry, target in points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]))
        (folder / package).rename(site / package)
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


def test_there_is_a_head_of_every_kind_that_ships_and_a_data_set_of_all_with_targets() -> None:
    kinds = [
        entry.value
        for entry in build_registry().kinds.entries
        if entry.owner.distribution == "icm-framework" and entry.value is not None
    ]
    assert sorted(HEADS) == sorted(kind.name for kind in kinds)
    assert sorted(DATA_SETS) == sorted(["pictures", *(kind.name for kind in kinds if not kind.is_picture)])


def test_the_command_writes_a_package_and_says_what_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["new", "head", "mylab.depth", "--kind", "depth"])
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
    module = (tmp_path / "mylab-depth/mylab_depth/depth.py").read_text()
    assert 'kind: ClassVar[str] = "depth"' in module
    assert "icm_interface = 2" in (tmp_path / "mylab-depth/mylab_depth/__init__.py").read_text()


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
    ("component", "kind", "says"),
    [
        ("head", "detecton", "unknown kind 'detecton'; did you mean 'detection'?"),
        (
            "head",
            "pictures",
            "icm new has no head of kind 'pictures' to begin with; it has those of class",
        ),
        (
            "dataset",
            "reconstruction",
            "icm new has no dataset of kind 'reconstruction' to begin with; it has those of",
        ),
        ("codec", "depth", "--kind is 'depth', and only a head or a dataset has a kind; leave it out"),
    ],
)
def test_kinds_that_it_cannot_begin_with(tmp_path: Path, component: str, kind: str, says: str) -> None:
    result = CliRunner().invoke(app, ["new", component, "mylab.mine", "--kind", kind, "-o", str(tmp_path / "mine")])
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())
    assert not (tmp_path / "mine").exists()


def test_a_kind_of_somebody_elses_has_no_example() -> None:
    with pytest.raises(InputError, match=r"no head of kind 'mylab\.lanes' to begin with; it has those of class"):
        package_files("head", "mylab.mine", "mylab.lanes")


@pytest.mark.parametrize(
    ("component", "name", "says"),
    [
        ("haed", "mylab.depth", "unknown component 'haed'; did you mean 'head'?"),
        ("head", "depth", "should be like 'mylab.depth'"),
        ("head", "Mylab.Depth", "should be like 'mylab.depth'"),
        ("head", "../x.y", "should be like 'mylab.depth'"),
        ("head", "mylab.class", "'class' cannot be the name of its module"),
        ("head", "mylab.grid", "'grid' cannot be the name of its module"),
    ],
)
def test_what_cannot_be_made(component: str, name: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        package_files(component, name)
    assert says in str(caught.value)


@pytest.mark.parametrize(("component", "kind"), EVERY)
def test_the_code_is_formatted_and_complete(component: str, kind: str | None) -> None:
    for path, text in package_files(component, called(component, kind), kind).items():
        assert text.endswith("\n") and not text.endswith("\n\n"), path
        assert "TODO" not in text and "{{" not in text and "{%" not in text
        assert all(len(line) <= 120 and line == line.rstrip() for line in text.split("\n")), path
        if path.endswith(".py"):
            compile(text, path, "exec")
        if path.endswith(".json"):
            json.loads(text)
