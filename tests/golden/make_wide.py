"""Writes the third set of golden files: y_r with more channels than N, and h1 not twice as wide as h2.

    python tests/golden/make_wide.py

The structure of sicmh-small since its third weights, at toy widths. Like the other sets it is kept for ever.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from make_presets import SPEC as PRESETS
from make_presets import Row, write

FOLDER = Path(__file__).parent / "wide"
SPEC: dict[str, Any] = {
    **PRESETS,
    "name": "golden-wide",
    "description": "y_r wider than N, at toy widths with random weights; kept for ever like the first set",
    "codec": {**PRESETS["codec"], "params": {**PRESETS["codec"]["params"], "h1_channels": 16, "h2_channels": 6}},
    "enhancement": {**PRESETS["enhancement"], "params": {"qualities": 4, "latent_channels": 24}},
    "weights": "wide.safetensors",
}
# name: height, width, quality, with enhancement, with control hashes
PICTURES: dict[str, Row] = {
    "tall": (131, 20, 1.0, True, False),
    "fine": (70, 90, 3.5, True, True),
    "lone": (64, 65, 2.0, False, False),
}

if __name__ == "__main__":
    write(FOLDER, SPEC, 2027, PICTURES)
