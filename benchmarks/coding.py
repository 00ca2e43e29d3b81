"""Exactness and speed of a pipeline on CamVid val; rates and results of tasks are `icm evaluate`'s.

    python benchmarks/coding.py --data DIR --json benchmarks/results/sicmh-small.coding.json [--part speed] [--limit N]

``DIR`` holds ``camvid``.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import icm_core
from icm_core.pictures import open_picture, to_tensor
from icm_core.pipeline.pipeline import Pipeline

EFFORT = 10


def exactness(pipe: Pipeline, root: Path, qualities: list[float], limit: int | None) -> dict[str, Any]:
    """Streams written with 1 thread, bf16, channels last, read with 2 threads, fp32: how many differ in h1 or h2."""
    paths = sorted((root / "camvid/val").iterdir())[: limit or 50]
    different = 0
    for n, path in enumerate(paths):
        picture = open_picture(path)
        for q in qualities:
            torch.set_num_threads(1)
            pipe.to(memory_format=torch.channels_last)
            quality = icm_core.Quality.of(q)
            x = to_tensor(picture).contiguous(memory_format=torch.channels_last)
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                (payload,), one = pipe.codec.encode_with_side(x, quality)
            torch.set_num_threads(2)
            pipe.to(memory_format=torch.contiguous_format)
            try:
                with torch.inference_mode():
                    two = pipe.codec.decode([payload], one.size, quality)
                different += any(not torch.equal(a, b) for a, b in zip(one.levels, two.levels, strict=True))
            except icm_core.BitstreamError:
                different += 1
        print(f"exactness {n + 1}/{len(paths)}", file=sys.stderr, flush=True)
    size = f"{picture.width}x{picture.height}"
    files = len(paths) * len(qualities)
    return {"data": "CamVid val", "pictures": len(paths), "size": size, "files": files, "different": different}


def speed(pipe: Pipeline, root: Path, qualities: list[float], limit: int | None) -> dict[str, Any]:
    """Seconds from a picture to base-layer bytes, also with a search, and from bytes to a label map.

    Medians, after a first picture that does not count.
    """
    paths = sorted((root / "camvid/val").iterdir())[: (limit or 10) + 1]
    times: dict[float, list[tuple[float, float, float]]] = {q: [] for q in qualities}
    for path in paths:
        picture = open_picture(path)
        for q in qualities:
            start = time.perf_counter()
            blob = pipe.encode(picture, quality=q, enhancement=False)
            middle = time.perf_counter()
            pipe.decode(blob, tasks=["segmentation"])
            end = time.perf_counter()
            pipe.encode(picture, quality=q, enhancement=False, effort=EFFORT, search_for=["segmentation", "coarse"])
            times[q].append((middle - start, end - middle, time.perf_counter() - end))
    points = [
        {
            "quality": q,
            "encode_seconds": float(np.median(np.array(times[q][1:])[:, 0])),
            "decode_seconds": float(np.median(np.array(times[q][1:])[:, 1])),
            "search_seconds": float(np.median(np.array(times[q][1:])[:, 2])),
        }
        for q in qualities
    ]
    size = f"{picture.width}x{picture.height}"
    return {"data": "CamVid val", "pictures": len(paths) - 1, "size": size, "effort": EFFORT, "points": points}


PARTS = {"exactness": exactness, "speed": speed}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sicmh-small")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--limit", type=int)
    parser.add_argument("-q", "--qualities", default="1,2,3,4")
    return parser.parse_args()


def main() -> None:
    """Measure the parts and write each into the JSON as soon as it is done."""
    options = arguments()
    pipe = icm_core.load(options.model)
    qualities = [float(q) for q in options.qualities.split(",")]
    for part in options.part or list(PARTS):
        result = PARTS[part](pipe, options.data, qualities, options.limit)
        result["device"] = f"{platform.machine()} CPU, {torch.get_num_threads()} threads, float32"
        result["versions"] = {"icm": icm_core.__version__, "torch": torch.__version__}
        result["weights"] = pipe.base_fingerprint.hex()
        limit = f" --limit {options.limit}" if options.limit else ""
        result["command"] = f"python benchmarks/coding.py --data DIR --json OUT --part {part}{limit}"
        stored = json.loads(options.json.read_text()) if options.json.exists() else {}
        stored[part] = result
        options.json.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
