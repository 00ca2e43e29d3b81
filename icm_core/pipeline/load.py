"""From a name or a path to a pipeline that works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import torch

from icm_core.errors import SpecError, WeightsError
from icm_core.pipeline.build import build
from icm_core.pipeline.devices import pick_device
from icm_core.pipeline.hub import SCHEME, fetch
from icm_core.pipeline.pipeline import Pipeline
from icm_core.pipeline.weights import load_weights
from icm_core.plugins.registry import Registry, build_registry
from icm_core.spec.extends import compose
from icm_registry import RegistryError


def load(
    model: str | Path | None = None,
    *,
    device: str = "auto",
    precision: str = "fp32",
    weights: bool | Literal["available"] = True,
    registry: Registry | None = None,
) -> Pipeline:
    """A pipeline, ready to encode and decode.

    Args:
        model: name of a shipped pipeline (``"sicmh-small"``), path of a spec, or ``"hf://owner/name"`` on the Hugging
            Face hub.
        device: ``"auto"`` (CUDA where there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:<n>"``.
        precision: ``"fp32"``, or ``"bf16"`` for faster float networks; files can be exchanged between the two.
        weights: if False, the weights stay random: for looking at a pipeline or for training it. ``"available"``
            loads what is there of the spec's files and those that it inherits, and leaves the rest random: for
            training a new part on frozen ones.
        registry: what is installed, found anew by default.

    Raises:
        SpecError: there is no such pipeline, or its spec is wrong.
        WeightsError: the weights are missing or do not fit.
        InputError: the device is not there.
    """
    place = pick_device(device)
    registry = registry or build_registry()
    path = find_spec(registry.default_pipeline if model is None else model, registry)
    composed = compose(path, registry)
    spec = composed.spec
    try:
        pipeline = build(spec, registry, draw=weights is not True)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error
    pipeline.precision = precision
    if weights is True and not composed.has_weights and pipeline.state_dict():
        raise WeightsError(
            f"{path}: pipeline {spec.name!r} has no weights yet; train it (`icm train`), or build it untrained "
            "(weights=False)"
        )
    if weights:
        partly = weights == "available"
        files = [file for file in composed.weights if file.is_file() or not partly]
        load_weights(pipeline, files, inherited=composed.inherited, partly=partly)
    pipeline = pipeline.to(place)
    return pipeline.to(memory_format=torch.channels_last)  # the layout that convolutions are fastest in


def find_spec(model: str | Path, registry: Registry) -> Path:
    """The file of a spec, from a shipped name, a path or a hub's address.

    Raises:
        SpecError: there is none; the message has the nearest name.
        InputError: the hub cannot be reached.
    """
    if isinstance(model, str) and model.startswith(SCHEME):
        return fetch(model)
    if isinstance(model, Path) or model.endswith(".json") or re.search(r"[/\\]", model):
        return Path(model)
    try:
        return registry.specs.get(model)
    except RegistryError as error:
        if Path(model).is_file():
            return Path(model)
        raise SpecError(f"{error}; a path of a spec ends with .json") from error
