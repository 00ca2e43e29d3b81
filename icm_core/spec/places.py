"""What a pipeline's components are, and where they stand: in a spec, in a state dict, in a pipeline."""

from __future__ import annotations

from typing import Any

from icm_core.interfaces import Component
from icm_core.interfaces.pipeline import PipelineView
from icm_core.plugins.registry import Registry
from icm_core.spec.model import ComponentSpec, PipelineSpec
from icm_registry import Catalogue

CODEC, ENHANCEMENT = "codec", "enhancement"
ADAPTER, HEAD = "adapter", "head"


def adapter_of(task: str) -> str:
    """Path of a task's adapter: ``"tasks.depth.adapter"``."""
    return f"tasks.{task}.{ADAPTER}"


def head_of(task: str) -> str:
    """Path of a task's head: ``"tasks.depth.head"``."""
    return f"tasks.{task}.{HEAD}"


def components(spec: PipelineSpec) -> dict[str, ComponentSpec]:
    """The components of a spec by their paths, which are also their prefixes in the state dict."""
    found: dict[str, ComponentSpec] = {CODEC: spec.codec}
    for name, task in spec.tasks.items():
        found[adapter_of(name)] = task.adapter
        found[head_of(name)] = task.head
    if spec.enhancement is not None:
        found[ENHANCEMENT] = spec.enhancement
    return found


def modules(pipe: PipelineView) -> dict[str, Component]:
    """The components of a pipeline by their paths, in the order of `components`."""
    found: dict[str, Component] = {CODEC: pipe.codec}
    for name in pipe.tasks:
        task = pipe.task(name)
        found[adapter_of(name)] = task.adapter
        found[head_of(name)] = task.head
    if pipe.enhancement is not None:
        found[ENHANCEMENT] = pipe.enhancement
    return found


def catalogue_of(path: str, registry: Registry) -> Catalogue[type[Any]]:
    """What is installed of the contract of the component at a path."""
    if path in (CODEC, ENHANCEMENT):
        return registry.codecs if path == CODEC else registry.enhancements
    return registry.adapters if path.endswith(f".{ADAPTER}") else registry.heads


def is_component(place: tuple[str, ...]) -> bool:
    """Whether a component stands at a place of a spec."""
    return place in ((CODEC,), (ENHANCEMENT,)) or (len(place) == 3 and place[0] == "tasks")


def component_of(key: str) -> str:
    """Path of the component that a key of the state dict belongs to.

    >>> component_of("tasks.depth.head.net.weight"), component_of("codec.encoder.0.bias")
    ('tasks.depth.head', 'codec')
    """
    parts = key.split(".")
    return ".".join(parts[: 3 if parts[0] == "tasks" else 1])
