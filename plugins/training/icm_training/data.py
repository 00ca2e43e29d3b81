"""The data sets of a recipe, opened."""

from __future__ import annotations

from pathlib import Path

from icm_core.errors import InputError
from icm_core.interfaces import DataSet
from icm_core.plugins.datasets import build_dataset
from icm_core.plugins.lookup import look_up
from icm_core.plugins.registry import Registry
from icm_training.recipe import DataSpec, FeedSpec, StageSpec


def open_data(name: str, spec: DataSpec, folder: Path, registry: Registry) -> DataSet:
    """A data set of a recipe.

    Args:
        name: its name in the recipe.
        spec: what the recipe says of it.
        folder: what its root is relative to.
        registry: where it is looked up.

    Raises:
        SpecError: there is no such data set, or its parameters are wrong; the message begins with the path.
        InputError: its folder is missing, or is laid out otherwise.
    """
    where = f"data.{name}"
    found = look_up(spec.use, spec.params, registry.datasets, where, registry=registry)
    try:
        return build_dataset(
            found.cls, found.params, folder / spec.root, spec.split, lambda kind: registry.kind(kind, where)
        )
    except (InputError, OSError, RuntimeError, ValueError) as error:
        # The first is what a data set should raise; the rest is what a third party's may let through.
        raise InputError(f"{where}: {error}") from error


def names_of(feed: FeedSpec) -> list[str]:
    """Names of a feed's data sets, each as often as an epoch holds its pictures."""
    found: list[str] = []
    for source in feed.data:
        found += [source] if isinstance(source, str) else [source.name] * source.times
    return found


def used_by(stage: StageSpec) -> list[str]:
    """Names of all data sets of a stage, sorted."""
    used = {name for feed in stage.feeds for name in names_of(feed)}
    return sorted(used if stage.validate_on is None else used | {stage.validate_on.data})
