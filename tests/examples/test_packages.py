"""The example packages as third parties have them: wheels, installed outside the source tree, with their tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def call(*command: object, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        env={**os.environ, **environment},
        cwd=environment.get("HOME"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return done.stdout


def test_they_build_install_and_pass_their_own_tests(tmp_path: Path) -> None:
    sources, site = tmp_path / "sources", tmp_path / "site"
    shutil.copytree(EXAMPLES, sources, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    packages = sorted(path.parent for path in sources.glob("*/pyproject.toml"))
    names = ["icm-attention", "icm-boxes", "icm-count", "icm-depth", "icm-lanes"]
    assert [path.name for path in packages] == names
    quiet = ["--quiet", "--disable-pip-version-check", "--no-deps"]
    call("pip", "wheel", *quiet, "--no-build-isolation", "--no-index", "-w", tmp_path / "wheels", *packages)
    wheels = sorted((tmp_path / "wheels").iterdir())
    assert [path.name.partition("-")[0].replace("_", "-") for path in wheels] == names
    call("pip", "install", *quiet, "--no-index", "--target", site, *wheels)
    tests = [path.rename(tmp_path / f"tests-{package.name}") for package in packages for path in [package / "tests"]]
    shutil.rmtree(sources)
    out = call(
        *("pytest", "-q", "--import-mode=importlib", "-p", "no:cacheprovider", *tests),
        PYTHONPATH=os.pathsep.join([str(site), *sys.path]),
        HOME=str(tmp_path),
    )
    assert "passed" in out and "skipped" not in out
