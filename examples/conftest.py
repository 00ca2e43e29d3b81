"""Lets the packages' own tests run from the source tree, where none of them is installed: they are found all the same.

`tests/examples` runs them as third parties have them, from wheels.
"""

from __future__ import annotations

import configparser
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    """Puts every package on the path, with the entry points that its pyproject.toml has."""
    made = TemporaryDirectory(prefix="icm-examples-")
    config.add_cleanup(made.cleanup)
    for project in sorted(HERE.glob("*/pyproject.toml")):
        about = configparser.ConfigParser(interpolation=None)
        about.read(project)
        name, version = (about["project"][key].strip('"') for key in ("name", "version"))
        folder = Path(made.name, f"{name.replace('-', '_')}-{version}.dist-info")
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        if (points := 'project.entry-points."icm.plugins"') in about:
            lines = [f"{key} = {target.strip(chr(34))}" for key, target in about[points].items()]
            (folder / "entry_points.txt").write_text("\n".join(["[icm.plugins]", *lines, ""]))
        sys.path.append(str(project.parent))
    sys.path.append(made.name)
