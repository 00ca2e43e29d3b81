"""Weights brought into a pipeline part by part: somebody's network as a head, a copy of another task's adapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from icm_core.errors import InputError, SpecError, WeightsError
from icm_core.interfaces import Component
from icm_core.pipeline.build import MAX_BYTES, build
from icm_core.pipeline.pipeline import Pipeline
from icm_core.pipeline.weights import load_weights, read_tensors, save
from icm_core.plugins.registry import Registry
from icm_core.spec.extends import Composed, compose
from icm_core.spec.places import component_of, modules
from icm_registry import nearest, unknown

COPY, START = "copy:", "start:"
"""What a source begins with that is no file: a copy of another task's part, and weights that the component knows."""


@dataclass(frozen=True)
class Filled:
    """What was written.

    Attributes:
        file: the weights.
        parts: components that it holds.
        missing: components of the pipeline that no file has weights for yet.
    """

    file: Path
    parts: tuple[str, ...]
    missing: tuple[str, ...]


def fill(spec: Path, registry: Registry, sources: Mapping[str, str], target: Path | None = None) -> Filled:
    """Take weights of components from elsewhere, and write them as weights of a pipeline.

    Args:
        spec: the pipeline's file. Weights that it names need not be there yet.
        registry: what is installed.
        sources: for each component's path (``"tasks.boxes.head"``) a safetensors file with its weights, under its own
            names or those of the network in it (`Component.adopt`), ``copy:PATH`` for those of another component, or
            ``start:NAME`` for a source that the component knows, such as ``start:imagenet``.
        target: the file that is written; by default the one that the spec names. What the spec's own file holds
            already is kept, as far as it is the file that is written.

    Raises:
        SpecError: the spec is wrong, or a component does not know a source.
        InputError: there is no such component, or it is not clear which file to write.
        WeightsError: a source is missing, damaged, or does not fit its component.
    """
    composed = compose(spec, registry)
    pipe = build(composed.spec, registry)
    own = [file for file in composed.weights if file.is_file()]
    load_weights(pipe, own, inherited=composed.inherited, partly=True)
    parts = modules(pipe)
    for path, source in sources.items():
        if path not in parts:
            raise InputError(unknown("component", path, sorted(parts)))
        _take(parts, path, source)
    file = target if target is not None else _own_file(composed)
    there = {component_of(key) for key in read_tensors(file)} if file in own else set()
    written = tuple(path for path in parts if path in sources or path in there)
    # The limit of a single file is for weights in a repository; a user's own detector may have more.
    save(pipe, {file: [f"{path}." for path in written]}, max_bytes=MAX_BYTES, partly=True)
    return Filled(file, written, _missing(pipe, composed, {*written, *_parts_of(own)}))


def _take(parts: Mapping[str, Component], path: str, source: str) -> None:
    part = parts[path]
    if source.startswith(START):
        try:
            part.start_from(source.removeprefix(START))
        except SpecError as error:
            raise SpecError(f"{path}: {error}") from error
        return
    if source.startswith(COPY):
        other = source.removeprefix(COPY)
        if other not in parts:
            raise InputError(f"{path}: " + unknown("component", other, sorted(parts)))
        tensors: Mapping[str, Tensor] = parts[other].state_dict()
    else:
        try:
            tensors = part.adopt(_unprefixed(read_tensors(Path(source)), path))
        except WeightsError as error:
            raise WeightsError(f"{path}: {source}: {error}") from error
    _load(part, tensors, path, source)


def _unprefixed(tensors: Mapping[str, Tensor], path: str) -> dict[str, Tensor]:
    """The tensors under the component's own names, where they stand under the pipeline's."""
    inside = {key.removeprefix(f"{path}."): value for key, value in tensors.items() if key.startswith(f"{path}.")}
    return inside or dict(tensors)


def _load(part: Component, tensors: Mapping[str, Tensor], path: str, source: str) -> None:
    own = part.state_dict()
    missing = [key for key in own if key not in tensors]
    if missing:
        guess = nearest(missing[0], tensors)
        hint = f"; did you mean its {guess!r}?" if guess else f"; it has {', '.join(sorted(tensors)[:3])}, ..."
        raise WeightsError(f"{path}: {source} lacks {missing[0]!r}{hint if tensors else ', it is empty'}")
    for key, tensor in own.items():
        if tensors[key].shape != tensor.shape:
            raise WeightsError(
                f"{path}: {key!r} of {source} has the shape {tuple(tensors[key].shape)}, and the component needs "
                f"{tuple(tensor.shape)}"
            )
    part.load_state_dict({key: tensors[key] for key in own})


def _own_file(composed: Composed) -> Path:
    if len(composed.weights) != 1:
        count = len(composed.weights) or "no"
        raise InputError(f"{composed.path} names {count} weights of its own, so say with -o which file to write")
    return composed.weights[0]


def _parts_of(files: list[Path]) -> set[str]:
    return {component_of(key) for file in files for key in read_tensors(file)}


def _missing(pipe: Pipeline, composed: Composed, there: set[str]) -> tuple[str, ...]:
    """Components with weights that neither an own file nor one of what the spec extends has."""
    state = pipe.state_dict()
    inherited = {
        component_of(key)
        for source in composed.inherited
        for key, tensor in read_tensors(source.file).items()
        if component_of(key) in source.parts and key in state and tensor.shape == state[key].shape
    }
    return tuple(path for path, part in modules(pipe).items() if part.state_dict() and path not in there | inherited)
