"""What a model's `compress` gives beside its strings' bytes: how many strings there are, and the shape.

Neither is written into a payload. The number of strings is the model's, and the shape follows from the picture's size,
which a file names in its header: nothing in a payload says how much memory a decoder takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from icm_core.errors import BitstreamError


def leaves(strings: object) -> list[bytes]:
    """The strings in lists of lists, in order.

    Raises:
        TypeError: something in them is no bytes object.
    """
    if isinstance(strings, bytes):
        return [strings]
    if isinstance(strings, (list, tuple)):
        return [string for part in strings for string in leaves(part)]
    raise TypeError(f"strings are lists of bytes, and one of them is of type {type(strings).__name__}")


def refilled(pattern: object, strings: Iterator[bytes]) -> Any:
    """Lists of lists like a pattern, of other strings."""
    return next(strings) if isinstance(pattern, bytes) else [refilled(part, strings) for part in pattern]  # type: ignore[attr-defined]


def scaled(one: Any, six: Any, rows: int, columns: int) -> Any:
    """The shape for a picture of some blocks by some blocks, from those for one block and for two by three.

    Args:
        one: the shape for one block: dicts, lists and tuples of whole numbers, and of what is always the same.
        six: the shape for two rows of three blocks.
        rows: of blocks.
        columns: of blocks.

    Raises:
        TypeError: the two do not tell how the shape grows.
    """
    if isinstance(one, Mapping) and isinstance(six, Mapping) and one.keys() == six.keys():
        return {key: scaled(value, six[key], rows, columns) for key, value in one.items()}
    if isinstance(one, (list, tuple)) and isinstance(six, (list, tuple)) and len(one) == len(six):
        parts = [scaled(a, b, rows, columns) for a, b in zip(one, six, strict=True)]
        return parts if isinstance(one, list) else tuple(parts)
    if isinstance(one, (int, str, type(None))) and one == six:
        return one
    if isinstance(one, int) and isinstance(six, int):
        for times, factor in ((2, rows), (3, columns), (6, rows * columns)):
            if six == times * one:
                return one * factor
    raise TypeError(f"{one} for one block and {six} for two by three do not tell how the shape grows with the picture")


def pack(strings: Sequence[bytes]) -> bytes:
    """Strings as one payload: the lengths of all but the last, seven bits a byte from the lowest, then the strings."""
    lengths = bytearray()
    for string in strings[:-1]:
        rest = len(string)
        while rest > 0x7F:
            lengths.append(rest & 0x7F | 0x80)
            rest >>= 7
        lengths.append(rest)
    return bytes(lengths) + b"".join(strings)


def unpack(payload: bytes, count: int) -> list[bytes]:
    """The strings in a payload.

    Raises:
        BitstreamError: `pack` has not written it.
    """
    at, lengths = 0, []
    for _ in range(count - 1):
        length, shift = 0, 0
        while True:
            if at == len(payload) or shift > 28:
                raise BitstreamError("a payload ends before its strings, or names a length that no encoder writes")
            byte = payload[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if byte == 0 and shift > 7:
            raise BitstreamError("a payload names a length in more bytes than an encoder writes")
        lengths.append(length)
    if sum(lengths) > len(payload) - at:
        raise BitstreamError(
            f"a payload of {len(payload)} bytes is cut or damaged: {sum(lengths)} would be those of its first strings"
        )
    strings = []
    for length in lengths:
        strings.append(payload[at : at + length])
        at += length
    return [*strings, payload[at:]]
