"""Streams: what is pushed is pulled, and damage is never more than an error."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from icm_core import BitstreamError
from icm_core.coding import CdfTables, StreamDecoder, StreamEncoder, gaussian_tables, rans
from icm_core.coding.rans import MAX_SYMBOL

symbols = st.integers(-8, 8) | st.integers(-MAX_SYMBOL, MAX_SYMBOL) | st.sampled_from([-MAX_SYMBOL, MAX_SYMBOL])
parts = st.lists(st.lists(st.tuples(st.integers(0, 2), symbols), max_size=30), max_size=4)
Part = tuple[Tensor, Tensor, CdfTables]


def split(part: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    pairs = torch.tensor(part, dtype=torch.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def code(*pushed: Part) -> bytes:
    encoder = StreamEncoder()
    for values, rows, tables in pushed:
        encoder.push(values, rows, tables)
    return encoder.finish()


def pull_all(payload: bytes, rows: Tensor, tables: CdfTables) -> Tensor:
    decoder = StreamDecoder(payload, rows.numel())
    found = decoder.pull(rows, tables)
    decoder.finish()
    return found


@pytest.fixture(scope="module")
def message() -> Part:
    """200 symbols over all rows of the Gaussian table, a few escapes among them."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(0, 60, (200,), generator=generator)
    values = (torch.randn(200, generator=generator) * 0.11 * 2 ** (rows / 8)).round().long()
    values[::50] += 300
    return values, rows, gaussian_tables()


@pytest.fixture(scope="module")
def payload(message: Part) -> bytes:
    return code(message)


@settings(deadline=None)
@given(parts)
def test_parts_with_several_tables_come_back(tables: CdfTables, message: list[list[tuple[int, int]]]) -> None:
    # Even parts are coded with one table, odd parts with another.
    choice = (tables, gaussian_tables())
    pushed = [(split(part)[1], split(part)[0], choice[i % 2]) for i, part in enumerate(message)]
    payload = code(*pushed)
    decoder = StreamDecoder(payload, sum(values.numel() for values, _, _ in pushed))
    for values, rows, table in pushed:
        assert torch.equal(decoder.pull(rows, table), values)
    decoder.finish()


def test_shapes_are_kept(tables: CdfTables) -> None:
    values = torch.arange(24).reshape(2, 3, 4) - 12
    rows = torch.arange(24).reshape(2, 3, 4) % 3
    found = pull_all(code((values, rows, tables)), rows, tables)
    assert found.dtype == torch.int64
    assert torch.equal(found, values)


def test_tensors_in_any_memory_layout_are_read_in_row_major_order(tables: CdfTables) -> None:
    values = torch.arange(16).reshape(1, 4, 2, 2)
    rows = torch.ones_like(values)
    other = values.contiguous(memory_format=torch.channels_last)
    assert code((other, rows, tables)) == code((values, rows, tables))


def test_a_stream_may_be_read_in_other_parts_than_it_was_written_in(message: Part, payload: bytes) -> None:
    values, rows, tables = message
    decoder = StreamDecoder(payload, 200)
    found = [decoder.pull(part, tables) for part in rows.split([1, 0, 63, 136])]
    decoder.finish()
    assert torch.equal(torch.cat(found), values)


@pytest.mark.parametrize("count", range(6))
@pytest.mark.parametrize("symbol", [0, MAX_SYMBOL])
def test_the_shortest_streams_work(count: int, symbol: int) -> None:
    values, rows = torch.full((count,), symbol), torch.zeros(count, dtype=torch.int64)
    payload = code((values, rows, gaussian_tables()))
    assert len(payload) % 4 == 0
    assert torch.equal(pull_all(payload, rows, gaussian_tables()), values)


def test_the_bytes_of_a_stream_stay_what_they_are(tables: CdfTables) -> None:
    values, rows = torch.tensor([0, 4, 0, -1, 1, 5, 9, -100]), torch.tensor([0, 1, 2, 0, 0, 1, 1, 0])
    assert code((values, rows, tables)).hex() == "ec5dce3453010000c3b7bd1e"


