"""Specs from files that may extend others: ``"extends": "sicmh-small"`` and what is to be different.

What ``extends`` names is a shipped pipeline, or a spec file given relative to the folder of the spec that names it,
and inside that folder. How values merge stands in `icm_core.spec.merge`. ``weights`` is the one field that adds up: a
spec's own files lie over its base's, each found from the folder of the spec that names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from icm_core.errors import SpecError
from icm_core.files import beside
from icm_core.plugins.registry import Registry, build_registry
from icm_core.spec.files import located
from icm_core.spec.merge import Layers, Place
from icm_core.spec.model import PipelineSpec, parse_spec, spec_fields, weights_files
from icm_core.spec.places import components
from icm_core.validation.strict_json import read_json
from icm_registry import RegistryError

EXTENDS = "extends"
MAX_BASES = 8


@dataclass(frozen=True)
class Inherited:
    """Weights of a spec that is extended.

    Attributes:
        file: the file.
        parts: components that they are for: those whose class is still the one that they were made with.
        without: paths inside of these that became components of another class.
    """

    file: Path
    parts: frozenset[str]
    without: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Composed:
    """A spec as its file and those that it extends make it together.

    Attributes:
        spec: the merged spec; its ``weights`` are those of its own file.
        path: its file.
        origins: the file that each value comes from, by its place.
        weights: its own files of weights.
        inherited: weights of what it extends, those of the first base first; own ones lie over them.
    """

    spec: PipelineSpec
    path: Path
    origins: Mapping[Place, Path]
    weights: tuple[Path, ...]
    inherited: tuple[Inherited, ...] = ()

    @property
    def has_weights(self) -> bool:
        """Whether any file of weights belongs to it."""
        return bool(self.weights or self.inherited)


def compose(path: Path, registry: Registry) -> Composed:
    """Read a spec with everything that it extends.

    Args:
        path: the spec's file.
        registry: whose shipped specs can be extended by name.

    Raises:
        SpecError: a file cannot be read, what it extends is unknown, outside of its folder, or extends it in turn, or
            the merged spec does not validate.
    """
    return _compose(path, registry, ())


def _compose(path: Path, registry: Registry, above: tuple[Path, ...]) -> Composed:
    data = read_json(path)
    if not isinstance(data, Mapping) or EXTENDS not in data:
        try:
            return _whole(path, data, registry)
        except SpecError as error:
            raise SpecError(f"{path}: {error}") from error
    chain = (*above, path.resolve())
    base = _base(path, data[EXTENDS], registry, chain)
    try:
        return _extended(path, data, base, registry)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error


def _whole(path: Path, data: object, registry: Registry) -> Composed:
    """A spec that extends none."""
    spec = parse_spec(data)
    layers: Layers[Path] = Layers()
    assert isinstance(data, Mapping)
    layers.add(spec_fields(data), path)
    return Composed(located(spec, lambda _: path, registry), path, layers.origins, weights_files(spec, path))


def _base(path: Path, name: object, registry: Registry, chain: tuple[Path, ...]) -> Composed:
    try:
        found = _find(path, name, registry)
        if found.resolve() in chain:
            raise SpecError(f"extends is {name!r}, which extends this spec in turn")
        if len(chain) > MAX_BASES:
            raise SpecError(f"extends is {name!r}; a chain of specs has at most {MAX_BASES} bases")
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error
    return _compose(found, registry, chain)


def _find(path: Path, name: object, registry: Registry) -> Path:
    if not isinstance(name, str) or not name:
        raise SpecError(f"extends is {name!r}; it should be a shipped pipeline's name or the path of a spec")
    if not name.endswith(".json") and not re.search(r"[/\\]", name):
        try:
            return registry.specs.get(name)
        except RegistryError as error:
            raise SpecError(f"extends: {error}; a path of a spec ends with .json") from error
    try:
        return beside(path, name, "a spec")
    except (SpecError, ValueError) as error:
        raise SpecError(f"extends: {error}") from error


def _extended(path: Path, data: Mapping[str, object], base: Composed, registry: Registry) -> Composed:
    own = {key: value for key, value in spec_fields(data).items() if key != EXTENDS}
    if not isinstance(own.get("name"), str):
        raise SpecError("the field name is missing; a spec that extends another has a name of its own")
    layers: Layers[Path] = Layers()
    layers.add(base.spec.to_json(), base.path)
    layers.origins.update(base.origins)
    for place in (("weights",), ("description",)):
        layers.drop(place)  # files of the base are found from its own folder; what it is for is said of the base
    layers.add(own, path)
    spec = located(parse_spec(layers.data), layers.origins.__getitem__, registry)
    dropped = "weights" in own and own["weights"] is None
    return Composed(spec, path, layers.origins, weights_files(spec, path), () if dropped else _inherited(base, spec))


def _inherited(base: Composed, spec: PipelineSpec) -> tuple[Inherited, ...]:
    before, now = components(base.spec), components(spec)
    same = frozenset(place for place, part in now.items() if place in before and before[place].use == part.use)
    other = frozenset(inner for place in same for inner in _exchanged(before[place].params, now[place].params, place))
    own = (Inherited(file, frozenset(before)) for file in base.weights)
    return tuple(Inherited(found.file, found.parts & same, found.without | other) for found in (*base.inherited, *own))


def _exchanged(before: Mapping[str, object], now: Mapping[str, object], place: str) -> Iterator[str]:
    """Paths of the components inside of a component that are of another class now (`icm_core.interfaces.Nested`)."""
    for field, was in before.items():
        if isinstance(was, Mapping) and "use" in was:
            found, path = now.get(field), f"{place}.{field}"
            if not isinstance(found, Mapping) or found.get("use") != was["use"]:
                yield path
            elif isinstance(was.get("params"), Mapping):
                inner = found.get("params")
                yield from _exchanged(was["params"], inner if isinstance(inner, Mapping) else {}, path)


def read_spec(path: Path, registry: Registry | None = None) -> PipelineSpec:
    """A spec from its JSON file, merged with what it extends; `SpecError` names the file and what is wrong in it.

    Args:
        path: the file.
        registry: whose shipped specs can be extended by name; what is installed by default.
    """
    return compose(path, registry or build_registry()).spec
