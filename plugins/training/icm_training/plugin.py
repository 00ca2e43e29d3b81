"""What training brings to the registry: losses, drawn pictures to try recipes on, and the recipes that ship."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from icm_core.interfaces import DataSet
from icm_core.plugins.hookspecs import hookimpl
from icm_core.plugins.registry import Registry
from icm_core.training import Loss
from icm_training.features import FeatureDistance
from icm_training.losses import CrossEntropy, Distillation, HeadLoss, Rate, SquaredError
from icm_training.recipe_schema import recipe_schema
from icm_training.shapes import Shapes

icm_interface = 2


@hookimpl
def icm_losses() -> list[type[Loss]]:
    """Rate, squared error, distance in features, cross-entropy, distillation, and the heads' own."""
    return [Rate, SquaredError, FeatureDistance, CrossEntropy, Distillation, HeadLoss]


@hookimpl
def icm_datasets() -> list[type[DataSet]]:
    """Drawn pictures, for trying recipes."""
    return [Shapes]


@hookimpl
def icm_recipes() -> list[Path]:
    """The recipes of this folder."""
    return sorted(Path(__file__).with_name("recipes").glob("*.json"))


@hookimpl
def icm_schemas() -> list[tuple[str, Callable[[Registry], dict[str, Any]]]]:
    """The schema of recipes."""
    return [("recipe", recipe_schema)]
