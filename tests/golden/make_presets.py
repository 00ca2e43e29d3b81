"""Writes the second set of golden files: the structure of the presets, at toy widths.

    python tests/golden/make_presets.py

8 groups, 4 qualities, h1 twice as wide as h2: sicmh-paper, and sicmh-small up to its second weights. With streams that
have control hashes, and a pair of parts. Like the first set (``make.py``) it is kept for ever, so this program only
writes it where it is missing.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from make import decoded, picture, random_pipeline

from icm_core import load
from icm_core.bitstream.split import split
from icm_core.pipeline.weights import save

FOLDER = Path(__file__).parent / "presets"
SPEC: dict[str, Any] = {
    "icm": 1,
    "name": "golden-presets",
    "description": "the presets' structure at toy widths with random weights; kept for ever like the first set",
    "codec": {
        "use": "sicmh.hyperprior",
        "params": {
            "width": 8,
            "h1_channels": 8,
            "h2_channels": 4,
            "groups": 8,
            "context_channels": 8,
            "qualities": 4,
        },
    },
    "tasks": {"coarse": {"adapter": {"use": "sicmh.one_scale"}, "head": {"use": "sicmh.coarse"}}},
    "enhancement": {"use": "sicmh.residual", "over": "coarse", "params": {"qualities": 4}},
    "weights": "presets.safetensors",
}
Row = tuple[int, int, float, bool, bool]
# name: height, width, quality, with enhancement, with control hashes
PICTURES: dict[str, Row] = {
    "column": (129, 1, 1.0, True, False),
    "control": (61, 67, 4.0, True, True),
    "odd": (37, 141, 2.25, True, False),
    "parts": (70, 65, 1.5, True, True),
    "rough": (97, 63, 3.9375, True, False),
    "base": (131, 66, 3.0, False, True),
}


def write(
    folder: Path, spec: dict[str, Any], seed: int, pictures: dict[str, tuple[int, int, float, bool, bool]]
) -> None:
    """Write a set: ``<folder>.json`` and its weights, the files, and what they decode to; or refuse."""
    if folder.exists():
        sys.exit("the golden files exist and are kept for ever; new ones go into another folder")
    folder.mkdir()
    path = folder / f"{folder.name}.json"
    path.write_text(json.dumps(spec, indent=2) + "\n")
    save(random_pipeline(spec, seed), {folder / spec["weights"]: [""]})
    pipeline = load(path, device="cpu")
    hashes = {}
    for name, (height, width, quality, enhancement, control) in pictures.items():
        blob = pipeline.encode(picture(height, width), quality, enhancement=enhancement, control=control)
        (folder / f"{name}.icm").write_bytes(blob)
        hashes[name] = {
            "height": height,
            "width": width,
            "quality": quality,
            "control": control,
            "sha256": decoded(pipeline, blob, enhancement),
        }
        print(f"{name}.icm: {len(blob)} bytes, {8 * len(blob) / math.prod((height, width)):.2f} bpp")
    (folder / "hashes.json").write_text(json.dumps(hashes, indent=2) + "\n")


if __name__ == "__main__":
    write(FOLDER, SPEC, 2026, PICTURES)
    (FOLDER / "parts.icme").write_bytes(split((FOLDER / "parts.icm").read_bytes())[1])
