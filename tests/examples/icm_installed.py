"""What the example packages are once they are installed, and a process of its own for whatever is run of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Installed:
    """The example packages as somebody has them who installed their wheels.

    Attributes:
        wheels: what was built, in the order of names.
        site: a folder like site-packages with all of them; their sources are gone.
        tests: the folder of each package's own tests.
    """

    wheels: Sequence[Path]
    site: Path
    tests: Sequence[Path]


def python(*command: object, folder: Path | None = None, **environment: str) -> str:
    """Run a module in a process of its own, which has to succeed; its stdout."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        env={**os.environ, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return done.stdout
