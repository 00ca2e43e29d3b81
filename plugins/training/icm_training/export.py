"""A run made into a pipeline that anybody can load: spec, float16 weights with coding tables, and a model card."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import nn

from icm_core.errors import InputError
from icm_core.files import make_folder, write_atomically
from icm_core.pipeline.build import build
from icm_core.pipeline.pipeline import Pipeline
from icm_core.pipeline.weights import read_tensors, save, stored_state
from icm_core.plugins.registry import Registry
from icm_core.spec.extends import compose
from icm_core.spec.files import copy_files
from icm_core.spec.model import PipelineSpec, parse_spec
from icm_core.validation.strict_json import read_json
from icm_training.card import model_card
from icm_training.folder import RunFolder
from icm_training.parts import paths_of
from icm_training.recipe import RecipeSpec, parse_recipe

NO_LIMIT = 2**62


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        spec: the spec, whose path can be loaded.
        files: all files, the spec first.
    """

    spec: Path
    files: tuple[Path, ...]


def export(run: Path, out: Path, registry: Registry, *, stage: str | None = None, name: str | None = None) -> Exported:
    """Write the result of a run as a pipeline.

    Parameters are rounded to float16 and the integer coding tables are made from the rounded ones, which are what
    every reader of the files has. ``icm_core.load(out / "<name>.json")`` needs nothing else.

    Args:
        run: folder of the run.
        out: where the files go; files of the same names are replaced.
        registry: where components are looked up.
        stage: whose result; the last one that is done by default.
        name: name of the pipeline, the trained spec's by default.

    Raises:
        InputError: the folder holds no run or no such result, or ``out`` cannot be written.
        WeightsError: a value does not fit float16, or the coding path could leave exact arithmetic.
    """
    folder = RunFolder(run)
    if not (run / "recipe.json").is_file():
        raise InputError(f"{run} holds no run: there is no recipe.json in it")
    recipe = parse_recipe(read_json(run / "recipe.json"))
    chosen = _stage(folder, recipe, stage)
    spec = compose(run / "pipeline.json", registry).spec
    if name:
        spec = parse_spec({**spec.to_json(), "name": name}).with_files(spec.files)
    parts = {part: files.prefixes for part, files in recipe.files.items()} or {"": ("",)}
    weights = [f"{spec.name}.{part}.safetensors" if part else f"{spec.name}.safetensors" for part in parts]
    pipe = _pipeline(spec, folder.result(chosen), registry)
    _freeze(pipe, recipe)
    make_folder(out)
    save(
        pipe,
        {out / file: list(prefixes) for file, prefixes in zip(weights, parts.values(), strict=True)},
        max_bytes=NO_LIMIT,
    )
    written = parse_spec({**spec.to_json(), "weights": weights})
    path = out / f"{spec.name}.json"
    record = training_record(folder, recipe)
    texts = {
        path: json.dumps(written.to_json(), indent=2),
        out / f"{spec.name}.training.json": json.dumps(record, indent=1),
        out / "README.md": model_card(pipe, recipe, record, weights),
    }
    for file, text in texts.items():
        write_atomically(file, f"{text.rstrip()}\n".encode())
    files = copy_files(spec, out)
    return Exported(path, (path, *(out / file for file in weights), *files, *list(texts)[1:]))


def training_record(folder: RunFolder, recipe: RecipeSpec) -> dict[str, Any]:
    """What a run says of itself: `run.json`, and of each stage its `done.json` and the last row of its log."""
    record = cast(dict[str, Any], read_json(folder.path / "run.json"))
    stages: dict[str, Any] = {}
    for stage in recipe.stages:
        if folder.is_done(stage.name):
            done = cast(dict[str, Any], read_json(folder.stage(stage.name) / "done.json"))
            stages[stage.name] = {**done, "last": _last_row(folder.stage(stage.name) / "log.csv")}
    return {**record, "stages": stages}


def _last_row(log: Path) -> dict[str, float]:
    """The last figure of each column of a log."""
    if not log.is_file():
        return {}
    found: dict[str, float] = {}
    with log.open(newline="") as file:
        for row in csv.DictReader(file):  # a label may have a comma
            found.update({key: float(value) for key, value in row.items() if value})
    return found


def _stage(folder: RunFolder, recipe: RecipeSpec, stage: str | None) -> str:
    done = [one.name for one in recipe.stages if folder.is_done(one.name)]
    if not done:
        raise InputError(f"nothing to export: no stage of {folder.path} is done")
    if stage is not None and stage not in done:
        raise InputError(f"stage {stage!r} is not done in {folder.path}; done: {', '.join(done)}")
    return stage or done[-1]


def _pipeline(spec: PipelineSpec, weights: Path, registry: Registry) -> Pipeline:
    pipe = build(spec, registry)
    pipe.load_state_dict(read_tensors(weights))
    pipe.load_state_dict(stored_state(pipe))
    return pipe.eval()


def _freeze(pipe: Pipeline, recipe: RecipeSpec) -> None:
    """Make the tables of what the recipe trains, or of what has none yet.

    Those of a frozen codec stay as they are: made anew on another machine they could differ, and old files be refused.
    """
    modules = [module for stage in recipe.stages for group in stage.train for module in group.modules]
    paths = [path for module in modules for path in paths_of(pipe, module)]
    for name, part in (("codec", pipe.codec), ("enhancement", pipe.enhancement)):
        if part is not None and (any(path.split(".")[0] == name for path in paths) or _is_bare(part)):
            part.freeze_tables()


def _is_bare(part: nn.Module) -> bool:
    """Whether a part's integer tables were never filled."""
    tables = [buffer for buffer in part.buffers() if not buffer.is_floating_point()]
    return bool(tables) and not any(bool(table.any()) for table in tables)
