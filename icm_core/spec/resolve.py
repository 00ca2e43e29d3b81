"""A spec's names looked up in the registry, and its ``params`` validated by the components they are for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from icm_core.errors import SpecError
from icm_core.interfaces import Codec, Enhancement, SideInfoAdapter, TaskHead, TaskKind
from icm_core.plugins.lookup import Resolved, look_up
from icm_core.plugins.registry import Registry
from icm_core.spec.model import ComponentSpec, PipelineSpec
from icm_core.spec.places import CODEC, ENHANCEMENT, adapter_of, catalogue_of, components, head_of


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
    found = {where: _look_up(where, part, spec, registry) for where, part in components(spec).items()}
    heads = {name: found[head_of(name)] for name in spec.tasks}
    adapters = {name: found[adapter_of(name)] for name in spec.tasks}
    kinds = {name: registry.kind(head.cls.kind_of(head.params), head_of(name)) for name, head in heads.items()}
    if spec.enhancement is not None:
        over = spec.enhancement.over
        if not kinds[over].is_picture:
            pictures = [name for name, kind in kinds.items() if kind.is_picture]
            raise SpecError(
                f"enhancement.over is {over!r}, a task of kind {kinds[over].name}; it should be one of kind "
                f"reconstruction: {', '.join(pictures) or 'this spec has none'}"
            )
    return ResolvedSpec(
        codec=found[CODEC],
        adapters=adapters,
        heads=heads,
        kinds=kinds,
        enhancement=found.get(ENHANCEMENT),
    )


def _look_up(where: str, part: ComponentSpec, spec: PipelineSpec, registry: Registry) -> Resolved[Any]:
    prefix = f"{where}.params."
    files = {place.removeprefix(prefix): file for place, file in spec.files.items() if place.startswith(prefix)}
    return look_up(part.use, part.params, catalogue_of(where, registry), where, files, registry)
