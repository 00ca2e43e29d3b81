"""The table of `docs/large-pictures.md`, from `benchmarks/results/tiles.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from icm_evaluation.tables import table

RESULT = Path(__file__).parent / "results/tiles.json"
WAYS = {"tiled": "by regions", "untiled": "as a whole"}


def block() -> str:
    """Peak memory and time of each size and way."""
    found: dict[str, Any] = json.loads(RESULT.read_text())
    rows = [
        [
            f"{row['pixels'] / 1e6:.0f}",
            WAYS[row["way"]],
            *(f"{row[side]['peak_bytes'] / 1e9:.2f} GB" for side in ("encode", "decode")),
            *(f"{row[side]['process_seconds'] / row['pixels'] * 1e6:.1f}" for side in ("encode", "decode")),
        ]
        for row in found["rows"]
    ]
    head = ["megapixels", "way", "encode: peak", "decode: peak", "encode: seconds per MP", "decode: seconds per MP"]
    loaded = max(row[side]["loaded_bytes"] for row in found["rows"] for side in ("encode", "decode"))
    return (
        f"{table(head, rows)}\n\n{found['model']}, {found['machine']}, PyTorch {found['torch']}. Of the memory, the "
        f"program itself with PyTorch and the weights takes {loaded / 1e9:.2f} GB."
    )
