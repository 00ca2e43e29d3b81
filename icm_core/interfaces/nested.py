"""`Nested`: a parameter that is a component itself, so that one component can be built around any other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, get_args, get_origin

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from icm_core.interfaces.component import Component, ComponentParams

C = TypeVar("C", bound=Component, covariant=True)
D = TypeVar("D", bound=Component)

CONTRACT = "x-icm-contract"
"""Key in the JSON Schema of a nested component's field: the name of its contract."""


class LookUp(Protocol):
    """What is known where parameters are validated; the look-up hands it over as pydantic's context."""

    @property
    def files(self) -> Mapping[str, Path]:
        """Where the files are that parameters name, by field, of nested ones ``"codec.params.file"``."""

    def nested(self, contract: type[Component], field: str, use: str, params: Mapping[str, Any]) -> Nested[Any]:
        """The component that a field names; `SpecError` begins with the field's whole path."""


class Nested(Generic[C]):
    """A component inside of another, as a parameter names it: ``{"use": "baselines.jpeg", "params": {...}}``.

    A field of a component's ``Params`` says of which contract it is::

        class Params(ComponentParams):
            codec: Nested[Codec] = Field(description="what codes the filtered picture")

    and the component keeps what it builds under the field's name, ``self.codec = params.codec.build()``: weights,
    recipes and specs then know it by one path. A spec that extends another can change it as it changes any component:
    where ``use`` becomes another, ``params`` and inherited weights of the old one go.

    Args:
        use: registered name.
        cls: the class.
        params: its validated parameters.
    """

    # No dataclass: pydantic would make a schema of its fields and not ask the class.
    def __init__(self, use: str, cls: type[C], params: ComponentParams) -> None:
        self.use, self.cls, self.params = use, cls, params

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Nested) and (self.cls, self.params) == (other.cls, other.params)

    def __hash__(self) -> int:
        return hash((self.cls, self.params))

    def __repr__(self) -> str:
        return f"Nested({self.use!r}, {self.params!r})"

    @classmethod
    def of(cls, component: type[D], **params: Any) -> Nested[D]:
        """A component by its class, for those who write no JSON.

        Args:
            component: the class.
            params: its parameters.
        """
        return Nested(component.name, component, component.Params.model_validate(params))

    def build(self, *given: Any) -> C:
        """The component, with untrained weights.

        Args:
            given: what its contract's constructor takes beside the parameters: a layout, or features.
        """
        return self.cls(self.params, *given)

    def to_json(self) -> dict[str, Any]:
        """As it stands in a spec, with all parameters."""
        return {"use": self.use, "params": self.params.model_dump(mode="json")}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del handler
        contract = _contract(source)

        def found(value: object, info: core_schema.ValidationInfo) -> Nested[Any]:
            return _found(contract, value, info)

        return core_schema.with_info_plain_validator_function(
            found,
            serialization=core_schema.plain_serializer_function_ser_schema(Nested.to_json),
            metadata={CONTRACT: contract.__name__},
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        del handler
        return {
            "type": "object",
            "properties": {"use": {"type": "string"}, "params": {"type": "object"}},
            "required": ["use"],
            "additionalProperties": False,
            CONTRACT: schema["metadata"][CONTRACT],
        }


def nested_fields(model: type[BaseModel]) -> dict[str, type[Component]]:
    """Fields of a component's ``Params`` that are components, with their contracts."""
    found = {name: _nested_in(field.annotation) for name, field in model.model_fields.items()}
    return {name: contract for name, contract in found.items() if contract is not None}


def _nested_in(annotation: Any) -> type[Component] | None:
    if get_origin(annotation) is Nested:
        return _contract(annotation)
    return next(filter(None, map(_nested_in, get_args(annotation))), None)


def _contract(annotation: Any) -> type[Component]:
    given = get_args(annotation)
    if len(given) != 1 or not (isinstance(given[0], type) and issubclass(given[0], Component)):
        raise TypeError(f"{annotation} names no contract; a field's type is like Nested[Codec]")
    return given[0]


def _found(contract: type[Component], value: object, info: core_schema.ValidationInfo) -> Nested[Any]:
    if isinstance(value, Nested):
        if not issubclass(value.cls, contract):
            raise ValueError(f"it should be a {contract.__name__}, and {value.use} is none")
        return value
    use = value.get("use") if isinstance(value, Mapping) else None
    params = value.get("params", {}) if isinstance(value, Mapping) else None
    if not (isinstance(use, str) and isinstance(params, Mapping) and isinstance(value, Mapping)):
        raise ValueError('it should be a component, such as {"use": "plugin.component", "params": {}}')
    if more := sorted(map(str, value.keys() - {"use", "params"})):
        raise ValueError(f"a component has the fields use and params, and no {more[0]}")
    if info.context is None:
        raise ValueError(
            "names of components are looked up where a spec is read; without one, give Nested.of(its class)"
        )
    where: LookUp = info.context
    return where.nested(contract, info.field_name or "", use, params)
