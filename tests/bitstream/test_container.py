import random
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_core.bitstream.container import MAGIC, Container, Layer, LayerKind, read, write
from icm_core.errors import BitstreamError, InputError
from icm_core.quality import Quality

BASE = Layer(LayerKind.BASE, b"\x01\x02\x03\x04", b"base payload")
ENHANCEMENT = Layer(LayerKind.ENHANCEMENT, b"\x05\x06\x07\x08", b"an enhancement payload")
BASE_ONLY = Container(32, 48, Quality(40), (BASE,))
BOTH = Container(32, 48, Quality(40), (BASE, ENHANCEMENT))
OWN = Container(
    32, 48, Quality(40), (BASE, Layer(LayerKind.ENHANCEMENT, b"\x05\x06\x07\x08", b"payload", b"", Quality(56)))
)
BASE_END = 9 + 13 + len(BASE.payload)


def layer_bytes(header: bytes, kind: int, payload: bytes) -> bytes:
    """A layer with a right CRC, whatever its kind."""
    start = struct.pack(">B4sI", kind, b"abcd", len(payload))
    return start + struct.pack(">I", zlib.crc32(header + start + payload)) + payload


def layers(kind: LayerKind) -> st.SearchStrategy[Layer]:
    """Layers of a kind, every other one with a control hash, and enhancements of a quality of their own."""
    four = st.binary(min_size=4, max_size=4)
    own = st.none() if kind is LayerKind.BASE else st.none() | st.integers(16, 255).map(Quality)
    return st.builds(Layer, st.just(kind), four, st.binary(max_size=200), st.just(b"") | four, own)


containers = st.builds(
    Container,
    height=st.integers(1, 1500),
    width=st.integers(1, 65535),
    quality=st.integers(16, 255).map(Quality),
    layers=st.tuples(layers(LayerKind.BASE)) | st.tuples(layers(LayerKind.BASE), layers(LayerKind.ENHANCEMENT)),
)


@given(containers)
def test_what_is_written_is_read(container: Container) -> None:
    assert read(write(container)) == container


@given(containers)
def test_overhead_is_22_bytes_for_the_base_13_for_the_enhancement_4_for_a_control_hash_and_1_for_a_quality(
    container: Container,
) -> None:
    payload = sum(len(layer.payload) for layer in container.layers)
    hashes = sum(layer.control != b"" for layer in container.layers)
    own = sum(layer.quality is not None for layer in container.layers)
    assert len(write(container)) - payload == container.overhead == 9 + 13 * len(container.layers) + 4 * hashes + own


@given(containers)
def test_the_base_layers_bytes_are_those_of_the_file_without_enhancement(container: Container) -> None:
    """What a task's rate counts: the whole file up to where the enhancement begins."""
    alone = Container(container.height, container.width, container.quality, container.layers[:1])
    assert write(container).startswith(write(alone))
    assert container.base_bytes == alone.base_bytes == len(write(alone)) == alone.overhead + len(container.base.payload)


def test_the_bytes_of_a_file_stay_what_they_are() -> None:
    assert write(Container(2, 3, Quality(40), (Layer(LayerKind.BASE, b"abcd", b"xy"),))).hex() == (
        "49434d" + "01" + "0002" + "0003" + "28" + "01" + "61626364" + "00000002" + "88268075" + "7879"
    )


def test_a_control_hash_stands_before_the_payload_and_is_told_by_the_layers_kind() -> None:
    header = struct.pack(">3sBHHB", MAGIC, 1, 2, 3, 40)
    start = struct.pack(">B4sI", 0x81, b"abcd", 2)
    crc = zlib.crc32(header + start + b"hash" + b"xy")
    blob = write(Container(2, 3, Quality(40), (Layer(LayerKind.BASE, b"abcd", b"xy", b"hash"),)))
    assert blob == header + start + struct.pack(">I", crc) + b"hash" + b"xy"


