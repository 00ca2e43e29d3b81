"""The one look-up: a registered name with its parameters -> a class with validated parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from icm_core.errors import SpecError
from icm_core.interfaces import Component, ComponentParams, Nested
from icm_core.plugins.registry import Registry
from icm_core.validation.messages import explain
from icm_registry import Catalogue, RegistryError

C = TypeVar("C")


@dataclass(frozen=True)
class Resolved(Generic[C]):
    """A component's class and its validated parameters."""

    cls: type[C]
    params: ComponentParams


def look_up(
    use: str,
    params: Mapping[str, Any],
    catalogue: Catalogue[type[C]],
    where: str,
    files: Mapping[str, Path] | None = None,
    registry: Registry | None = None,
) -> Resolved[C]:
    """A component's class from its catalogue, and its parameters.

    Args:
        use: registered name.
        params: its parameters as they stand in a file.
        catalogue: what is installed of its contract.
        where: the component's path in that file, such as ``"stages[2].feeds[0].losses[1]"``; messages begin with it.
        files: where the files are that parameters name (`icm_core.interfaces.SpecPath`), by field.
        registry: what is installed, for parameters that are components themselves (`icm_core.interfaces.Nested`).

    Raises:
        SpecError: it is not installed or cannot be used, or a parameter does not validate.
    """
    try:
        cls = catalogue.get(use)
    except RegistryError as error:
        raise SpecError(f"{where}.use: {error}") from error
    model: type[ComponentParams] = cls.Params  # type: ignore[attr-defined]
    try:
        return Resolved(cls, model.model_validate(params, context=Around(where, files or {}, registry)))
    except ValidationError as error:
        raise SpecError(explain(error, model, params, f"{where}.params")) from error


@dataclass(frozen=True)
class Around:
    """What validating parameters knows of what is around them: an `icm_core.interfaces.nested.LookUp`.

    Attributes:
        where: the component's path; messages begin with it.
        files: as in `look_up`.
        registry: as in `look_up`.
    """

    where: str
    files: Mapping[str, Path]
    registry: Registry | None

    def nested(self, contract: type[Component], field: str, use: str, params: Mapping[str, Any]) -> Nested[Any]:
        """See `LookUp.nested`."""
        if self.registry is None:
            raise SpecError(f"{self.where}.params.{field}: components inside of this one cannot be looked up here")
        prefix = f"{field}.params."
        files = {place.removeprefix(prefix): file for place, file in self.files.items() if place.startswith(prefix)}
        catalogue, where = self.registry.of(contract), f"{self.where}.params.{field}"
        found = look_up(use, params, catalogue, where, files, self.registry)
        return Nested(use, found.cls, found.params)
