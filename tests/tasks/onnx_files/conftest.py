"""Heads around small ONNX networks, which `icm_small_onnx` writes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from icm_core.interfaces import SpecPath
from icm_core.types import Level
from icm_tasks.onnx_files import Onnx

if "icm_small_onnx" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("icm_small_onnx", Path(__file__).with_name("icm_small_onnx.py"))
    assert _spec is not None and _spec.loader is not None
    _module = importlib.util.module_from_spec(_spec)
    sys.modules["icm_small_onnx"] = _module
    _spec.loader.exec_module(_module)


@pytest.fixture
def head():
    """A head around a file."""

    def make(path, kind, **params) -> Onnx:
        settings = Onnx.Params.model_validate({"file": SpecPath(path.name, path), "kind": kind, **params})
        return Onnx(settings, {"image": Level(3, 1)}).eval()

    return make
