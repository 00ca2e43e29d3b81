"""Example packages as third parties install them, and small folders of pictures for them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from icm_core.cli import app

sys.path.append(str(Path(__file__).parent))  # icm_drawn, icm_installed

from icm_drawn import draw_rooms, draw_streets
from icm_installed import Installed, python

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """All packages, built and installed outside the source tree."""
    root = tmp_path_factory.mktemp("third-parties")
    sources, site = root / "sources", root / "site"
    shutil.copytree(EXAMPLES, sources, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    packages = sorted(path.parent for path in sources.glob("*/pyproject.toml"))
    quiet = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    python("pip", "wheel", *quiet, "--no-build-isolation", "-w", root / "wheels", *packages)
    wheels = sorted((root / "wheels").iterdir())
    python("pip", "install", *quiet, "--target", site, *wheels)
    tests = [(package / "tests").rename(root / f"tests-{package.name}") for package in packages]
    shutil.rmtree(sources)
    return Installed(wheels, site, tests)


@pytest.fixture(scope="session")
def site(installed: Installed) -> Path:
    """The folder that all packages were installed into."""
    return installed.site


@pytest.fixture(scope="session")
def icm(site: Path) -> Callable[..., str]:
    """Run the program where the packages are installed; it has to succeed. Its stdout."""

    def run(*arguments: object) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(site)
            patch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
            result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


@pytest.fixture(scope="session")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Streets as CamVid has them."""
    root = tmp_path_factory.mktemp("streets")
    draw_streets(root)
    return root


@pytest.fixture(scope="session")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rooms with distances."""
    root = tmp_path_factory.mktemp("rooms")
    draw_rooms(root)
    return root
