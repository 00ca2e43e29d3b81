"""The page about extending says what works."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from icm_core import build, build_registry, read_spec
from icm_core.plugins.registry import Registry
from icm_core.testing import HeadCase, run_checks

PAGE = (Path(__file__).parents[2] / "docs/extending.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The page's head, its hook and its test as one module."""
    path = tmp_path_factory.mktemp("page") / "icm_page.py"
    path.write_text("\n".join(block for block in blocks("python") if "Brightness" in block))
    spec = importlib.util.spec_from_file_location("icm_page", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["icm_page"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def registry(page: ModuleType) -> Registry:
    import icm_sicmh
    import icm_tasks

    return build_registry(path=[], extra={"sicmh": icm_sicmh, "tasks": icm_tasks, "mylab_brightness": page})


def test_the_head_keeps_its_contract(page: ModuleType) -> None:
    assert run_checks(HeadCase(page.Brightness, {"width": 4})) == []


def test_the_head_is_found_and_its_spec_builds(registry: Registry, tmp_path: Path) -> None:
    assert "mylab.brightness" in registry.heads.names
    (text,) = blocks("json")
    (tmp_path / "page.json").write_text(text)
    spec = read_spec(tmp_path / "page.json", registry)
    assert list(spec.tasks) == ["segmentation", "coarse", "brightness"]
    build(spec, registry)
    assert json.loads(text)["weights"] == spec.weights[0]
