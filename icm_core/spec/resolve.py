"""A spec's names looked up in the registry, and its ``params`` validated by the components they are for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import ValidationError

from icm_core.errors import SpecError
from icm_core.interfaces import Codec, Component, ComponentParams, Enhancement, SideInfoAdapter, TaskHead
from icm_core.plugins.registry import Registry
from icm_core.spec.model import ComponentSpec, PipelineSpec
from icm_core.validation.messages import explain
from icm_registry import Catalogue, RegistryError

C = TypeVar("C", bound=Component)


@dataclass(frozen=True)
class Resolved(Generic[C]):
    """A component's class and its validated parameters."""

    cls: type[C]
    params: ComponentParams


@dataclass(frozen=True)
class ResolvedSpec:
    """Everything that a spec names, found; nothing is built yet."""

    codec: Resolved[Codec]
    adapters: Mapping[str, Resolved[SideInfoAdapter]]
    heads: Mapping[str, Resolved[TaskHead]]
    enhancement: Resolved[Enhancement] | None


def resolve(spec: PipelineSpec, registry: Registry) -> ResolvedSpec:
    """Look up and validate all components of a spec.

    Raises:
        SpecError: a component is not installed, a parameter does not validate, or the enhancement refines a
            task that does not reconstruct a picture. The message begins with the field.
    """
    heads = {name: _component(task.head, registry.heads, f"tasks.{name}.head") for name, task in spec.tasks.items()}
    resolved = ResolvedSpec(
        codec=_component(spec.codec, registry.codecs, "codec"),
        adapters={
            name: _component(task.adapter, registry.adapters, f"tasks.{name}.adapter")
            for name, task in spec.tasks.items()
        },
        heads=heads,
        enhancement=(
            None if spec.enhancement is None else _component(spec.enhancement, registry.enhancements, "enhancement")
        ),
    )
    if spec.enhancement is not None and heads[spec.enhancement.over].cls.kind != "reconstruction":
        over = spec.enhancement.over
        pictures = [name for name, head in heads.items() if head.cls.kind == "reconstruction"]
        raise SpecError(
            f"enhancement.over is {over!r}, a task of kind {heads[over].cls.kind}; it should be one of kind "
            f"reconstruction: {', '.join(pictures) or 'this spec has none'}"
        )
    return resolved


def _component(spec: ComponentSpec, catalogue: Catalogue[type[C]], where: str) -> Resolved[C]:
    try:
        cls = catalogue.get(spec.use)
    except RegistryError as error:
        raise SpecError(f"{where}.use: {error}") from error
    try:
        return Resolved(cls, cls.Params.model_validate(spec.params))
    except ValidationError as error:
        raise SpecError(explain(error, cls.Params, spec.params, f"{where}.params")) from error
