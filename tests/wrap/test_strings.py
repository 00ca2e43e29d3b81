"""Strings of a model in a payload, written out byte by byte."""

from __future__ import annotations

from typing import Any

import pytest

from icm_core import BitstreamError
from icm_core.wrap.strings import leaves, pack, refilled, scaled, unpack

ANY = b"ab"


@pytest.mark.parametrize(
    ("strings", "payload"),
    [
        ([b""], b""),
        ([b"abc"], b"abc"),  # a single string has nothing before it
        ([b"", b""], b"\x00"),
        ([b"ab", b"c"], b"\x02abc"),
        ([b"ab", b"", b"cde"], b"\x02\x00abcde"),
        ([bytes(0x7F), ANY], b"\x7f" + bytes(0x7F) + ANY),
        ([bytes(0x80), ANY], b"\x80\x01" + bytes(0x80) + ANY),
        ([bytes(0x81), ANY], b"\x81\x01" + bytes(0x81) + ANY),
        ([bytes(300), ANY, bytes(200)], b"\xac\x02\x02" + bytes(300) + ANY + bytes(200)),
        ([bytes(0x3FFF), ANY], b"\xff\x7f" + bytes(0x3FFF) + ANY),
        ([bytes(0x4000), ANY], b"\x80\x80\x01" + bytes(0x4000) + ANY),
        ([bytes(0x20_0005), ANY], b"\x85\x80\x80\x01" + bytes(0x20_0005) + ANY),
    ],
    ids=lambda value: None,
)
def test_lengths_have_seven_bits_a_byte_from_the_lowest(strings: list[bytes], payload: bytes) -> None:
    assert pack(strings) == payload
    assert unpack(payload, len(strings)) == strings


@pytest.mark.parametrize(
    ("payload", "count", "says"),
    [
        (b"", 2, "ends before its strings"),
        (b"\x80", 2, "ends before its strings"),
        (b"\x00", 3, "ends before its strings"),
        (b"\x80\x80\x80\x80\x80\x01", 2, "a length that no encoder writes"),
        (b"\x80\x00", 2, "in more bytes than an encoder writes"),
        (b"\x81\x80\x00a", 2, "in more bytes than an encoder writes"),
        (b"\x01\x80\x00a", 3, "in more bytes than an encoder writes"),
        (b"\x03ab", 2, "3 would be those of its first strings"),
        (b"\x01\x02ab", 3, "3 would be those of its first strings"),
        (b"\xff\xff\xff\xff\x0f", 2, "of 5 bytes is cut or damaged: 4294967295 would be"),
    ],
)
def test_what_no_encoder_writes_is_refused(payload: bytes, count: int, says: str) -> None:
    with pytest.raises(BitstreamError, match=says):
        unpack(payload, count)


def test_a_string_that_fills_the_payload_leaves_nothing_for_the_last() -> None:
    assert unpack(b"\x02ab", 2) == [b"ab", b""]


def test_strings_are_found_in_lists_and_tuples_and_put_back_in_order() -> None:
    nested: Any = [[b"a", (b"b", [])], b"c", ((b"d",),)]
    assert leaves(nested) == [b"a", b"b", b"c", b"d"]
    assert leaves(b"a") == [b"a"] and leaves([]) == []
    assert refilled(nested, iter([b"1", b"2", b"3", b"4"])) == [[b"1", [b"2", []]], b"3", [[b"4"]]]
    assert refilled(b"a", iter([b"1", b"2"])) == b"1"
    for wrong in ("text", [b"a", None], [bytearray(b"a")], {"y": b"a"}):
        with pytest.raises(TypeError, match="strings are lists of bytes, and one of them is of type"):
            leaves(wrong)


@pytest.mark.parametrize(
    ("one", "six", "shape"),
    [
        (4, 8, 4 * 5),  # rows
        (4, 12, 4 * 7),  # columns
        (4, 24, 4 * 35),  # both
        (4, 4, 4),
        (0, 0, 0),
        ([4, (2, 3)], [8, (6, 3)], [20, (14, 3)]),
        ((4,), [8], (20,)),
        ({"y": {"z": [1, 1]}, "n": "a"}, {"y": {"z": [2, 3]}, "n": "a"}, {"y": {"z": [5, 7]}, "n": "a"}),
        (None, None, None),
    ],
)
def test_shapes_of_five_rows_of_seven_blocks(one: Any, six: Any, shape: Any) -> None:
    found = scaled(one, six, 5, 7)
    assert found == shape and type(found) is type(shape)
    with pytest.raises(TypeError, match="do not tell how the shape grows"):
        scaled(4, 20, 5, 7)


@pytest.mark.parametrize(
    ("one", "six"),
    [({"a": 1}, {"a": 2, "b": 2}), ({"a": 1, "b": 1}, {"a": 2}), ([1], [2, 2]), ([1], {"a": 2}), (1.0, 2.0), (2, 2.5)],
)
def test_shapes_that_are_built_otherwise_tell_nothing(one: Any, six: Any) -> None:
    with pytest.raises(TypeError, match="do not tell how the shape grows"):
        scaled(one, six, 5, 7)
