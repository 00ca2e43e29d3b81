"""From a name or a path to a pipeline that works."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from icm_core.building import build
from icm_core.errors import InputError, SpecError, WeightsError
from icm_core.pipeline import Pipeline
from icm_core.plugins import Registry, build_registry
from icm_core.spec import PipelineSpec, read_spec, weights_files
from icm_core.weights import Borrowed, load_weights
from icm_registry import RegistryError


def load(
    model: str | Path,
    *,
    device: str = "auto",
    precision: str = "fp32",
    weights: bool = True,
    registry: Registry | None = None,
) -> Pipeline:
    """A pipeline, ready to encode and decode.

    Args:
        model: name of a shipped pipeline (``"sicmh-small"``), or path of a spec.
        device: ``"auto"`` (CUDA where there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:<n>"``.
        precision: ``"fp32"``, or ``"bf16"`` for faster float networks; files can be exchanged between the two.
        weights: if False, the weights stay random: for looking at a pipeline or for training it.
        registry: what is installed, found anew by default.

    Raises:
        SpecError: there is no such pipeline, or its spec is wrong.
        WeightsError: the weights are missing or do not fit.
        InputError: the device is not there.
    """
    place = pick_device(device)
    registry = registry or build_registry()
    path = find_spec(model, registry)
    spec = read_spec(path)
    try:
        pipeline = build(spec, registry)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error
    pipeline.precision = precision
    if weights:
        if not spec.weights and not spec.weights_from and pipeline.state_dict():
            raise WeightsError(f"{path}: pipeline {spec.name!r} names no weights; weights=False builds it untrained")
        load_weights(pipeline, weights_files(spec, path), borrowed_weights(spec, path, registry))
    pipeline = pipeline.to(place)
    return pipeline.to(memory_format=torch.channels_last) if precision == "bf16" else pipeline


def borrowed_weights(spec: PipelineSpec, path: Path, registry: Registry) -> list[Borrowed]:
    """The files behind a spec's ``weights_from``.

    Args:
        spec: a validated spec.
        path: the file that it was read from, for messages.
        registry: where the other pipelines are found.

    Raises:
        SpecError: a pipeline is not installed, has no weights of its own, or has another component there.
    """
    found = []
    for part, name in spec.weights_from.items():
        where = f"{path}: weights_from.{part}"
        try:
            source = registry.specs.get(name)
        except RegistryError as error:
            raise SpecError(f"{where}: {error}") from error
        other = read_spec(source)
        files = weights_files(other, source)
        if not files:
            raise SpecError(f"{where}: pipeline {name!r} has no weights of its own")
        uses, others = ([component.use for component in one.part(part)] for one in (spec, other))
        if uses != others:
            raise SpecError(
                f"{where}: it is {' and '.join(uses)} here, and {' and '.join(others) or 'nothing'} in pipeline {name!r}"
            )
        found.append(Borrowed(part, files))
    return found


def find_spec(model: str | Path, registry: Registry) -> Path:
    """The file of a spec, from a shipped name or a path; `SpecError` with the nearest name if there is none."""
    if isinstance(model, Path) or model.endswith(".json") or re.search(r"[/\\]", model):
        return Path(model)
    try:
        return registry.specs.get(model)
    except RegistryError as error:
        if Path(model).is_file():
            return Path(model)
        raise SpecError(f"{error}; a path of a spec ends with .json") from error


def pick_device(name: str) -> torch.device:
    """A device by its name on the command line; `InputError` if this machine does not have it."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    match = re.fullmatch(r"cpu|cuda(:(?P<index>\d{1,3}))?", name)
    if match is None:
        raise InputError(f"device {name!r} is unknown; it is auto, cpu, cuda or cuda:<n>")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name != "cpu" and int(match["index"] or 0) >= count:
        have = f"cuda:0 to cuda:{count - 1}" if count > 1 else "cuda:0" if count else "no CUDA device"
        raise InputError(f"device {name!r} is not available; this machine has {have}")
    return torch.device(name)
