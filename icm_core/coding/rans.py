"""Streams of symbols through CompressAI's rANS coder.

A stream is written as a whole and read in parts, so that the probabilities of a later part may depend on
the symbols of an earlier one. Words are little-endian, as the coder writes them.
"""

from __future__ import annotations

import torch
from compressai.ans import BufferedRansEncoder, RansDecoder
from torch import Tensor

from icm_core.coding.tables import CdfTables
from icm_core.errors import BitstreamError

MAX_SYMBOL = 2**14
"""Largest magnitude of a symbol; encoders clamp to it, and a decoder that meets a larger one refuses."""

# The coder's buffer has one word a symbol, and its closing state alone takes two: fewer symbols than this would be
# written outside of it. Shorter streams are filled up with symbols that are nearly certain and never read.
_FEWEST_SYMBOLS = 4
_CERTAIN = CdfTables([[0, 65535, 65536]], [3], [0])


class StreamEncoder:
    """Collects symbols with their table rows; `finish` gives the bytes."""

    def __init__(self) -> None:
        self._encoder = BufferedRansEncoder()
        self._count = 0
        self._finished = False

    def push(self, symbols: Tensor, indexes: Tensor, tables: CdfTables) -> None:
        """Append symbols in row-major order, each with its row of ``tables``; both int64 of one shape."""
        self._count += symbols.numel()
        self._encoder.encode_with_indexes(
            symbols.flatten().tolist(), indexes.flatten().tolist(), tables.cdfs, tables.sizes, tables.offsets
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
        self._decoder = RansDecoder()
        # The coder reads on without looking for the end. Zeros behind the payload are enough for any
        # payload: a symbol takes at most one word, and an escape's length is counted in the payload's nibbles.
        self._decoder.set_stream(payload + bytes(16 * len(payload) + 4 * capacity + 64))

    def pull(self, indexes: Tensor, tables: CdfTables) -> Tensor:
        """The next ``indexes.numel()`` symbols, int64, shaped and placed like ``indexes``.

        Raises:
            BitstreamError: a symbol is larger than any encoder writes.
        """
        values = self._decoder.decode_stream(indexes.flatten().tolist(), tables.cdfs, tables.sizes, tables.offsets)
        symbols = torch.tensor(values, dtype=torch.int64).reshape(indexes.shape)
        if symbols.numel() and int(symbols.abs().max()) > MAX_SYMBOL:
            raise BitstreamError("the coded stream is damaged: it holds a symbol that no encoder writes")
        self._again.push(symbols, indexes, tables)
        return symbols.to(indexes.device)

    def finish(self) -> None:
        """Check that exactly the payload was read: coding the symbols again must give the same bytes.

        Raises:
            BitstreamError: bytes are missing, left over or changed.
        """
        if self._again.finish() != self._payload:
            raise BitstreamError("the coded stream is damaged: its bytes are not what its symbols code to")
