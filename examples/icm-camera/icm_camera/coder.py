"""The range coder: CompressAI's extension module alone, without its package, which imports PyTorch."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

FEWEST = 4
"""A stream has as many symbols; icm fills shorter ones up with nearly certain zeros."""


def _extension() -> ModuleType:
    package = importlib.util.find_spec("compressai")  # finds it, and imports nothing
    if package is None:
        raise ModuleNotFoundError("the range coder is missing: pip install --no-deps compressai")
    spec = importlib.machinery.PathFinder.find_spec("compressai.ans", package.submodule_search_locations)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError("compressai has no module ans")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_ans = _extension()


class Tables:
    """Cumulative frequencies, a row for each index.

    Args:
        cdf: (R, L), rows from 0 to 65536.
        size: entries of each row.
        first: the symbol of each row's first interval.
    """

    def __init__(self, cdf: NDArray[np.int32], size: NDArray[np.int32], first: NDArray[np.int32]) -> None:
        self.sizes, self.offsets = size.tolist(), first.tolist()
        self.rows = [row[:length] for row, length in zip(cdf.tolist(), self.sizes, strict=True)]


class Stream:
    """Collects symbols with their rows; `finish` gives the bytes."""

    def __init__(self) -> None:
        self._encoder, self._count = _ans.BufferedRansEncoder(), 0

    def push(self, symbols: NDArray[np.int64], rows: NDArray[np.int64], tables: Tables) -> None:
        """Append symbols in row-major order."""
        self._count += symbols.size
        self._encoder.encode_with_indexes(
            symbols.ravel().tolist(), rows.ravel().tolist(), tables.rows, tables.sizes, tables.offsets
        )

    def finish(self) -> bytes:
        """The stream."""
        if (missing := FEWEST - self._count) > 0:
            self._encoder.encode_with_indexes([0] * missing, [0] * missing, [[0, 65535, 65536]], [3], [0])
        return bytes(self._encoder.flush())
