"""Where a stage's weights come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from icm_core.errors import SpecError, WeightsError
from icm_core.interfaces import Component
from icm_core.pipeline.load import load
from icm_core.pipeline.pipeline import Pipeline
from icm_core.pipeline.weights import read_tensors
from icm_core.plugins.registry import Registry
from icm_registry import unknown
from icm_training.recipe import StartSpec


def fill(
    pipe: Pipeline,
    starts: Sequence[StartSpec],
    result_of: Callable[[str], Path],
    home: Path,
    registry: Registry,
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
    for start in starts:
        if start.stage is not None:
            _load(pipe, read_tensors(result_of(start.stage)), start.module, f"stage {start.stage!r}")
        elif start.weights is not None:
            _load(pipe, _weights(start.weights, home, registry), start.module, start.weights)
        elif start.copy_of is not None:
            _load(pipe, _part(dict(pipe.state_dict()), start.copy_of, start.module), start.module, start.copy_of)
        else:
            _component(pipe, start.module).start_from(start.pretrained or "")


def _weights(source: str, home: Path, registry: Registry) -> dict[str, Tensor]:
    if source.endswith(".safetensors"):
        beside = home / source
        # Beside a shipped recipe there are no weights: those that it goes on from lie where the user works.
        return read_tensors(beside if beside.exists() else Path(source))
    return dict(load(source, device="cpu", registry=registry).state_dict())


def _component(pipe: Pipeline, module: str) -> Component:
    known: dict[str, Component] = {"codec": pipe.codec}
    for name in pipe.tasks:
        known[f"tasks.{name}.adapter"], known[f"tasks.{name}.head"] = pipe.task(name).adapter, pipe.task(name).head
    if pipe.enhancement is not None:
        known["enhancement"] = pipe.enhancement
    if module not in known:
        raise SpecError(unknown("component", module, sorted(known)))
    return known[module]


def _part(state: Mapping[str, Tensor], source: str, target: str) -> dict[str, Tensor]:
    part = {
        target + key[len(source) :]: tensor.clone() for key, tensor in state.items() if key.startswith(f"{source}.")
    }
    if not part:
        raise SpecError(f"start.copy_of: the pipeline has no module {source!r}")
    return part


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
