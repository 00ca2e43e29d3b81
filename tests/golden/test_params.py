"""What specs mean where they say nothing: defaults and bounds of every component that ships stay as they are."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from icm_core.plugins.registry import build_registry

STORED = json.loads(Path(__file__).with_name("params.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def made() -> ModuleType:
    spec = importlib.util.spec_from_file_location("icm_golden_params", Path(__file__).with_name("make_params.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_defaults_and_bounds_are_those_that_specs_were_written_for(made: ModuleType) -> None:
    found = json.loads(json.dumps(made.params(build_registry())))
    assert found.keys() == STORED.keys()
    for name, fields in STORED.items():
        assert found[name] == fields, f"{name}; if that is meant, python tests/golden/make_params.py"
