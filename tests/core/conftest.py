from __future__ import annotations

import copy
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from icm_core import Pipeline, Registry, build, build_registry, parse_spec

Install = Callable[..., Path]

_TASK = {"adapter": {"use": "tiny.enlarge"}}
SPEC: dict[str, Any] = {
    "icm": 1,
    "name": "tiny",
    "codec": {"use": "tiny.thumbnail"},
    "tasks": {
        "labels": {**_TASK, "head": {"use": "tiny.labels"}},
        "classes": {**_TASK, "head": {"use": "tiny.classes", "params": {"classes": 3}}},
        "coarse": {**_TASK, "head": {"use": "tiny.picture"}},
    },
    "enhancement": {"use": "tiny.residual", "over": "coarse"},
}


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """The tiny plugin's module."""
    spec = importlib.util.spec_from_file_location("icm_tiny", Path(__file__).with_name("icm_tiny.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["icm_tiny"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def registry(tiny: ModuleType) -> Registry:
    """The tiny plugin alone, whatever else is installed."""
    return build_registry(path=[], extra={"tiny": tiny})


@pytest.fixture
def data() -> dict[str, Any]:
    """A fresh copy of a spec that uses every component of the tiny plugin."""
    return copy.deepcopy(SPEC)


@pytest.fixture
def pipeline(registry: Registry, data: dict[str, Any]) -> Pipeline:
    torch.manual_seed(0)
    return build(parse_spec(data), registry)


@pytest.fixture
def picture() -> torch.Tensor:
    """A picture whose sides are no multiples of anything, (3, 37, 53)."""
    rows, columns = torch.linspace(0, 1, 37)[:, None], torch.linspace(0, 1, 53)[None, :]
    return torch.stack([rows.expand(37, 53), columns.expand(37, 53), rows * columns])


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Writes a distribution as pip would install it, importable for the length of a test."""

    def write(folder: Path, name: str, entry_points: str, version: str = "1.0", **modules: str) -> Path:
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(entry_points)
        for module, source in modules.items():
            (folder / f"{module}.py").write_text(source)
            monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.syspath_prepend(folder)
        return folder

    return write
