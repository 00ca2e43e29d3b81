"""`make` finds a Python that the project runs on, or gets one, or says what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OLD = sys.version_info < (3, 13)


class Machine:
    """A machine with a copy of the Makefile, and only such programs as a test puts there."""

    def __init__(self, home: Path) -> None:
        self.home, self.bin = home / "project", home / "bin"
        self.home.mkdir(), self.bin.mkdir()
        for name in ("Makefile", "find-python.sh", "pyproject.toml", "constraints.txt"):
            shutil.copy2(ROOT / name, self.home / name)
        for name in ("sh", "bash", "rm", "touch", "echo", "test", "env"):
            (self.bin / name).symlink_to(shutil.which(name) or f"/bin/{name}")

    def program(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def newer(self, name: str = "python3") -> None:
        """A Python 3.13."""
        self.program(name, 'case "$2" in *print*) echo "Python 3.13";; *) exit 1;; esac')

    def real(self, name: str) -> None:
        """The Python of these tests; an environment of it is only noted."""
        self.program(
            name,
            f'if [ "$2" = venv ]; then mkdir -p "$3"; echo "{name}" > made-by; else exec {sys.executable} "$@"; fi',
        )
        (self.bin / "mkdir").exists() or (self.bin / "mkdir").symlink_to(shutil.which("mkdir") or "/bin/mkdir")

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        make = shutil.which("make")
        assert make is not None
        return subprocess.run(
            [make, *(arguments or (".venv/.made",))],
            cwd=self.home,
            env={"PATH": str(self.bin), "HOME": str(self.home)},
            capture_output=True,
            text=True,
        )

    @property
    def made_by(self) -> str:
        return (self.home / "made-by").read_text().strip()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    if shutil.which("make") is None or os.name != "posix":
        pytest.skip("make is not here")
    return Machine(tmp_path)


@pytest.mark.skipif(not OLD, reason="these tests run on a Python that the project does not")
def test_a_python_that_fits_is_taken_before_a_newer_one(machine: Machine) -> None:
    machine.newer()
    machine.real("python3.12")
    found = machine.make()
    assert found.returncode == 0, found.stderr
    assert machine.made_by == "python3.12"
    assert (machine.home / ".venv/.made").is_file()


def test_a_newer_python_alone_is_named_with_what_to_do(machine: Machine) -> None:
    machine.newer()
    found = machine.make()
    assert found.returncode == 2
    assert "this machine has Python 3.13, and the project needs 3.10 to 3.12 with venv" in found.stderr
    assert "install Python 3.12 (or uv" in found.stderr
    assert not (machine.home / ".venv").exists()


@pytest.mark.skipif(not OLD, reason="these tests run on a Python that the project does not")
def test_uv_gets_a_python_that_fits(machine: Machine) -> None:
    machine.newer()
    machine.real("from-uv")
    place = machine.bin / "from-uv"
    machine.program(
        "uv",
        f'if [ "$2" = install ]; then touch {machine.home}/got; exit 0; fi\n'
        f"[ -e {machine.home}/got ] && echo {place} || exit 1",
    )
    found = machine.make()
    assert found.returncode == 0, found.stderr
    assert "getting Python 3.12 with uv" in found.stderr
    assert machine.made_by == "from-uv"


@pytest.mark.skipif(not OLD, reason="these tests run on a Python that the project does not")
def test_conda_gets_a_python_that_fits(machine: Machine) -> None:
    machine.newer()
    machine.real("from-conda")
    machine.program(
        "conda",
        f"mkdir -p .python/bin && cp {machine.bin}/from-conda .python/bin/python && chmod +x .python/bin/python",
    )
    for name in ("cp", "chmod"):
        (machine.bin / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    found = machine.make()
    assert found.returncode == 0, found.stderr
    assert machine.made_by == "from-conda"


def test_a_python_that_is_named_and_does_not_fit_is_refused(machine: Machine) -> None:
    machine.newer("python3.13")
    found = machine.make(".venv/.made", "PYTHON=python3.13")
    assert found.returncode == 2
    assert "python3.13 is not Python 3.10, 3.11 or 3.12; say PYTHON=..." in found.stderr
