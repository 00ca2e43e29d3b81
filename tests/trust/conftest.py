from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def fuzz() -> ModuleType:
    """The fuzzing program."""
    spec = importlib.util.spec_from_file_location("icm_fuzz", ROOT / "benchmarks/fuzz.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["icm_fuzz"] = module
    spec.loader.exec_module(module)
    return module
