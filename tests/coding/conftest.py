from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager

import pytest

from icm_core.coding import CdfTables
from icm_core.coding.tables import quantize_pmf

Threads = Callable[[int], "contextmanager[None]"]


@pytest.fixture(scope="session")
def tables() -> CdfTables:
    """Three short rows of unlike lengths: symbols -1...1, 4...5 and 0 alone, anything else by escape."""
    rows = [quantize_pmf(pmf) for pmf in ([0.2, 0.5, 0.2, 0.1], [0.6, 0.3, 0.1], [0.01, 0.99])]
    return CdfTables(rows, [len(row) for row in rows], [-1, 4, 0])
