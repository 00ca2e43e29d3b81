"""Pages with measured figures are what the stored results say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("program", ["report.py", "systems_report.py"])
def test_every_page_with_figures_is_made_from_the_stored_results(program: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / program), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
