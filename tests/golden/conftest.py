from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def matrix() -> ModuleType:
    """The program that decodes golden files under many conditions."""
    spec = importlib.util.spec_from_file_location("icm_golden_matrix", Path(__file__).with_name("matrix.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["icm_golden_matrix"] = module
    spec.loader.exec_module(module)
    return module
