"""`SpecPath`: a parameter that names a file or folder beside the spec."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema
from typing_extensions import Self

from icm_core.errors import SpecError
from icm_core.files import check_inside


class SpecPath(str):
    """A file or folder beside a spec, as a parameter names it: relative to the spec's folder and inside it.

    A field of a component's ``Params`` has it as its type::

        class Params(ComponentParams):
            file: SpecPath = Field(description="the network")

    and the component reads ``params.file.path``. In JSON it is the name. Where the name leads is known of specs that
    were read from files (`icm_core.spec.extends.compose`); it stays known where a spec that another file extends names
    it. What it names belongs to the pipeline as its weights do: runs and exports take copies of it along.

    Args:
        name: the name as the spec has it.
        place: where that is; None: not known.
    """

    _place: Path | None

    def __new__(cls, name: str, place: Path | None = None) -> Self:  # noqa: D102
        made = super().__new__(cls, name)
        made._place = place
        return made

    @property
    def path(self) -> Path:
        """Where it is; `SpecError` if the spec was not read from a file."""
        if self._place is None:
            raise SpecError(f"{str(self)!r} is found from the folder of a spec's file, and this spec is from no file")
        return self._place

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        return core_schema.with_info_plain_validator_function(
            cls._found, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        del schema
        return handler(core_schema.str_schema(min_length=1, max_length=1000))

    @classmethod
    def _found(cls, value: object, info: core_schema.ValidationInfo) -> SpecPath:
        if isinstance(value, SpecPath) and value._place is not None:
            return value
        if not (isinstance(value, str) and 0 < len(value) <= 1000):
            raise ValueError("it should be the path of a file, relative to the spec's folder")
        check_inside(value, "a file")
        places: Mapping[str, Path] = {} if info.context is None else info.context.files
        return cls(value, places.get(info.field_name or ""))


def path_fields(model: type[BaseModel]) -> tuple[str, ...]:
    """Fields of a component's ``Params`` that name files or folders beside the spec."""
    return tuple(name for name, field in model.model_fields.items() if _names_path(field.annotation))


def _names_path(annotation: Any) -> bool:
    if isinstance(annotation, type):
        return issubclass(annotation, SpecPath)
    return any(map(_names_path, get_args(annotation)))
