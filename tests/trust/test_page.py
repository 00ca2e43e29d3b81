"""The page of promises has the figures of the stored results."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_is_made_from_the_stored_results() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/trust_report.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
