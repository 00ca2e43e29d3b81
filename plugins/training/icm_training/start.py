"""Where a stage's weights come from."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from icm_core.errors import IcmError, SpecError, WeightsError
from icm_core.pipeline.build import build
from icm_core.pipeline.hub import SCHEME
from icm_core.pipeline.load import find_spec, load
from icm_core.pipeline.pipeline import Pipeline
from icm_core.pipeline.weights import read_tensors
from icm_core.plugins.registry import Registry
from icm_core.spec.extends import compose
from icm_core.spec.places import modules
from icm_registry import unknown
from icm_training.parts import check_module
from icm_training.recipe import RecipeSpec, StartSpec


@dataclass(frozen=True)
class Start:
    """One source of weights, with its path in the recipe."""

    spec: StartSpec
    where: str


def starts_of(recipe: RecipeSpec, index: int) -> list[Start]:
    """What fills the weights of a stage: what it names, else the stage before, or the recipe's start."""
    stage, where = recipe.stages[index], f"stages[{index}].start"
    if stage.start is not None:
        return [Start(spec, f"{where}[{number}]") for number, spec in enumerate(stage.start)]
    if index:
        return [Start(StartSpec.model_validate({"stage": recipe.stages[index - 1].name}), where)]
    return [Start(StartSpec.model_validate({"weights": recipe.start}), "start")] if recipe.start else []


def fill(
    pipe: Pipeline, starts: Sequence[Start], result_of: Callable[[str], Path], home: Path, registry: Registry
) -> None:
    """Fill a pipeline, one source after the other.

    Args:
        pipe: the pipeline; what no source fills keeps its random weights.
        starts: the sources.
        result_of: path of an earlier stage's weights.
        home: folder that files of weights are relative to; what is not there, to the working directory.
        registry: where shipped pipelines are looked up.

    Raises:
        SpecError: a module is not there, or its head knows no such source.
        WeightsError: weights are missing, or fit nothing.
    """

    def stored(start: StartSpec) -> Mapping[str, Tensor]:
        if start.stage is not None:
            return read_tensors(result_of(start.stage))
        name = start.weights or ""
        if name.endswith(".safetensors"):
            return read_tensors(_file(name, home))
        return load(name, device="cpu", registry=registry).state_dict()

    for start in starts:
        with _named(start):
            _fill(pipe, start.spec, stored)


def check(pipe: Pipeline, starts: Sequence[Start], home: Path, registry: Registry) -> None:
    """Look whether a pipeline can be filled, without reading a weight; results of stages are taken to be there.

    Args:
        pipe: the pipeline on the ``meta`` device.
        starts, home, registry: as for `fill`.

    Raises:
        SpecError, WeightsError: as of `fill`, as far as names and shapes tell.
    """

    def outlined(start: StartSpec) -> Mapping[str, Tensor]:
        if start.stage is not None or (start.weights or "").startswith(SCHEME):  # a hub is asked when its turn comes
            return pipe.state_dict()
        name = start.weights or ""
        if name.endswith(".safetensors"):
            return _outline(_file(name, home))
        composed = compose(find_spec(name, registry), registry)
        if not composed.has_weights:
            raise WeightsError(f"pipeline {composed.spec.name!r} has no weights yet")
        for file in (*composed.weights, *(source.file for source in composed.inherited)):
            _outline(file)
        with torch.device("meta"):
            return build(composed.spec, registry).state_dict()

    for start in starts:
        with _named(start), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nothing is copied to parameters without memory, as PyTorch says
            try:
                _fill(pipe, start.spec, outlined)
            except IcmError:
                raise
            except Exception:
                # A component that only real parameters can be filled of; what is wrong with it is found in its turn.
                if start.spec.pretrained is None:
                    raise


@contextlib.contextmanager
def _named(start: Start) -> Iterator[None]:
    """Errors begin with the path of the start."""
    try:
        yield
    except IcmError as error:
        raise type(error)(f"{start.where}: {error}") from error


def _fill(pipe: Pipeline, start: StartSpec, stored: Callable[[StartSpec], Mapping[str, Tensor]]) -> None:
    if start.pretrained is not None:
        found = modules(pipe)
        if start.module not in found:
            raise SpecError(unknown("component", start.module, found))
        found[start.module].start_from(start.pretrained)
        return
    if start.module:
        check_module(pipe, start.module)
    if start.copy_of is not None:
        check_module(pipe, start.copy_of)
        _load(pipe, _renamed(pipe.state_dict(), start.copy_of, start.module), start.module, start.copy_of)
    else:
        source = f"stage {start.stage!r}" if start.stage is not None else str(start.weights)
        _load(pipe, _placed(pipe, stored(start), start.module), start.module, source)


def _placed(pipe: Pipeline, tensors: Mapping[str, Tensor], module: str) -> Mapping[str, Tensor]:
    """What a file has under a component's own names, or its network's, under the pipeline's."""
    part = modules(pipe).get(module)
    if part is None or any(key.startswith(f"{module}.") for key in tensors):
        return tensors
    return {f"{module}.{key}": tensor for key, tensor in part.adopt(tensors).items()}


def _file(name: str, home: Path) -> Path:
    """A file beside the recipe. Beside a shipped one there are no weights: those lie where the user works."""
    beside = home / name
    return beside if beside.exists() else Path(name)


def _outline(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file without their values."""
    if not path.is_file():
        raise WeightsError(f"{path}: the weights are missing, there is no such file")
    try:
        with safe_open(str(path), framework="pt") as file:
            shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file: {error}") from error
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def _renamed(state: Mapping[str, Tensor], source: str, target: str) -> dict[str, Tensor]:
    """The tensors of a module as those of another."""
    own = {key.removeprefix(source): tensor for key, tensor in state.items() if key.startswith(f"{source}.")}
    return {target + key: tensor.clone() for key, tensor in own.items()}


def _load(pipe: Pipeline, tensors: Mapping[str, Tensor], module: str, source: str) -> None:
    """Copy what belongs to a module, all of which has to fit; the rest of the tensors is left alone."""
    own = pipe.state_dict()
    prefix = f"{module}." if module else ""
    wanted = {key: tensor for key, tensor in tensors.items() if key.startswith(prefix)}
    if module:
        missing = [key for key in own if key.startswith(prefix) and key not in wanted]
        if missing or not wanted:
            raise WeightsError(f"{source} lacks {missing[0] if missing else module!r}, which the stage starts from")
    fitting = {key: tensor for key, tensor in wanted.items() if key in own}
    for key, tensor in fitting.items():
        if tensor.shape != own[key].shape:
            shapes = f"{tuple(tensor.shape)}, and the pipeline needs {tuple(own[key].shape)}"
            raise WeightsError(f"{source}: {key!r} has the shape {shapes}")
    if not fitting:
        raise WeightsError(f"{source} holds no weight of pipeline {pipe.name!r}")
    pipe.load_state_dict(fitting, strict=False)