@pytest.mark.parametrize(
    ("values", "stream"),
    [
        ([], "0400028000000000"),
        ([1], "37b30a8002000000"),
        ([1, -1], "3fb330800c000000"),
        ([1, -1, 0], "45b3500019000000"),
        ([1, -1, 0, 0], "4bb36e0032000000"),
        ([1, -1, 0, 0, 1], "e4b30c03fa000000"),
    ],
)
def test_fewer_than_four_symbols_are_filled_up(tables: CdfTables, values: list[int], stream: str) -> None:
    symbols = torch.tensor(values, dtype=torch.int64)
    assert code((symbols, torch.zeros_like(symbols), tables)).hex() == stream


def test_the_largest_symbol_stays_what_it_is() -> None:
    assert MAX_SYMBOL == 16_384


def test_a_stream_costs_what_its_table_says(message: Part) -> None:
    values, rows, tables = message
    values = values.clamp(-20, 20)
    inside = [abs(v) <= -tables.offsets[r] for v, r in zip(values.tolist(), rows.tolist(), strict=True)]
    values, rows = values[torch.tensor(inside)], rows[torch.tensor(inside)]
    cdfs = [(tables.cdfs[r], v - tables.offsets[r]) for v, r in zip(values.tolist(), rows.tolist(), strict=True)]
    bits = sum(16 - torch.tensor(float(cdf[i + 1] - cdf[i])).log2().item() for cdf, i in cdfs)
    assert bits / 8 <= len(code((values, rows, tables))) <= bits / 8 + 8


def test_bytes_are_given_only_once(tables: CdfTables) -> None:
    encoder = StreamEncoder()
    encoder.push(torch.zeros(9, dtype=torch.int64), torch.zeros(9, dtype=torch.int64), tables)
    encoder.finish()
    with pytest.raises(RuntimeError, match="only once"):
        encoder.finish()


@pytest.mark.parametrize("symbol", [MAX_SYMBOL + 1, -MAX_SYMBOL - 1, 2**20])
def test_a_symbol_that_no_encoder_writes_is_refused(symbol: int) -> None:
    rows = torch.zeros(8, dtype=torch.int64)
    payload = code((torch.tensor([0] * 7 + [symbol]), rows, gaussian_tables()))
    with pytest.raises(BitstreamError, match="a symbol that no encoder writes"):
        pull_all(payload, rows, gaussian_tables())


@pytest.mark.parametrize("length", [0, 1, 4, 7, 9, 10, 11, 13])
def test_lengths_that_no_stream_has_are_refused(length: int) -> None:
    with pytest.raises(BitstreamError, match=f"has {length} bytes; it must be a multiple of 4, at least 8"):
        StreamDecoder(bytes(length), 10)


def test_every_truncated_stream_is_an_error(message: Part, payload: bytes) -> None:
    for end in range(len(payload)):
        with pytest.raises(BitstreamError):
            pull_all(payload[:end], message[1], message[2])


@pytest.mark.parametrize("tail", [b"\0", bytes(4), bytes(8), b"\1\2\3\4", b"\xff" * 4])
def test_every_extended_stream_is_an_error(message: Part, payload: bytes, tail: bytes) -> None:
    with pytest.raises(BitstreamError):
        pull_all(payload + tail, message[1], message[2])


def outcome(payload: bytes, message: Part) -> str:
    """What comes of a stream that should hold a message."""
    values, rows, tables = message
    try:
        found = pull_all(payload, rows, tables)
    except BitstreamError:
        return "refused"
    if int(found.abs().max()) > MAX_SYMBOL:
        return "symbols that no encoder writes"
    return "right" if torch.equal(found, values) else "other symbols"