def test_an_enhancements_own_quality_stands_before_its_control_hash_and_is_told_by_its_kind() -> None:
    header = struct.pack(">3sBHHB", MAGIC, 1, 2, 3, 40)
    base = Layer(LayerKind.BASE, b"abcd", b"xy")
    fine = Layer(LayerKind.ENHANCEMENT, b"efgh", b"z", b"hash", Quality(56))
    start = struct.pack(">B4sI", 0xC2, b"efgh", 1)
    crc = zlib.crc32(header + start + b"\x38" + b"hash" + b"z")
    alone = write(Container(2, 3, Quality(40), (base,)))
    blob = write(Container(2, 3, Quality(40), (base, fine)))
    assert blob == alone + start + struct.pack(">I", crc) + b"\x38" + b"hash" + b"z"
    assert read(blob).enhancement_quality == Quality(56)


def test_an_enhancement_without_a_quality_of_its_own_has_the_files() -> None:
    assert read(write(BOTH)).enhancement_quality == Quality(40)
    assert read(write(BASE_ONLY)).enhancement_quality is None


def test_a_base_layer_has_no_quality_of_its_own() -> None:
    with pytest.raises(ValueError, match="the base layer's quality stands in the file's header"):
        write(Container(2, 3, Quality(40), (Layer(LayerKind.BASE, b"abcd", b"xy", quality=Quality(56)),)))
    header = struct.pack(">3sBHHB", MAGIC, 1, 2, 3, 40)
    with pytest.raises(BitstreamError, match="a layer of unknown kind 65 where its base layer should be"):
        read(header + layer_bytes(header, 0x41, b"\x38xy"))


def test_an_enhancements_quality_below_1_is_refused() -> None:
    header = struct.pack(">3sBHHB", MAGIC, 1, 2, 3, 40)
    start = struct.pack(">B4sI", 0x42, b"abcd", 1)
    layer = start + struct.pack(">I", zlib.crc32(header + start + b"\x0fz")) + b"\x0fz"
    with pytest.raises(BitstreamError, match=r"the file claims quality 0\.9375 of its enhancement; the lowest is 1"):
        read(header + layer_bytes(header, LayerKind.BASE, b"p") + layer)


@given(containers, st.data())
def test_a_flipped_bit_anywhere_is_noticed(container: Container, data: st.DataObject) -> None:
    blob = bytearray(write(container))
    bit = data.draw(st.integers(0, 8 * len(blob) - 1))
    blob[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BitstreamError):
        read(bytes(blob))


@pytest.mark.parametrize("container", [BASE_ONLY, BOTH, OWN], ids=["base only", "both", "two qualities"])
def test_every_flipped_bit_of_a_file_is_noticed(container: Container) -> None:
    blob = write(container)
    for bit in range(8 * len(blob)):
        flipped = bytearray(blob)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BitstreamError):
            read(bytes(flipped))


@pytest.mark.parametrize("end", range(BASE_END))
def test_a_cut_before_the_base_layers_end_is_an_error(end: int) -> None:
    with pytest.raises(BitstreamError, match=r"cut|not an \.icm file"):
        read(write(BOTH)[:end])


def test_a_cut_exactly_behind_the_base_layer_is_a_base_only_file() -> None:
    assert read(write(BOTH)[:BASE_END]) == BASE_ONLY


@pytest.mark.parametrize("end", range(BASE_END + 1, len(write(BOTH))))
def test_a_cut_in_the_enhancement_layer_leaves_the_base(end: int) -> None:
    container = read(write(BOTH)[:end])
    assert container.truncated
    assert container.base == BASE
    assert container.enhancement is None


@given(containers, st.data())
def test_every_cut_reads_as_base_only_or_is_an_error(container: Container, data: st.DataObject) -> None:
    blob = write(container)
    end = data.draw(st.integers(0, len(blob) - 1))
    try:
        assert read(blob[:end]).layers == (container.base,)
    except BitstreamError:
        assert end < container.base_bytes
    else:
        assert end >= container.base_bytes


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: MAGIC + b"\x01" + tail))
def test_random_bytes_raise_nothing_but_a_bitstream_error(blob: bytes) -> None:
    with pytest.raises(BitstreamError):
        read(blob)


@given(containers, st.binary(min_size=1, max_size=20))
def test_bytes_behind_the_enhancement_layer_are_an_error(container: Container, tail: bytes) -> None:
    both = Container(container.height, container.width, container.quality, (container.base, ENHANCEMENT))
    with pytest.raises(BitstreamError, match="after its last layer"):
        read(write(both) + tail)


