"""Layers that travel apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_core.bitstream.container import Container, Layer, LayerKind, read, write
from icm_core.bitstream.split import apart, join, split
from icm_core.errors import BitstreamError, InputError
from icm_core.quality import Quality


def file(base: bytes = b"base", fine: bytes = b"fine", control: bytes = b"", height: int = 32) -> bytes:
    one = Layer(LayerKind.BASE, b"abcd", base, control)
    two = Layer(LayerKind.ENHANCEMENT, b"efgh", fine, control)
    return write(Container(height, 48, Quality(40), (one, two)))


@given(st.binary(max_size=50), st.binary(max_size=50), st.sampled_from([b"", b"1234"]))
def test_joining_gives_back_the_very_bytes(base: bytes, fine: bytes, control: bytes) -> None:
    blob = file(base, fine, control)
    one, two = split(blob)
    assert join(one, two) == blob
    assert one == blob[: len(one)] and read(one).enhancement is None and not read(one).truncated
    assert len(two) == len(blob) - len(one) + 13


def test_a_file_that_was_cut_is_completed_by_its_enhancement() -> None:
    blob = file()
    _, two = split(blob)
    for end in range(read(blob).base_bytes, len(blob)):
        assert join(blob[:end], two) == blob


@pytest.mark.parametrize("other", [file(base=b"bose"), file(height=33), file(control=b"wxyz")])
def test_a_wrong_pair_is_refused(other: bytes) -> None:
    with pytest.raises(BitstreamError, match="belongs to another file"):
        join(split(file())[0], split(other)[1])


def test_every_flipped_bit_of_an_enhancement_part_is_noticed() -> None:
    one, two = split(file(control=b"1234"))
    for bit in range(8 * len(two)):
        flipped = bytearray(two)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BitstreamError):
            join(one, bytes(flipped))


def test_every_cut_and_every_tail_of_an_enhancement_part_is_noticed() -> None:
    one, two = split(file())
    for wrong in [*(two[:end] for end in range(len(two))), two + b"\0"]:
        with pytest.raises(BitstreamError):
            join(one, wrong)


@pytest.mark.parametrize("control", [b"", b"1234"])
def test_a_base_file_and_the_part_behind_it_come_apart(control: bytes) -> None:
    parts = split(file(control=control))
    assert apart(b"".join(parts)) == parts
    assert apart(parts[0]) == (parts[0], b"")


def test_a_base_only_file_has_nothing_to_split_off() -> None:
    base, _ = split(file())
    with pytest.raises(BitstreamError, match="has no enhancement layer, so there is nothing to split off"):
        split(base)
    with pytest.raises(BitstreamError, match="was cut inside its enhancement layer"):
        split(file()[:-1])


def test_a_whole_file_takes_no_enhancement() -> None:
    with pytest.raises(InputError, match="has an enhancement layer"):
        join(file(), split(file())[1])


def test_an_enhancement_part_alone_is_named() -> None:
    with pytest.raises(BitstreamError, match="is an enhancement part; it is read together with its base file"):
        read(split(file())[1])
    with pytest.raises(BitstreamError, match="does not start with 'ICE'"):
        join(split(file())[0], file())
