"""The one look-up: a registered name with its parameters -> a class with validated parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from icm_core.errors import SpecError
from icm_core.interfaces import ComponentParams
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
) -> Resolved[C]:
    """A component's class from its catalogue, and its parameters.

    Args:
        use: registered name.
        params: its parameters as they stand in a file.
        catalogue: what is installed of its contract.
        where: the component's path in that file, such as ``"stages[2].feeds[0].losses[1]"``; messages begin with it.
        files: where the files are that parameters name (`icm_core.interfaces.SpecPath`), by field.

    Raises:
        SpecError: it is not installed or cannot be used, or a parameter does not validate.
    """
    try:
        cls = catalogue.get(use)
    except RegistryError as error:
        raise SpecError(f"{where}.use: {error}") from error
    model: type[ComponentParams] = cls.Params  # type: ignore[attr-defined]
    try:
        return Resolved(cls, model.model_validate(params, context=files))
    except ValidationError as error:
        raise SpecError(explain(error, model, params, f"{where}.params")) from error
