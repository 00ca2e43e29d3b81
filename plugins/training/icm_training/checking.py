"""A recipe looked at before anything is trained: everything that can be known to go wrong, in every stage."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import torch

from icm_core.errors import InputError, SpecError
from icm_core.interfaces import DataSet
from icm_core.interfaces.dataset import PICTURES
from icm_core.pipeline.build import build
from icm_core.pipeline.pipeline import Pipeline
from icm_core.plugins.registry import Registry
from icm_core.spec.model import PipelineSpec
from icm_training import start
from icm_training.data import names_of, open_data, used_by
from icm_training.folder import RunFolder
from icm_training.mixture import InMemory, Mixture
from icm_training.options import Options
from icm_training.parts import groups_of
from icm_training.recipe import FeedSpec, RecipeSpec, StageSpec
from icm_training.stage import StageModule


def check(recipe: RecipeSpec, spec: PipelineSpec, stages: Sequence[str], options: Options, registry: Registry) -> None:
    """Look whether stages can be trained. Of each data set one picture is read; the pipeline takes no memory.

    Args:
        recipe: the recipe.
        spec: its pipeline.
        stages: names of the stages that are to be trained; others have been or will not be.
        options: how the run is carried out.
        registry: where data sets, losses and pipelines are looked up.

    Raises:
        SpecError: a data set, loss, module or quality is not there or does not fit; the message begins with its path in
            the recipe, such as ``stages[2].feeds[0].losses[1].use``.
        WeightsError: the same of weights that a stage starts from.
        InputError: a data set cannot be opened, or a stage starts from one that is not trained.
    """
    with torch.device("meta"):
        pipe = build(spec, registry)
    numbers = [number for number, stage in enumerate(recipe.stages) if stage.name in stages]
    names = sorted({name for number in numbers for name in used_by(recipe.stages[number])})
    data = {name: _first(name, recipe, options, registry) for name in names}
    for number in numbers:
        _check_start(recipe, number, stages, options)
    for number in numbers:
        _check_stage(recipe.stages[number], f"stages[{number}]", pipe, data, registry)
        start.check(pipe, start.starts_of(recipe, number), options.home, registry)


def feed_data(feed: FeedSpec, data: Mapping[str, DataSet], registry: Registry, where: str) -> Mixture:
    """The data sets of a feed as one.

    Args:
        feed: the feed.
        data: the recipe's data sets by name.
        registry: where kinds are looked up.
        where: the feed's path in the recipe.

    Raises:
        SpecError: they cannot be mixed.
    """
    try:
        return Mixture([data[name] for name in names_of(feed)], registry)
    except SpecError as error:
        raise SpecError(f"{where}.data: {error}") from error


def quality_range(stage: StageSpec, pipe: Pipeline, where: str) -> tuple[float, float]:
    """The codec's range of qualities, in which the stage's own have to be."""
    low, high = pipe.codec.quality_range
    for name, ends in (("range", stage.quality.range), ("base", stage.quality.base)):
        if ends is not None and not low <= ends[0] <= ends[1] <= high:
            raise SpecError(f"{where}.quality.{name} is {ends[0]:g} to {ends[1]:g}; the codec has {low:g} to {high:g}")
    if stage.validate_on is not None:
        for number, quality in enumerate(stage.validate_on.qualities):
            if not low <= quality <= high:
                place = f"{where}.validate_on.qualities[{number}]"
                raise SpecError(f"{place} is {quality:g}; the codec has {low:g} to {high:g}")
    return low, high


def _check_stage(stage: StageSpec, where: str, pipe: Pipeline, data: Mapping[str, DataSet], registry: Registry) -> None:
    world = int(os.environ.get("WORLD_SIZE", "1"))
    for number, feed in enumerate(stage.feeds):
        if feed.batch % world:  # every process takes as many pictures as the others
            raise SpecError(
                f"{where}.feeds[{number}].batch is {feed.batch}; it should be a multiple of the number of processes, "
                f"{world}"
            )
    quality_range(stage, pipe, where)
    groups = groups_of(pipe, stage.train, where)
    if stage.quality.base is not None:
        coding = {id(parameter) for parameter in pipe.codec.parameters()}
        if pipe.enhancement is None or any(id(one) in coding for group in groups for one in group.parameters):
            raise SpecError(
                f"{where}.quality.base is for stages that train an enhancement behind a codec that stays; here "
                + ("there is no enhancement" if pipe.enhancement is None else "the codec trains as well")
            )
    mixed = [feed_data(feed, data, registry, f"{where}.feeds[{number}]") for number, feed in enumerate(stage.feeds)]
    StageModule(pipe, stage, mixed, registry, where)


def _check_start(recipe: RecipeSpec, number: int, stages: Sequence[str], options: Options) -> None:
    """Stages that one starts from come before it, or have been trained."""
    folder = RunFolder(options.out)
    before = [stage.name for stage in recipe.stages[:number] if stage.name in stages]
    for found in start.starts_of(recipe, number):
        name = found.spec.stage
        if name is not None and not (name in before or name in options.given or folder.is_done(name)):
            raise InputError(
                f"{found.where}: it starts from stage {name!r}, which has not been trained in {options.out}"
            )


def _first(name: str, recipe: RecipeSpec, options: Options, registry: Registry) -> DataSet:
    """A data set with its first picture alone, whose target is one of its kind."""
    data, where = open_data(name, recipe.data[name], options.data, registry), f"data.{name}"
    if len(data) == 0:
        raise InputError(f"{where}: there is no picture in it")
    try:
        found = InMemory(data, 1)
    except (InputError, OSError, RuntimeError, ValueError) as error:  # as in `open_data`
        raise InputError(f"{where}: {error}") from error
    sample = found[0]
    if data.kind != PICTURES:
        height, width = sample.picture.shape[-2:]
        try:
            registry.kind(data.kind, where).check_target(sample.target, (height, width), data.legend)
        except ValueError as error:
            raise InputError(f"{where}: the target of {sample.key} {error}") from error
    return found
