"""A spec made into a pipeline of modules."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import init
from torch.overrides import TorchFunctionMode

from icm_core.errors import SpecError
from icm_core.pipeline.pipeline import Pipeline, Task
from icm_core.plugins.registry import Registry
from icm_core.spec.model import FINE, PipelineSpec
from icm_core.spec.places import CODEC, ENHANCEMENT, adapter_of, head_of
from icm_core.spec.resolve import ResolvedSpec, resolve
from icm_core.types import SideInfoLayout
from icm_registry import unknown

T = TypeVar("T")

MAX_BYTES = 4_000_000_000
"""What the parameters and tables of a pipeline may take in memory, more than three times the largest that ships."""


class _Undrawn(TorchFunctionMode):
    """Parameters keep whatever is in their memory where random numbers would be drawn for them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        target = args[0] if args else given.get("tensor")
        return target if func in _DRAWING and isinstance(target, nn.Parameter) else func(*args, **given)


# PyTorch asks a mode once: what these functions of `torch.nn.init` call in turn, it does not see.
_DRAWING = {Tensor.normal_, Tensor.uniform_, init.normal_, init.uniform_, init.kaiming_normal_, init.kaiming_uniform_}


def build(spec: PipelineSpec, registry: Registry, *, draw: bool = True) -> Pipeline:
    """Build a pipeline with untrained weights, in eval mode.

    It reads no file; under ``torch.device("meta")`` it allocates nothing either, so that any spec can be
    inspected.

    Args:
        spec: the spec.
        registry: what is installed.
        draw: if False, no random weights are drawn, for a pipeline all of whose weights are loaded next.

    Raises:
        SpecError: a component is missing, a parameter is wrong, or components do not fit together; the message
            begins with the field. Or the pipeline would take more than `MAX_BYTES`, of which nothing is allocated.
    """
    resolved = resolve(spec, registry)
    if torch.get_default_device().type != "meta":
        with torch.random.fork_rng(devices=[]), torch.device("meta"), _Undrawn():
            _check_size(_assembled(spec, resolved))
    with nullcontext() if draw else _Undrawn():
        return _assembled(spec, resolved)


def _check_size(pipeline: Pipeline) -> None:
    size = sum(tensor.nbytes for tensor in itertools.chain(pipeline.parameters(), pipeline.buffers()))
    if size > MAX_BYTES:
        raise SpecError(
            f"pipeline {pipeline.name!r} would take {size // 10**6} MB of memory for its parameters, and the limit is "
            f"{MAX_BYTES // 10**6} MB; choose smaller widths or fewer tasks"
        )


def _assembled(spec: PipelineSpec, resolved: ResolvedSpec) -> Pipeline:
    codec = _made(CODEC, lambda: resolved.codec.cls(resolved.codec.params))
    tasks = {name: _task(name, resolved, codec.layout) for name in spec.tasks}
    enhancement = None
    if (found := resolved.enhancement) is not None:
        cls, params = found.cls, found.params
        enhancement = _made(ENHANCEMENT, lambda: cls(params, codec.layout))
        if enhancement.quality_range not in (None, codec.quality_range):
            raise SpecError(
                f"enhancement: {cls.name} has the qualities {enhancement.quality_range}, "
                f"and the codec has {codec.quality_range}; they must be the same"
            )
    _check_needs(tasks, enhancement is not None)
    return Pipeline(spec, codec, tasks, enhancement).eval()


def _check_needs(tasks: Mapping[str, Task], refined: bool) -> None:
    """What an adapter reads is a picture of a task that reads none in turn, or the refined one."""
    pictures = [name for name, task in tasks.items() if task.kind.is_picture and not task.adapter.needs]
    known = [*pictures, *([FINE] if refined else [])]
    for name, task in tasks.items():
        for need in task.adapter.needs:
            if need not in known:
                raise SpecError(f"{adapter_of(name)} reads the picture {need!r}: {unknown('picture', need, known)}")


def _task(name: str, resolved: ResolvedSpec, layout: SideInfoLayout) -> Task:
    of_adapter, of_head = resolved.adapters[name], resolved.heads[name]
    adapter = _made(adapter_of(name), lambda: of_adapter.cls(of_adapter.params, layout))
    features = adapter.features
    missing = [feature for feature in of_head.cls.requires if feature not in features]
    if missing:
        raise SpecError(
            f"{head_of(name)}: {of_head.cls.name} needs the feature {', '.join(map(repr, missing))}, and adapter "
            f"{of_adapter.cls.name} provides {', '.join(map(repr, features)) or 'none'}"
        )
    return Task(adapter, _made(head_of(name), lambda: of_head.cls(of_head.params, features)), resolved.kinds[name])


def _made(where: str, make: Callable[[], T]) -> T:
    """Call a constructor; what it finds wrong with its arguments becomes a `SpecError` that names the field."""
    try:
        return make()
    except (SpecError, ValueError) as error:
        raise SpecError(f"{where}: {error}") from error
