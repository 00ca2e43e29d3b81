"""The recipe `smoke`, whole or in parts, and the doors to the engine."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

import icm_datasets
import icm_sicmh
import icm_tasks
from icm_core import Pipeline, Registry, build, build_registry
from icm_core.interfaces import DataSet
from icm_core.plugins import own
from icm_core.spec.model import PipelineSpec
from icm_training import plugin as icm_training
from icm_training.data import open_data
from icm_training.engine import Options, train
from icm_training.finding import find_recipe
from icm_training.folder import RunFolder
from icm_training.mixture import in_memory
from icm_training.recipe import DataSpec, RecipeSpec

sys.path.append(str(Path(__file__).parent))  # icm_things

SHIPPED = {"core": own, "datasets": icm_datasets, "sicmh": icm_sicmh, "tasks": icm_tasks, "training": icm_training}

Smoke = Callable[..., RecipeSpec]
Run = Callable[..., RunFolder]
Shapes = Callable[..., DataSet]


@pytest.fixture(scope="session")
def registry() -> Registry:
    """What ships, whatever else is installed."""
    return build_registry(path=[], extra=SHIPPED)


@pytest.fixture(scope="session")
def with_plugin() -> Callable[[str, object], Registry]:
    """What ships, and a plugin under a name."""
    return lambda name, plugin: build_registry(path=[], extra={**SHIPPED, name: plugin})


@pytest.fixture(scope="session")
def smoke(registry: Registry) -> Smoke:
    """The recipe `smoke` with changes, values as Python has them: ``smoke(**{"stages.joint.clip": None})``."""

    def change(**changes: object) -> RecipeSpec:
        return find_recipe("smoke", registry, [f"{key}={json.dumps(value)}" for key, value in changes.items()])[0]

    return change


@pytest.fixture(scope="session")
def run(registry: Registry) -> Run:
    """Trains a recipe in this process, without worker processes."""

    def start(
        recipe: RecipeSpec,
        out: Path,
        *,
        stages: tuple[str, ...] = (),
        resume: bool = False,
        using: Registry = registry,
        home: Path = Path(),
    ) -> RunFolder:
        options = Options(out, Path(), home, resume=resume, stages=stages, device="cpu", workers=0)
        return train(recipe, options, using, Console(file=io.StringIO()))

    return start


@pytest.fixture
def pipe(registry: Registry, smoke: Smoke) -> Pipeline:
    """The pipeline that `smoke` trains, with the random weights that it starts from."""
    recipe = smoke()
    assert isinstance(recipe.pipeline, PipelineSpec)
    torch.manual_seed(recipe.seed)
    return build(recipe.pipeline, registry)


@pytest.fixture
def shapes(registry: Registry) -> Shapes:
    """Drawn pictures with class maps."""

    def make(count: int = 6, size: int = 64) -> DataSet:
        spec = DataSpec(use="training.shapes", params={"count": count, "size": size})
        return in_memory(open_data("shapes", spec, Path(), registry), 1e9)

    return make