def test_every_modified_byte_gives_an_error_or_other_symbols(message: Part, payload: bytes) -> None:
    outcomes = Counter[str]()
    for place in range(len(payload)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(payload)
            damaged[place] ^= flip
            outcomes[outcome(bytes(damaged), message)] += 1
    # Coding the symbols again shows nearly all damage; what it leaves is for the container's CRC.
    assert outcomes["refused"] > 0.9 * outcomes.total() and outcomes.keys() == {"refused", "other symbols"}
    assert outcome(payload, message) == "right"


def test_symbols_left_over_are_an_error(message: Part, payload: bytes) -> None:
    decoder = StreamDecoder(payload, 200)
    decoder.pull(message[1][:-1], message[2])
    with pytest.raises(BitstreamError, match="not what its symbols code to"):
        decoder.finish()


def test_symbols_that_were_never_written_are_an_error(message: Part, payload: bytes) -> None:
    rows = torch.cat([message[1], torch.full((40,), 50)])
    with pytest.raises(BitstreamError):
        pull_all(payload, rows, message[2])


def test_noise_is_refused_and_never_a_crash(tables: CdfTables) -> None:
    source = random.Random(0)
    outcomes = Counter[str]()
    for table, rows in ((tables, torch.arange(60) % 3), (gaussian_tables(), torch.arange(60))):
        for fill in (source.randbytes, bytes, lambda n: b"\xff" * n):
            for length in (8, 12, 40, 400):
                message = (torch.zeros_like(rows), rows, table)
                outcomes[outcome(fill(length), message)] += 1
    assert outcomes == {"refused": 24}


def test_a_row_that_is_almost_all_escape_survives_noise() -> None:
    table = CdfTables([[0, 1, 65536]], [3], [0])
    rows = torch.zeros(500, dtype=torch.int64)
    source = random.Random(1)
    for payload in (b"\xff" * 4000, source.randbytes(4000), b"\xff\xff\xff\x7f" * 1000):
        with pytest.raises(BitstreamError):
            pull_all(payload, rows, table)


def test_a_stream_does_not_depend_on_the_shape_of_what_is_pushed(tables: CdfTables) -> None:
    values, rows = torch.arange(6) - 2, torch.arange(6) % 3
    flat = code((values, rows, tables))
    for shape in ((1, 6), (2, 3), (3, 1, 2)):
        assert code((values.reshape(shape), rows.reshape(shape), tables)) == flat
        assert torch.equal(pull_all(flat, rows.reshape(shape), tables), values.reshape(shape))


@pytest.mark.parametrize("at_once", [7, 23, 24, 100])
def test_a_large_message_goes_in_parts_and_comes_back_whole(
    tables: CdfTables, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, rows = torch.arange(24) % 9 - 4, torch.arange(24) % 3
    whole = code((values, rows, tables))
    monkeypatch.setattr(rans, "_AT_ONCE", at_once)
    assert code((values, rows, tables)) == whole
    assert torch.equal(pull_all(whole, rows, tables), values)
    found = torch.zeros(4, 6, dtype=torch.int16)
    StreamDecoder(whole, 24).pull_into(found, rows.reshape(4, 6).to(torch.int16), tables)
    assert torch.equal(found, values.reshape(4, 6).to(torch.int16))


def test_rows_of_the_table_may_be_given_in_any_whole_numbers(tables: CdfTables) -> None:
    many = CdfTables(tables.cdfs * 100, tables.sizes * 100, tables.offsets * 100)
    values, rows = torch.tensor([0, 4, 0, -1, 1]), torch.tensor([256, 258, 299, 270, 297])
    payload = code((values, rows, many))
    for dtype in (torch.int16, torch.int32, torch.int64):
        assert torch.equal(pull_all(payload, rows.to(dtype), many), values)


@pytest.mark.parametrize(("capacity", "words"), [(0, 0), (5, 5), (1000, 1000), (2**20, 2**20), (2**22, 2**20 + 16)])
def test_the_coder_never_reads_behind_what_it_was_given(
    capacity: int, words: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads on without looking for the end: a word a symbol, of as many as are asked for at once."""
    given: list[bytes] = []

    class Watched:
        def set_stream(self, stream: bytes) -> None:
            given.append(stream)

    monkeypatch.setattr(rans._ans, "RansDecoder", Watched)
    payload = bytes(range(12))
    StreamDecoder(payload, capacity)
    (stream,) = given
    assert stream.startswith(payload)
    assert not any(stream[12:])
    assert len(stream) - 12 >= 4 * words + 16 * 12
