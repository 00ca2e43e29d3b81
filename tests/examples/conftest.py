"""Example packages as third parties install them, and small folders of pictures for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from icm_core.cli import app

EXAMPLES = Path(__file__).parents[2] / "examples"
PACKAGES = ("icm-boxes", "icm-depth", "icm-lanes")
SIZE = (64, 96)
"""Height and width of the pictures."""

SKY, ROAD, CAR, PEDESTRIAN = 0, 3, 8, 9
COLOURS = {SKY: (120, 160, 230), ROAD: (90, 90, 95), CAR: (200, 30, 30), PEDESTRIAN: (240, 220, 40)}


def python(*command: object) -> str:
    done = subprocess.run([sys.executable, "-m", *map(str, command)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like site-packages that wheels of the packages were installed into; their sources are elsewhere."""
    root = tmp_path_factory.mktemp("third-parties")
    for name in PACKAGES:
        unbuilt = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
        shutil.copytree(EXAMPLES / name, root / "sources" / name, ignore=unbuilt)
    quiet = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    sources = sorted((root / "sources").iterdir())
    python("pip", "wheel", *quiet, "--no-build-isolation", "-w", root / "wheels", *sources)
    python("pip", "install", *quiet, "--target", root / "site", *sorted((root / "wheels").glob("*.whl")))
    shutil.rmtree(root / "sources")
    return root / "site"


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
    """Streets as CamVid has them: ``train``, ``trainannot``, ``val``, ``valannot``."""
    root, generator = tmp_path_factory.mktemp("streets"), np.random.default_rng(1)
    for split, count in (("train", 6), ("val", 3)):
        (root / split).mkdir()
        (root / f"{split}annot").mkdir()
        for number in range(count):
            classes = street(generator, cars=1 + number % 2)
            pixels = np.zeros((*SIZE, 3), dtype=np.uint8)
            for value, colour in COLOURS.items():
                pixels[classes == value] = colour
            noisy = (pixels + generator.integers(0, 12, pixels.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(root / split / f"{number}.png")
            Image.fromarray(classes).save(root / f"{split}annot" / f"{number}.png")
    return root


def street(generator: np.random.Generator, cars: int) -> np.ndarray:
    """A class map: a road that narrows towards the horizon, cars on it, somebody on the pavement."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    classes = np.full(SIZE, SKY, dtype=np.uint8)
    middle = int(generator.integers(40, 56))
    classes[(rows >= 20) & (abs(columns + 0.5 - middle) < 6 + 0.7 * (rows - 20))] = ROAD
    for place in range(cars):
        left, top = middle - 16 + 22 * place, int(generator.integers(34, 40))
        classes[top : top + 14, left : left + 18] = CAR
    classes[22:40, 4:9] = PEDESTRIAN
    return classes


@pytest.fixture(scope="session")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rooms as NYU Depth v2 has them here: ``train``, ``train_depth``, ``val``, ``val_depth``; 0 is no distance."""
    root, generator = tmp_path_factory.mktemp("rooms"), np.random.default_rng(2)
    for split, count in (("train", 6), ("val", 3)):
        (root / split).mkdir()
        (root / f"{split}_depth").mkdir()
        for _ in range(count):
            name = f"{len(list((root / split).iterdir()))}.png"
            rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
            steps = 200 - 2 * rows + generator.integers(0, 40)  # the floor comes nearer
            left = int(generator.integers(10, 60))
            steps[20:50, left : left + 25] = 50  # something stands in front
            shade = np.stack([255 - steps, 230 - steps, columns + 60], 2) + generator.integers(0, 10, (*SIZE, 1))
            steps[:, :3] = 0
            Image.fromarray(shade.clip(0, 255).astype(np.uint8)).save(root / split / name)
            Image.fromarray(steps.astype(np.uint8)).save(root / f"{split}_depth" / name)
    return root
