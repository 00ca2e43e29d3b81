"""The largest pictures and lowest qualities of a file, where its base layer ends, and what it says of itself."""

from __future__ import annotations

import struct
import zlib

import pytest

from icm_core.bitstream.about import about, layer_rows
from icm_core.bitstream.container import MAX_PIXELS, Container, Layer, LayerKind, base_length, check_size, read, write
from icm_core.bitstream.split import apart, join, split
from icm_core.errors import BitstreamError, InputError
from icm_core.quality import Quality

BASE = Layer(LayerKind.BASE, b"abcd", b"five!", b"hash")
PLAIN = Layer(LayerKind.BASE, b"abcd", b"xy")
FINE = Layer(LayerKind.ENHANCEMENT, b"efgh", b"seven!!", b"", Quality(56))


def file(height: int = 30, width: int = 40, step: int = 40, *layers: Layer) -> Container:
    return Container(height, width, Quality(step), layers or (BASE,))


def claiming(height: int, width: int) -> bytes:
    """A whole file of a size that `write` might refuse."""
    header, start = struct.pack(">3sBHHB", b"ICM", 1, height, width, 40), struct.pack(">B4sI", 1, b"abcd", 1)
    return header + start + struct.pack(">I", zlib.crc32(header + start + b"p")) + b"p"


def test_a_hundred_million_pixels_are_the_most() -> None:
    assert MAX_PIXELS == 100_000_000
    assert read(write(file(10_000, 10_000))).height == 10_000
    check_size(65_535, 1)
    check_size(1, 65_535)
    with pytest.raises(InputError, match="a picture of 10001x10000 pixels is too large: the limit is 100000000 pixels"):
        write(file(10_000, 10_001))
    for height, width in ((65_536, 1), (1, 65_536), (0, 1), (1, 0)):
        with pytest.raises(InputError, match=f"a picture of {width}x{height} pixels does not fit"):
            check_size(height, width)


def test_a_reader_sets_its_own_limit_higher_or_lower() -> None:
    blob = write(file(30, 40))
    assert read(blob, max_pixels=1200).width == 40
    with pytest.raises(BitstreamError, match="claims a picture of 40x30 pixels; 1 to 1199 pixels are accepted"):
        read(blob, max_pixels=1199)
    large = claiming(20_000, 30_000)
    assert read(large, max_pixels=600_000_000).width == 30_000
    with pytest.raises(BitstreamError, match="claims a picture of 30000x20000 pixels"):
        read(large)


def test_parts_are_read_within_the_readers_limit() -> None:
    base, part = split(write(file(30, 40, 40, BASE, FINE)), max_pixels=1200)
    assert join(base, part, max_pixels=1200) == write(file(30, 40, 40, BASE, FINE))
    with pytest.raises(BitstreamError, match="1 to 1199 pixels are accepted"):
        split(join(base, part), max_pixels=1199)
    with pytest.raises(BitstreamError, match="1 to 1199 pixels are accepted"):
        join(base, part, max_pixels=1199)


def test_1_is_the_lowest_quality_of_both_layers() -> None:
    fine = Layer(LayerKind.ENHANCEMENT, b"efgh", b"z", b"", Quality(16))
    found = read(write(file(2, 3, 16, BASE, fine)))
    assert (found.quality.value, found.enhancement_quality) == (1.0, Quality(16))


@pytest.mark.parametrize("more", [1, 2, 20])
def test_not_a_byte_may_stand_behind_the_last_layer(more: int) -> None:
    with pytest.raises(BitstreamError, match=f"the file has {more} more bytes after its last layer"):
        read(write(file(2, 3, 40, BASE, FINE)) + bytes(more))


@pytest.mark.parametrize(("base", "length"), [(BASE, 9 + 13 + 4 + 5), (PLAIN, 9 + 13 + 2)])
def test_a_base_layers_end_is_known_from_its_headers_alone(base: Layer, length: int) -> None:
    whole = write(file(2, 3, 40, base, FINE))
    assert base_length(whole) == base_length(whole[:22]) == length == read(whole).base_bytes
    assert apart(whole) == (whole[:length], whole[length:])
    with pytest.raises(BitstreamError, match="it ends after 21 bytes, inside its base layer"):
        base_length(whole[:21])


def test_a_file_says_of_itself_what_it_is() -> None:
    container = file(30, 40, 40, BASE, FINE)
    blob = write(container)
    assert len(blob) == 9 + (13 + 4 + 5) + (13 + 1 + 7)
    told = about(container, len(blob), "small")
    bits = 8 * 52 / 1200
    expected = {"pipeline": "small", "height": 30, "width": 40, "quality": 2.5, "bytes": 52, "bpp": bits}
    assert told == {**expected, "truncated": False}
    assert layer_rows(container) == [
        {"kind": "base", "quality": 2.5, "bytes": 5, "control": b"hash".hex()},
        {"kind": "enhancement", "quality": 3.5, "bytes": 7, "control": None},
    ]


def test_a_cut_file_says_so() -> None:
    cut = write(file(30, 40, 40, BASE, FINE))[:-1]
    found = read(cut)
    assert about(found, len(cut), "small")["truncated"] is True
    assert [row["kind"] for row in layer_rows(found)] == ["base"]
