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


def test_a_base_layer_names_no_quality_not_even_the_files_own() -> None:
    with pytest.raises(ValueError, match="the base layer's quality stands in the file's header"):
        write(file(2, 3, 40, Layer(LayerKind.BASE, b"abcd", b"xy", b"", Quality(40))))


@pytest.mark.parametrize("length", [1, 3, 5, 8])
def test_hashes_and_fingerprints_have_four_bytes(length: int) -> None:
    for layers in (
        (Layer(LayerKind.BASE, b"abcd", b"xy", bytes(length)),),
        (BASE, Layer(FINE.kind, bytes(length), b"z")),
    ):
        what = "control hash" if len(layers) == 1 else "fingerprint"
        with pytest.raises(ValueError, match=f"a {what} has 4 bytes, not {length}"):
            write(file(2, 3, 40, *layers))


@pytest.mark.parametrize("layers", [(), (FINE,), (BASE, BASE), (FINE, BASE), (BASE, FINE, FINE)], ids=len)
def test_a_file_is_a_base_layer_and_at_most_one_enhancement(layers: tuple[Layer, ...]) -> None:
    with pytest.raises(ValueError, match=r"are not \(BASE,\) or \(BASE, ENHANCEMENT\)"):
        write(Container(2, 3, Quality(40), layers))


@pytest.mark.parametrize(
    ("layers", "overhead", "base_bytes"),
    [
        ((PLAIN,), 22, 24),
        ((BASE,), 26, 31),
        ((PLAIN, FINE), 22 + 14, 24),
        ((BASE, FINE), 26 + 14, 31),
        ((PLAIN, Layer(LayerKind.ENHANCEMENT, b"efgh", b"seven!!", b"hash")), 22 + 17, 24),
    ],
)
def test_what_is_no_payload_is_counted_layer_by_layer(
    layers: tuple[Layer, ...], overhead: int, base_bytes: int
) -> None:
    found = read(write(file(2, 3, 40, *layers)))
    assert (found.overhead, found.base_bytes) == (overhead, base_bytes)
    assert found.base == layers[0]
    assert found.enhancement == (layers[1] if len(layers) == 2 else None)


def test_layers_may_be_empty_and_the_file_may_end_with_one() -> None:
    empty = Layer(LayerKind.BASE, b"abcd", b"")
    for layers in ((empty,), (empty, Layer(LayerKind.ENHANCEMENT, b"efgh", b""))):
        found = read(write(file(2, 3, 40, *layers)))
        assert found.layers == layers and not found.truncated


PLACES = {"height": 5, "width": 7, "quality": 8, "fingerprint": 10, "payload": 27, "control hash": 22}


@pytest.mark.parametrize("place", PLACES)
def test_damage_is_told_with_the_layer_that_it_is_in(place: str) -> None:
    blob = bytearray(write(file(2, 3, 40, BASE, FINE)))
    blob[PLACES[place]] ^= 64
    with pytest.raises(BitstreamError, match=r"the file is damaged: the checksum of its base layer does not match$"):
        read(bytes(blob))
    blob = bytearray(write(file(2, 3, 40, BASE, FINE)))
    blob[-1] ^= 1
    with pytest.raises(BitstreamError, match=r"the checksum of its enhancement layer does not match$"):
        read(bytes(blob))


@pytest.mark.parametrize("flags", [0x40, 0x80, 0xC0])
@pytest.mark.parametrize("payload", [b"", b"z"])
def test_a_flag_that_was_set_or_lost_is_damage_and_no_cut(flags: int, payload: bytes) -> None:
    """With another flag the layer would have to be longer, and a file that was cut there reads as base-only."""
    blob = bytearray(write(file(2, 3, 40, PLAIN, Layer(LayerKind.ENHANCEMENT, b"efgh", payload))))
    blob[24] ^= flags
    with pytest.raises(BitstreamError, match="the checksum of its enhancement layer does not match"):
        read(bytes(blob))
    own = Layer(
        LayerKind.ENHANCEMENT, b"efgh", payload, b"hash" if flags & 0x80 else b"", Quality(56) if flags & 0x40 else None
    )
    blob = bytearray(write(file(2, 3, 40, PLAIN, own)))
    struct.pack_into(">I", blob, 24 + 5, len(payload) + 1)  # a length that was damaged
    with pytest.raises(BitstreamError, match="the checksum of its enhancement layer does not match"):
        read(bytes(blob))


def test_a_base_layer_has_no_flag_of_a_quality_even_with_a_right_checksum() -> None:
    header, start = struct.pack(">3sBHHB", b"ICM", 1, 2, 3, 40), struct.pack(">B4sI", 0x41, b"abcd", 1)
    blob = header + start + struct.pack(">I", zlib.crc32(header + start + b"\x38p")) + b"\x38p"
    with pytest.raises(BitstreamError, match="a layer of unknown kind 65 where its base layer should be"):
        read(blob)


def test_what_comes_apart_is_not_looked_into() -> None:
    """The base layer holds what an enhancement part begins with."""
    whole = write(file(2, 3, 40, Layer(LayerKind.BASE, b"ICE1", b"ICEICE"), FINE))
    base, part = split(whole)
    assert apart(base + part) == (base, part)
    assert join(*apart(base + part)) == whole
    assert apart(base + b"anything") == (base, b"anything")


def test_a_part_names_its_base_layer_by_the_picture_and_the_checksum() -> None:
    base, part = split(write(file(2, 3, 40, PLAIN, FINE)))
    assert part[:13] == b"ICE" + base[3:9] + base[18:22]
    assert struct.unpack(">I", part[9:13])[0] == zlib.crc32(base[:18] + base[22:])
    changed = bytearray(part)
    changed[6] ^= 1  # of the picture's height alone
    with pytest.raises(BitstreamError, match="belongs to another file"):
        join(base, bytes(changed))
