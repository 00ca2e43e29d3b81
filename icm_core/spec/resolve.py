"""A spec's names looked up in the registry, and its ``params`` validated by the components they are for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from icm_core.errors import SpecError
from icm_core.interfaces import Codec, Enhancement, SideInfoAdapter, TaskHead, TaskKind
from icm_core.plugins.lookup import Resolved, look_up
from icm_core.plugins.registry import Registry
from icm_core.spec.model import PipelineSpec
from icm_core.spec.places import CODEC, ENHANCEMENT, adapter_of, components, head_of


@dataclass(frozen=True)
class ResolvedSpec:
    """Everything that a spec names, found; nothing is built yet.

    Attributes:
        codec, adapters, heads, enhancement: classes with parameters; adapters and heads by task.
        kinds: of each task's answers.
    """

    codec: Resolved[Codec]
    adapters: Mapping[str, Resolved[SideInfoAdapter]]
    heads: Mapping[str, Resolved[TaskHead]]
    kinds: Mapping[str, TaskKind]
    enhancement: Resolved[Enhancement] | None

    @property
    def parts(self) -> dict[str, Resolved[Any]]:
        """All components by their paths (`icm_core.spec.places.components`)."""
        found: dict[str, Resolved[Any]] = {CODEC: self.codec}
        for name, adapter in self.adapters.items():
            found[adapter_of(name)], found[head_of(name)] = adapter, self.heads[name]
        return found if self.enhancement is None else {**found, ENHANCEMENT: self.enhancement}


def resolve(spec: PipelineSpec, registry: Registry) -> ResolvedSpec:
    """Look up and validate all components of a spec.

    Raises:
        SpecError: a component is not installed, a parameter does not validate, or the enhancement refines a
            task that does not reconstruct a picture. The message begins with the field.
    """
    named = components(spec)
    heads = {
        name: look_up(named[head_of(name)].use, named[head_of(name)].params, registry.heads, head_of(name))
        for name in spec.tasks
    }
    adapters = {
        name: look_up(named[adapter_of(name)].use, named[adapter_of(name)].params, registry.adapters, adapter_of(name))
        for name in spec.tasks
    }
    kinds = {name: registry.kind(head.cls.kind_of(head.params), head_of(name)) for name, head in heads.items()}
    enhancement = None
    if spec.enhancement is not None:
        enhancement = look_up(spec.enhancement.use, spec.enhancement.params, registry.enhancements, ENHANCEMENT)
        over = spec.enhancement.over
        if not kinds[over].is_picture:
            pictures = [name for name, kind in kinds.items() if kind.is_picture]
            raise SpecError(
                f"enhancement.over is {over!r}, a task of kind {kinds[over].name}; it should be one of kind "
                f"reconstruction: {', '.join(pictures) or 'this spec has none'}"
            )
    return ResolvedSpec(
        codec=look_up(spec.codec.use, spec.codec.params, registry.codecs, CODEC),
        adapters=adapters,
        heads=heads,
        kinds=kinds,
        enhancement=enhancement,
    )
