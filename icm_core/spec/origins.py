"""Where each value of a spec comes from: its own file, one that it extends, or a component's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, JsonValue

from icm_core.errors import SpecError
from icm_core.plugins.registry import Registry
from icm_core.spec.extends import Composed
from icm_core.spec.merge import Place, values
from icm_core.spec.model import ComponentSpec
from icm_core.spec.places import components
from icm_core.spec.resolve import resolve

DEFAULT = "default"


@dataclass(frozen=True)
class Source:
    """One value of a merged spec.

    Attributes:
        field: its place, dotted: ``"tasks.depth.head.params.width"``.
        value: the value.
        origin: the file that says so (a shipped pipeline's name), ``"default"``, or ``"inherited"``.
    """

    field: str
    value: JsonValue
    origin: str


def sources(composed: Composed, registry: Registry) -> list[Source]:
    """Every value of a spec, defaults of the components' parameters and files of weights included.

    Raises:
        SpecError: a component is not installed or its parameters do not validate.
    """
    try:
        resolved = resolve(composed.spec, registry)
    except SpecError as error:
        raise SpecError(f"{composed.path}: {error}") from error
    params = {where: part.params for where, part in resolved.parts.items()}
    parts, shipped = components(composed.spec), {registry.specs.get(name): name for name in registry.specs.names}
    found = []
    for place, value in values({**composed.spec.to_json(), "weights": None}):
        if "params" not in place and place != ("weights",):
            found.append(Source(".".join(place), _json(value), _origin(composed, place, shipped)))
            where = ".".join(place[:-1])
            if place[-1] == "use":
                found += _parameters(composed, where, parts[where], params[where], shipped)
    for source in composed.inherited:
        use = f"{source.file} (for {', '.join(sorted(source.parts)) or 'nothing'})"
        found.append(Source("weights", use, "inherited"))
    found += [Source("weights", str(file), str(composed.path)) for file in composed.weights]
    return found


def _parameters(
    composed: Composed, where: str, part: ComponentSpec, params: BaseModel, shipped: Mapping[Path, str]
) -> list[Source]:
    place = (*where.split("."), "params")
    return [
        Source(
            f"{where}.params.{field}",
            value,
            _origin(composed, (*place, field), shipped) if field in part.params else DEFAULT,
        )
        for field, value in params.model_dump(mode="json").items()
    ]


def _origin(composed: Composed, place: Place, shipped: Mapping[Path, str]) -> str:
    """Names or files of everything at or below a place."""
    inside = {
        shipped.get(file, str(file)): None for known, file in composed.origins.items() if known[: len(place)] == place
    }
    return ", ".join(inside) or DEFAULT


def _json(value: Any) -> JsonValue:
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
