"""Files and folders beside a spec that its parameters name: found, and taken along."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from icm_core.errors import SpecError
from icm_core.files import beside, make_folder, read_file, write_atomically
from icm_core.interfaces.nested import nested_fields
from icm_core.interfaces.spec_path import path_fields
from icm_core.plugins.registry import Registry
from icm_core.spec.merge import Place
from icm_core.spec.model import PipelineSpec
from icm_core.spec.places import catalogue_of, components
from icm_registry import Catalogue, RegistryError


def located(spec: PipelineSpec, said_by: Callable[[Place], Path], registry: Registry) -> PipelineSpec:
    """A spec that knows where the files are that its parameters name.

    Args:
        spec: the spec.
        said_by: the file of the spec that says the value at a place.
        registry: knows which parameters name files; what is not installed names none.

    Raises:
        SpecError: a path is not relative, or leads out of its spec's folder; the message names the field.
    """
    files = {}
    for where, field, name in _named(spec, registry):
        place = f"{where}.params.{field}"
        try:
            files[place] = beside(said_by((*where.split("."), "params", *field.split("."))), name, "a file")
        except (SpecError, ValueError) as error:
            raise SpecError(f"{place}: {error}") from error
    return spec.with_files(files) if files else spec


def copy_files(spec: PipelineSpec, folder: Path) -> tuple[Path, ...]:
    """Copy the files that a spec's parameters name to where the same spec in another folder finds them.

    Args:
        spec: a spec that was read from a file.
        folder: the other folder.

    Returns:
        The copies.

    Raises:
        SpecError: two different files have the same name; they came from folders of different specs.
        InputError: one cannot be read or written.
    """
    copies: dict[Path, Path] = {}
    parts = components(spec)
    for place, source in spec.files.items():
        where, _, field = place.partition(".params.")
        named: object = parts[where].params
        for key in field.split("."):
            named = named[key] if isinstance(named, Mapping) else None
        target = folder / str(named)
        inside = [part for part in sorted(source.rglob("*")) if part.is_file()] if source.is_dir() else [source]
        for part in inside:
            copy = target / part.relative_to(source) if source.is_dir() else target
            if copies.setdefault(copy, part).resolve() != part.resolve():
                raise SpecError(f"{place} is {part}, and another parameter's file has its name, {copies[copy]}")
    for copy, part in copies.items():
        if not (copy.exists() and copy.resolve() == part.resolve()):
            make_folder(copy.parent)
            write_atomically(copy, read_file(part))
    return tuple(copies)


def _named(spec: PipelineSpec, registry: Registry) -> Iterator[tuple[str, str, str]]:
    """Component, field and name of everything beside the spec that parameters name."""
    for where, part in components(spec).items():
        for field, name in _fields(catalogue_of(where, registry), part.use, part.params, registry):
            yield where, field, name


def _fields(
    catalogue: Catalogue[type[Any]], use: object, params: object, registry: Registry
) -> Iterator[tuple[str, str]]:
    """Field and name, also of components inside of a component: ``"codec.params.file"``."""
    try:
        cls = catalogue.get(str(use))
    except RegistryError:
        return
    if not isinstance(params, Mapping):
        return
    for field in path_fields(cls.Params):
        if isinstance(name := params.get(field), str):
            yield field, name
    for field, contract in nested_fields(cls.Params).items():
        if isinstance(part := params.get(field), Mapping):
            for inner, name in _fields(registry.of(contract), part.get("use"), part.get("params", {}), registry):
                yield f"{field}.params.{inner}", name
