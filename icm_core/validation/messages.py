"""pydantic's validation errors as one sentence: which field, what was found, what would be right."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from icm_registry import nearest

_MAX_VALUE = 60


def explain(error: ValidationError, model: type[BaseModel], data: object, where: str = "") -> str:
    """One sentence about the first thing that is wrong.

    Args:
        error: what validating ``data`` as ``model`` raised.
        model: the model.
        data: what was validated; shows which parts of an error's location are fields.
        where: path of ``data`` in its file, e.g. ``"codec.params"``.
    """
    found = error.errors(include_url=False)
    first = found[0]
    path = _fields(first, data)
    sentence = _sentence(first, path, model, where)
    more = len({tuple(_fields(item, data)) for item in found}) - 1
    return f"{sentence} (and {more} more)" if more else sentence


def _sentence(item: Mapping[str, Any], path: list[str | int], model: type[BaseModel], where: str) -> str:
    name = _dotted([where, *path] if where else path)
    kind, value, message = item["type"], item.get("input"), str(item["msg"])
    if kind == "extra_forbidden":
        known = sorted(_known(model, path[:-1]))
        parent = _dotted([where, *path[:-1]] if where else path[:-1])
        guess = nearest(str(path[-1]), known)
        hint = f"did you mean {guess!r}? known: " if guess else "known: "
        place = f" in {parent}" if parent else ""
        return f"unknown field {path[-1]!r}{place}; {hint}{', '.join(known) or 'none'}"
    if kind == "missing":
        return f"the field {name} is missing"
    if kind == "value_error":
        message = message.removeprefix("Value error, ")
    else:
        message = message.replace("Input should", "it should", 1)
    subject = f"{name} is" if name else "it is"
    return f"{subject} {_short(value)}; {message[:1].lower()}{message[1:]}"


def _fields(item: Mapping[str, Any], data: object) -> list[str | int]:
    """The error's location without what pydantic adds to it, such as the names of union members."""
    path: list[str | int] = []
    current = data
    location: Sequence[str | int] = item["loc"]
    for index, part in enumerate(location):
        absent = item["type"] == "missing" and index == len(location) - 1
        if isinstance(current, Mapping) and (part in current or absent):
            path.append(part)
            current = current.get(part)
        elif isinstance(current, (list, tuple)) and isinstance(part, int) and part < len(current):
            path.append(part)
            current = current[part]
    return path


def _known(annotation: Any, path: Sequence[str | int]) -> set[str]:
    """Names of the fields that stand at ``path`` inside an annotation."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _known(get_args(annotation)[0], path)
    if origin in (Union, types.UnionType):
        return set().union(*(_known(member, path) for member in get_args(annotation)))
    if origin is None and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = {field.alias or name: field.annotation for name, field in annotation.model_fields.items()}
        if not path:
            return set(fields)
        return _known(fields[str(path[0])], path[1:]) if path[0] in fields else set()
    arguments = [argument for argument in get_args(annotation) if argument is not Ellipsis]
    return _known(arguments[-1], path[1:]) if path and arguments else set()


def _dotted(path: Iterable[str | int]) -> str:
    """``["tasks", "a", 0]`` as ``tasks.a[0]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_VALUE else f"{text[: _MAX_VALUE - 3]}..."
