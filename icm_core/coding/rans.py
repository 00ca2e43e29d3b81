"""Streams of symbols through CompressAI's rANS coder.

A stream is written as a whole and read in parts, so that the probabilities of a later part may depend on
the symbols of an earlier one. Words are little-endian, as the coder writes them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from icm_core.coding.coder import extension
from icm_core.coding.tables import CdfTables
from icm_core.errors import BitstreamError

_ans = extension("ans")

MAX_SYMBOL = 2**14
"""Largest magnitude of a symbol; encoders clamp to it, and a decoder that meets a larger one refuses."""

# The coder's buffer has one word a symbol, and its closing state alone takes two: fewer symbols than this would be
# written outside of it. Shorter streams are filled up with symbols that are nearly certain and never read.
_FEWEST_SYMBOLS = 4
_AT_ONCE = 2**20  # symbols that the coder gets or gives as Python's numbers, of 8 bytes and more each
_STATE_BITS = 32  # of a stream's bytes, this much is no information: the coder's state starts at 2**31 and takes 64
_LOST_BITS = 2.0**-13  # the coder's whole numbers may save a symbol this much at most
_CERTAIN = CdfTables([[0, 65535, 65536]], [3], [0])


def fewest_bytes(bits: float, count: int) -> float:
    """A lower bound of the length of any stream that holds `count` symbols with so much information."""
    return (bits - count * _LOST_BITS - 1 + _STATE_BITS) / 8


class StreamEncoder:
    """Collects symbols with their table rows; `finish` gives the bytes."""

    def __init__(self) -> None:
        self._encoder = _ans.BufferedRansEncoder()
        self._count = 0
        self._finished = False

    def push(self, symbols: Tensor, indexes: Tensor, tables: CdfTables) -> None:
        """Append symbols in row-major order, each with its row of ``tables``; both whole numbers of one shape."""
        self._count += symbols.numel()
        for its_symbols, its_indexes in zip(_parts(symbols.flatten()), _parts(indexes.flatten()), strict=True):
            self._encoder.encode_with_indexes(
                its_symbols.tolist(), its_indexes.tolist(), tables.cdfs, tables.sizes, tables.offsets
            )

    def finish(self) -> bytes:
        """The stream; the encoder cannot be used afterwards."""
        if self._finished:
            raise RuntimeError("a StreamEncoder gives its bytes only once")
        self._finished = True
        missing = max(0, _FEWEST_SYMBOLS - self._count)
        if missing:
            nothing = torch.zeros(missing, dtype=torch.int64)
            self.push(nothing, nothing, _CERTAIN)
        return bytes(self._encoder.flush())


class StreamDecoder:
    """Reads symbols in the order in which they were pushed.

    Args:
        payload: what `StreamEncoder.finish` gave.
        capacity: the largest number of symbols that will be pulled.
    """

    def __init__(self, payload: bytes, capacity: int) -> None:
        if len(payload) < 8 or len(payload) % 4:
            raise BitstreamError(f"a coded stream has {len(payload)} bytes; it must be a multiple of 4, at least 8")
        self._payload = payload
        self._again = StreamEncoder()
        self._decoder = _ans.RansDecoder()
        self._bits, self._count = 0.0, 0
        # The coder reads on without looking for the end. Zeros behind the payload are enough for any
        # payload: a symbol takes at most one word, and an escape's length is counted in the payload's nibbles.
        # Reading stops after the part in which the payload ends, but for what the coder's numbers may save.
        read_on = min(capacity, _AT_ONCE) + int(capacity * _LOST_BITS / 32)
        self._decoder.set_stream(payload + bytes(16 * len(payload) + 4 * read_on + 64))

    def pull(self, indexes: Tensor, tables: CdfTables) -> Tensor:
        """The next ``indexes.numel()`` symbols, int64, shaped and placed like ``indexes``.

        Raises:
            BitstreamError: a symbol is larger than any encoder writes, or the stream is too short for what was read.
        """
        symbols = torch.empty(indexes.shape, dtype=torch.int64)
        self.pull_into(symbols, indexes, tables)
        return symbols.to(indexes.device)

    def pull_into(self, symbols: Tensor, indexes: Tensor, tables: CdfTables) -> None:
        """As `pull`, into a contiguous tensor of 16 bits or more that is there already."""
        for into, its_indexes in zip(_parts(symbols.view(-1)), _parts(indexes.flatten()), strict=True):
            into.copy_(self._next(its_indexes.long(), tables))

    def _next(self, indexes: Tensor, tables: CdfTables) -> Tensor:
        values = self._decoder.decode_stream(indexes.tolist(), tables.cdfs, tables.sizes, tables.offsets)
        symbols = torch.tensor(values, dtype=torch.int64)
        if symbols.numel() and int(symbols.abs().max()) > MAX_SYMBOL:
            raise BitstreamError("the coded stream is damaged: it holds a symbol that no encoder writes")
        # Past its end a stream still gives symbols. They are noticed here, before anything is computed from them.
        self._bits += tables.bits(symbols, indexes)
        self._count += symbols.numel()
        if fewest_bytes(self._bits, self._count) > len(self._payload):
            raise BitstreamError(
                f"the coded stream is cut or damaged: its {len(self._payload)} bytes cannot hold the symbols it gives"
            )
        self._again.push(symbols, indexes, tables)
        return symbols

    def finish(self) -> None:
        """Check that exactly the payload was read: coding the symbols again must give the same bytes.

        Raises:
            BitstreamError: bytes are missing, left over or changed.
        """
        if self._again.finish() != self._payload:
            raise BitstreamError("the coded stream is damaged: its bytes are not what its symbols code to")


def _parts(numbers: Tensor) -> list[Tensor]:
    return [numbers[start : start + _AT_ONCE] for start in range(0, numbers.numel(), _AT_ONCE)]
