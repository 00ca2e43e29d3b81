"""JSON from files that somebody else may have written: bounded, without duplicate keys, without NaN."""

from __future__ import annotations

import json
import re
from pathlib import Path

from icm_core.errors import SpecError

MAX_BYTES = 1_000_000
MAX_DEPTH = 32

_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\Z)|[\[\]{}]', re.DOTALL)


def read_json(path: Path, *, max_bytes: int = MAX_BYTES) -> object:
    """The value in a UTF-8 JSON file.

    Raises:
        SpecError: the file cannot be read, is too large or too deeply nested, or is not JSON.
    """
    try:
        if not path.is_file():
            raise SpecError(f"{path}: no such file")
        with path.open("rb") as file:
            raw = file.read(max_bytes + 1)
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error}") from error
    if len(raw) > max_bytes:
        raise SpecError(f"{path}: larger than {max_bytes} bytes, the limit of a spec")
    try:
        return parse_json(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not UTF-8 text (byte {error.start})") from error
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error


def parse_json(text: str) -> object:
    """The value of a JSON text; `SpecError` if it is not JSON, nests deeper than 32, or repeats a key."""
    # Measured before parsing: Python's parser recurses.
    depth = 0
    for token in _BRACKETS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth > MAX_DEPTH:
            raise SpecError(f"nested deeper than {MAX_DEPTH} levels")
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise SpecError(f"not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})") from error
    except ValueError as error:  # an integer of thousands of digits
        raise SpecError(f"not valid JSON: {str(error).split(';')[0]}") from error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise SpecError(f"the key {key!r} stands twice in one object")
        found[key] = value
    return found


def _no_constant(name: str) -> object:
    raise SpecError(f"{name} is not a JSON number")