def test_another_format_is_named() -> None:
    with pytest.raises(BitstreamError, match=r"not an \.icm file"):
        read(b"\x89PNG\r\n\x1a\n" + bytes(40))


def test_an_empty_file_is_named() -> None:
    with pytest.raises(BitstreamError, match="it has 0 bytes"):
        read(b"")


def test_a_newer_version_is_named() -> None:
    blob = bytearray(write(BASE_ONLY))
    blob[3] = 2
    with pytest.raises(BitstreamError, match="format version 2; this program reads version 1"):
        read(bytes(blob))


@pytest.mark.parametrize(("height", "width"), [(0, 5), (5, 0), (65535, 65535)])
def test_an_absurd_size_is_refused_before_anything_is_read(height: int, width: int) -> None:
    header = struct.pack(">3sBHHB", MAGIC, 1, height, width, 16)
    with pytest.raises(BitstreamError, match=f"{width}x{height} pixels"):
        read(header + layer_bytes(header, LayerKind.BASE, b"p"))


def test_the_limit_of_pixels_can_be_set() -> None:
    blob = write(BASE_ONLY)
    assert read(blob, max_pixels=32 * 48).height == 32
    with pytest.raises(BitstreamError, match="1 to 1535 pixels"):
        read(blob, max_pixels=32 * 48 - 1)


def test_a_huge_length_allocates_nothing() -> None:
    header = struct.pack(">3sBHHB", MAGIC, 1, 8, 8, 16)
    with pytest.raises(BitstreamError, match="inside its base layer"):
        read(header + struct.pack(">B4sII", 1, b"abcd", 0xFFFFFFFF, 0) + b"p")


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ([], "inside its base layer"),
        ([2], "no base layer"),
        ([2, 1], "no base layer"),
        ([1, 1], "two base layers"),
        ([1, 2, 2], "after its last layer"),
        ([1, 7], "unknown kind 7"),
        ([0], "unknown kind 0"),
    ],
)
def test_other_layers_than_base_and_enhancement_are_an_error(kinds: list[int], message: str) -> None:
    header = struct.pack(">3sBHHB", MAGIC, 1, 8, 8, 16)
    with pytest.raises(BitstreamError, match=message):
        read(header + b"".join(layer_bytes(header, kind, b"payload") for kind in kinds))


@pytest.mark.parametrize(("height", "width"), [(0, 1), (1, 65536)])
def test_a_picture_that_does_not_fit_the_header_is_not_written(height: int, width: int) -> None:
    with pytest.raises(InputError, match=f"{width}x{height}"):
        write(Container(height, width, Quality(16), (BASE,)))


@pytest.mark.parametrize(("height", "width"), [(10_000, 10_000), (65_535, 1525), (1, 65_535), (1, 1)])
def test_pictures_of_up_to_100_million_pixels_are_written_and_read(height: int, width: int) -> None:
    assert read(write(Container(height, width, Quality(16), (BASE,)))).width == width


@pytest.mark.parametrize(("height", "width"), [(10_000, 10_001), (65_535, 1526)])
def test_larger_pictures_are_neither_written_nor_read(height: int, width: int) -> None:
    with pytest.raises(InputError, match=f"{width}x{height} pixels is too large: the limit is 100000000 pixels"):
        write(Container(height, width, Quality(16), (BASE,)))
    header = struct.pack(">3sBHHB", MAGIC, 1, height, width, 16)
    with pytest.raises(BitstreamError, match=f"claims a picture of {width}x{height} pixels; 1 to 100000000"):
        read(header + layer_bytes(header, LayerKind.BASE, b"p"))


def test_layers_in_another_order_are_not_written() -> None:
    with pytest.raises(ValueError, match="layers"):
        write(Container(8, 8, Quality(16), (ENHANCEMENT, BASE)))


def test_noise_after_a_right_header_is_an_error() -> None:
    source = random.Random(1)
    header = struct.pack(">3sBHHB", MAGIC, 1, 8, 8, 16)
    for _ in range(500):
        with pytest.raises(BitstreamError):
            read(header + b"\x01" + source.randbytes(source.randrange(60)))
