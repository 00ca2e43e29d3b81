"""The example packages as third parties have them: wheels, installed outside the source tree, with their tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from icm_installed import Installed, python

NAMES = ["icm-attention", "icm-boxes", "icm-camera", "icm-count", "icm-depth", "icm-lanes"]


def test_they_build_install_and_pass_their_own_tests(installed: Installed, tmp_path: Path) -> None:
    assert [path.name.partition("-")[0].replace("_", "-") for path in installed.wheels] == NAMES
    assert [path.name for path in installed.tests] == [f"tests-{name}" for name in NAMES]
    out = python(
        *("pytest", "-q", "--import-mode=importlib", "-p", "no:cacheprovider", *installed.tests),
        folder=tmp_path,
        PYTHONPATH=os.pathsep.join([str(installed.site), *sys.path]),
        HOME=str(tmp_path),
    )
    assert "passed" in out and "skipped" not in out
