"""Cases: something to check, with what it takes to build it, to feed it and to know what has to come out."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from icm_core.errors import SpecError
from icm_core.interfaces.nested import nested_fields
from icm_core.plugins.lookup import Around
from icm_core.plugins.registry import build_registry
from icm_core.testing.failing import ConformanceError


@dataclass(frozen=True)
class Case(ABC):
    """Something to check.

    Args:
        cls: the class.
        exceptions: checks that it is known to fail, by function name, each with the reason.
        unpromised: checks that it passes or fails depending on the machine or on a library's version, by function
            name, each with the reason.
    """

    contract: ClassVar[type[Any]]

    cls: type[Any]
    exceptions: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    unpromised: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        if not issubclass(self.cls, self.contract):
            raise TypeError(f"{self.cls.__name__} is not a {self.contract.__name__}; use the case of its contract")

    @property
    def name(self) -> str:
        """The registered name, or the class's where there is none."""
        return str(getattr(self.cls, "name", self.cls.__name__))


@dataclass(frozen=True)
class ParameterisedCase(Case):
    """Something with parameters.

    Args:
        params: its parameters, as they would stand in a spec.
    """

    params: Mapping[str, object] = field(default_factory=dict)

    def validated(self, params: Mapping[str, object]) -> Any:
        """Parameters validated; components inside of them (`icm_core.interfaces.Nested`) are looked up as in a spec."""
        model = self.cls.Params
        around = Around(self.name, {}, build_registry()) if nested_fields(model) else None
        return model.model_validate(dict(params), context=around)

    def settings(self) -> Any:
        """The validated parameters."""
        try:
            return self.validated(self.params)
        except (SpecError, ValueError) as error:
            raise ConformanceError(
                f"{self.name}.Params does not take {dict(self.params)}: {error}. "
                "Give the case parameters that the component accepts."
            ) from error
