"""Single values of a spec or recipe changed from outside: ``stages.fine.schedule.steps=100``."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable

from pydantic import JsonValue

from icm_core.errors import SpecError
from icm_registry import unknown


def with_changes(data: JsonValue, changes: Iterable[str]) -> JsonValue:
    """JSON data with some of its values replaced; the data given are not changed.

    Args:
        data: the data.
        changes: each ``path=value``. A path's parts are keys, and in lists numbers or the ``name`` of an item. A value
            is JSON, or text where it is not.

    Raises:
        SpecError: a change has no ``=``, or its path leads through something that is not there.
    """
    changed = copy.deepcopy(data)
    for change in changes:
        path, equals, text = change.partition("=")
        if not equals or not path:
            raise SpecError(f"the change {change!r} is not of the form path=value, such as stages.fine.clip=1.0")
        _put(changed, path, path.split("."), _value(text))
    return changed


def _value(text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(text)
    except (ValueError, RecursionError):  # a ValueError, too, is a number of too many digits
        return text
    return value


def _put(data: JsonValue, path: str, parts: list[str], value: JsonValue) -> None:
    here = data
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        where = ".".join(parts[:depth]) or "it"
        if isinstance(here, dict):
            if last:
                here[part] = value
                return
            # An object that is left out means its defaults, so that values inside it can be given.
            here = here.setdefault(part, {})
        elif isinstance(here, list):
            number = _number(here, part, where)
            if last:
                here[number] = value
                return
            here = here[number]
        else:
            raise SpecError(f"the change of {path!r} leads into {where}, which is {here!r}")


def _number(items: list[JsonValue], part: str, where: str) -> int:
    names = [str(item.get("name", "")) if isinstance(item, dict) else str(item) for item in items]
    if part.isdecimal() and int(part) < len(items):
        return int(part)
    if names.count(part) == 1:
        return names.index(part)
    known = [name for name in names if name] or [str(number) for number in range(len(items))]
    raise SpecError(f"in {where}: {unknown('item', part, known)}")
