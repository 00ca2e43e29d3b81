"""How short a stream can be: never shorter than what its symbols tell, and what is shorter is refused early."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from icm_core import BitstreamError
from icm_core.coding import CdfTables, StreamDecoder, StreamEncoder, gaussian_tables
from icm_core.coding.rans import fewest_bytes

messages = st.tuples(st.integers(1, 400), st.integers(0, 79), st.floats(0, 60), st.integers(0, 2**16))


def message(count: int, row: int, spread: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    values = (torch.randn(count, generator=generator) * spread).round().long()
    return values, torch.full((count,), row)


@settings(deadline=None)
@given(messages)
def test_no_stream_is_shorter_than_the_bound(case: tuple[int, int, float, int]) -> None:
    symbols, rows = message(*case)
    encoder = StreamEncoder()
    encoder.push(symbols, rows, gaussian_tables())
    payload = encoder.finish()
    assert fewest_bytes(gaussian_tables().bits(symbols, rows), len(rows)) <= len(payload)
    assert float(gaussian_tables().fewest_bits[rows].sum()) <= gaussian_tables().bits(symbols, rows) + 1e-9
    decoder = StreamDecoder(payload, len(rows))
    assert torch.equal(decoder.pull(rows, gaussian_tables()), symbols)
    decoder.finish()


@settings(deadline=None)
@given(messages.filter(lambda case: case[0] >= 4))
def test_the_bound_is_near(case: tuple[int, int, float, int]) -> None:
    symbols, rows = message(*case)
    tables = gaussian_tables()
    symbols = symbols.clamp(tables.offsets[case[1]], -tables.offsets[case[1]])  # escapes are not counted
    encoder = StreamEncoder()
    encoder.push(symbols, rows, tables)
    # The coder's closing state takes 64 bits, of which it holds 31 at least.
    assert fewest_bytes(tables.bits(symbols, rows), len(rows)) >= len(encoder.finish()) - (64 - 31 + 1) / 8


def test_of_a_stream_32_bits_are_no_information_and_a_symbol_may_save_a_little() -> None:
    assert fewest_bytes(0, 0) == 31 / 8  # one bit for rounding
    assert fewest_bytes(8000, 0) == (8000 + 31) / 8
    assert fewest_bytes(8000, 2**13) == (8000 + 30) / 8


def sparing_message(words: int) -> tuple[list[int], CdfTables]:
    """Rows for symbols 0 whose stream of so many words is shorter than their information tells, and their tables.

    The coder turns its state x into (x // f) * 2**16 + x % f for a symbol that has the frequencies 0 to f, where
    x * 2**16 / f would be fair: it saves most with f close above x % f and with an x as small as there can be, which is
    just after a word was put out. So each word is put out by the f that saves most then, and is filled up by symbols
    that save next to nothing. This follows the coder's state in Python's integers.
    """
    state, frequencies = 2**31, []

    def code(frequency: int) -> None:
        nonlocal state, words
        if state >= frequency << 47:
            state, words = state >> 32, words - 1
        state = (state // frequency << 16) + state % frequency
        frequencies.append(frequency)

    while words:
        while state < 1 << 55:
            code(1 if state < 1 << 40 else 256)
        code(max(range((state >> 47) - 15, (state >> 47) + 1), key=lambda frequency: (state >> 32) % frequency))
    while state < 1 << 61:  # the closing state takes 64 bits whatever it is, so it ends as a large one
        code(1 if state < 1 << 47 else (state >> 47) + 1)
    kinds = sorted(set(frequencies))
    tables = CdfTables([[0, kind, 65536] for kind in kinds], [3] * len(kinds), [0] * len(kinds))
    return [kinds.index(frequency) for frequency in reversed(frequencies)], tables


def test_a_stream_that_saves_all_that_the_coders_whole_numbers_can_save_is_read() -> None:
    # Its bytes hold more information than they have bits, by little more than nothing a symbol.
    indexes, tables = sparing_message(60_000)
    rows = torch.tensor(indexes)
    encoder = StreamEncoder()
    encoder.push(torch.zeros_like(rows), rows, tables)
    payload = encoder.finish()
    assert len(payload) == 4 * 60_000 + 8
    information = tables.bits(torch.zeros_like(rows), rows)
    assert information > 8 * len(payload) - 31  # 31 of the coder's 64 bits of state are there from the start
    decoder = StreamDecoder(payload, len(rows))
    assert not bool(decoder.pull(rows, tables).any())
    decoder.finish()


def test_the_longest_run_of_the_most_probable_symbol_is_read() -> None:
    # 200,000 symbols in a few words: what one of them tells is next to nothing, and is not counted as more.
    rows = torch.zeros(200_000, dtype=torch.int64)
    encoder = StreamEncoder()
    encoder.push(rows, rows, gaussian_tables())
    payload = encoder.finish()
    assert len(payload) < 40
    decoder = StreamDecoder(payload, len(rows))
    assert not bool(decoder.pull(rows, gaussian_tables()).any())
    decoder.finish()


def test_information_is_counted_by_interval(tables: CdfTables) -> None:
    row = tables.cdfs[1]
    costs = [16 - math.log2(b - a) for a, b in itertools.pairwise(row)]
    # Row 1 has the symbols 4 and 5; anything else is the escape, its last interval.
    for symbol, cost in [(4, costs[0]), (5, costs[1]), (3, costs[2]), (6, costs[2]), (-9, costs[2])]:
        assert tables.bits(torch.tensor([symbol]), torch.tensor([1])) == pytest.approx(cost, rel=1e-12)
    assert tables.fewest_bits[1].item() == pytest.approx(min(costs), rel=1e-12)


def test_a_stream_that_is_too_short_for_its_symbols_is_refused_when_they_are_read() -> None:
    rows = torch.full((5000,), 40)
    decoder = StreamDecoder(bytes(range(1, 41)), len(rows))
    with pytest.raises(BitstreamError, match="its 40 bytes cannot hold the symbols"):
        decoder.pull(rows, gaussian_tables())


def test_what_was_read_before_counts_too_when_a_stream_is_too_short() -> None:
    # 10 symbols alone might stand in 40 bytes, and all 400 not: they are refused when the 40 bytes are used up.
    rows = torch.full((400,), 40)
    decoder = StreamDecoder(bytes(range(1, 41)), len(rows))
    with pytest.raises(BitstreamError, match="its 40 bytes cannot hold the symbols"):
        for part in rows.split(10):
            decoder.pull(part, gaussian_tables())
