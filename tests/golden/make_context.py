"""Writes the fourth set of golden files: D with a context, whose groups of channels are read one after the other.

    python tests/golden/make_context.py

The structure of sicmh-small since its fifth weights, at toy widths. Like the other sets it is kept for ever.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from make_presets import Row, write
from make_wide import SPEC as WIDE

FOLDER = Path(__file__).parent / "context"
SPEC: dict[str, Any] = {
    **WIDE,
    "name": "golden-context",
    "description": "y_r with a context, at toy widths with random weights; kept for ever like the first set",
    "enhancement": {
        "use": "sicmh.residual_context",
        "over": "coarse",
        "params": {"qualities": 4, "latent_channels": 32, "context_channels": 16},
    },
    "weights": "context.safetensors",
}
# name: height, width, quality, with enhancement, with control hashes
PICTURES: dict[str, Row] = {
    "tall": (130, 21, 1.0, True, False),
    "fine": (71, 90, 3.5, True, True),
    "rough": (66, 67, 2.0625, True, False),
}

if __name__ == "__main__":
    write(FOLDER, SPEC, 2028, PICTURES)
