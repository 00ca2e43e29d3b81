"""Runs a recipe: stage after stage, on one device or on many, through Lightning Fabric.

Fabric does precision, placement and data parallelism. Several processes are started by ``torchrun``; what a step
computes does not depend on their number, up to the order of sums.
"""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from icm_core.errors import InputError, SpecError
from icm_core.pipeline.load import find_spec
from icm_core.plugins.registry import Registry
from icm_core.spec.extends import read_spec
from icm_core.spec.files import located
from icm_core.spec.model import PipelineSpec
from icm_training.checking import check
from icm_training.devices import make_fabric
from icm_training.folder import RunFolder, device_name, record_of
from icm_training.options import Options
from icm_training.recipe import RecipeSpec
from icm_training.trainer import Trainer


def train(recipe: RecipeSpec, options: Options, registry: Registry, console: Console | None = None) -> RunFolder:
    """Train what a recipe says, or go on with it.

    Every stage is looked at before the first begins; see `icm_training.checking.check`.

    Returns:
        The run's folder, whose stages have their weights.

    Raises:
        SpecError: the recipe does not fit its pipeline, or names what is not installed.
        InputError: a data set, the folder or the device cannot be used, or the disk is full.
        TrainingError: a loss is not a number any more; the batch is stored.
    """
    wanted = options.stages or [stage.name for stage in recipe.stages]
    known = [stage.name for stage in recipe.stages]
    for name in wanted:
        if name not in known:
            raise SpecError(f"recipe {recipe.recipe!r} has no stage {name!r}; its stages are {', '.join(known)}")
    spec = pipeline_of(recipe, options.home, registry)
    folder = RunFolder(options.out)
    left = [name for name in wanted if not (folder.is_done(name) or name in options.given)]
    check(recipe, spec, left, options, registry)
    fabric = make_fabric(options.device, recipe.precision)
    if fabric.is_global_zero:
        record = record_of(recipe, device_name(fabric.device))
        folder.open(recipe, spec, resume=options.resume, record=record)
        for name, source in options.given.items():
            folder.take(name, source)
    fabric.barrier()
    for index, stage in enumerate(recipe.stages):
        if stage.name in wanted and not folder.is_done(stage.name):
            try:
                Trainer(recipe, spec, index, folder, options, registry, console).run()
            except (SpecError, InputError) as error:
                raise type(error)(f"stage {stage.name!r}: {error}") from error
    return folder


def pipeline_of(recipe: RecipeSpec, home: Path, registry: Registry) -> PipelineSpec:
    """The spec of the pipeline that a recipe trains."""
    if isinstance(recipe.pipeline, PipelineSpec):
        return located(recipe.pipeline, lambda _: home / "recipe.json", registry)
    name = recipe.pipeline
    return read_spec(home / name if name.endswith(".json") else find_spec(name, registry), registry)


__all__ = ["Options", "pipeline_of", "train"]
