"""Small trees in the layouts of the data sets, and the doors to them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import icm_datasets
import icm_tasks
from icm_core import Registry, build_registry
from icm_core.interfaces import DataSet
from icm_core.plugins.datasets import open_dataset

_SHARED = Path(os.environ.get("ICM_DATA", Path(__file__).parents[3] / "shared/data"))

Open = Callable[..., DataSet]


@pytest.fixture(scope="session")
def registry() -> Registry:
    """The data sets that ship and the kinds of their targets, whatever else is installed."""
    return build_registry(path=[], extra={"datasets": icm_datasets, "tasks": icm_tasks})


@pytest.fixture
def opened(registry: Registry) -> Open:
    """Opens a data set by its short name, folder and split."""

    def use(name: str, root: Path, split: str = "val", **params: object) -> DataSet:
        return open_dataset(f"{name}:{root}", split, registry, params)

    return use


@pytest.fixture
def picture() -> Callable[..., Path]:
    """Writes a picture of one colour, and the folders above it."""

    def write(path: Path, size: tuple[int, int] = (6, 4), colour: tuple[int, int, int] = (10, 20, 30)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, colour).save(path)
        return path

    return write


@pytest.fixture
def class_map() -> Callable[..., Path]:
    """Writes a class map, and the folders above it."""

    def write(path: Path, values: object) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.array(values, dtype=np.uint8)).save(path)
        return path

    return write


@pytest.fixture
def camvid_tree(tmp_path: Path, picture: Callable[..., Path], class_map: Callable[..., Path]) -> Path:
    """Two pictures of 6x4 with their class maps."""
    for number, name in enumerate(["b", "a"]):
        picture(tmp_path / f"val/{name}.png", colour=(number, 0, 255))
        class_map(tmp_path / f"valannot/{name}.png", [[number, 1, 2, 3, 4, 11]] * 4)
    return tmp_path


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """A folder of real pictures; the test is skipped where it is not."""

    def find(name: str) -> Path:
        if not (_SHARED / name).is_dir():
            pytest.skip(f"no {name} in {_SHARED}; ICM_DATA names the folder that holds it")
        return _SHARED / name

    return find
