"""Peak memory and process time of a picture's coding and decoding, over its size; tiled and untiled at one size.

    python benchmarks/tiles.py --megapixels 4,12,25 -o benchmarks/results/tiles.json

Each measurement is a process of its own, which loads the pipeline, and reads or writes files as `icm encode` and
`icm decode` do. Its peak memory is the process's largest resident set; times are those of its processor, of coding or
decoding alone, without start-up, reading and writing. The pictures are an enlarged photograph with noise: every
pixel has something to code.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import icm_core
from icm_core import tiles
from icm_core.bitstream.container import MAX_PIXELS, read
from icm_core.corpus.decoding import Coded, Decoding
from icm_core.corpus.encoding import Encoding, Picture
from icm_core.corpus.work import Place
from icm_demo.samples import shipped_photographs

WHOLE = 10**12
"""A bound that no picture reaches: everything as a whole."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="sicmh-small")
    parser.add_argument("--megapixels", default="4,12,25", help="sizes, with commas between them")
    parser.add_argument("--untiled", type=float, default=4.0, help="megapixels that are also measured as a whole")
    parser.add_argument("--one", metavar="JSON", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(alone(**json.loads(options.one))))
        return
    sizes = sorted({float(size) for size in options.megapixels.split(",")} | {options.untiled})
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in sizes:
            pixels = make_picture(folder / "picture.png", size)
            # A picture of just the bound would go as a whole.
            ways = {"tiled": min(tiles.PIXELS, pixels - 1)} | ({"untiled": WHOLE} if size == options.untiled else {})
            for way, bound in ways.items():
                row: dict[str, Any] = {"pixels": pixels, "way": way}
                for what in ("encode", "decode"):
                    row[what] = apart(model=options.model, what=what, folder=name, bound=bound)
                row["bytes"] = (folder / "picture.icm").stat().st_size
                rows.append(row)
                print(json.dumps(row), file=sys.stderr, flush=True)
    found = {
        "model": options.model,
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, 1 thread",
        "torch": torch.__version__,
        "icm": icm_core.__version__,
        "answers": ["segmentation", "coarse", "fine"],
        "rows": rows,
    }
    text = json.dumps(found, indent=2) + "\n"
    print(text, end="")
    if options.output:
        options.output.write_text(text)


def apart(**how: Any) -> dict[str, float]:
    """A measurement in a process of its own."""
    command = [sys.executable, __file__, "--one", json.dumps(how)]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def alone(model: str, what: str, folder: str, bound: int) -> dict[str, float]:
    """Code or decode the one picture of a folder, and say what it took."""
    torch.set_num_threads(1)
    place = Path(folder)
    clocks: list[float] = []
    with tiles.bounded(bound):
        if what == "encode":
            job: Any = Encoding(model, "cpu", "fp32", 3.0)
            item: Any = Picture(place / "picture.png", place / "picture.icm")
        else:
            job = Decoding(model, "cpu", "fp32", MAX_PIXELS, tasks=("segmentation", "coarse", "fine"))
            item = Coded(place / "picture.icm", place / "decoded" / "picture")
        lane = job.open(Place())
        loaded = peak()
        pipe = lane._pipe if what == "encode" else lane._pipelines.of(read(item.source.read_bytes()))
        work = getattr(pipe, what)

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            found = work(*args, **kwargs)
            clocks.append(time.process_time() - start)
            return found

        setattr(pipe, what, timed)
        (row,) = lane([item])
    if isinstance(row, Exception):
        raise row
    return {"peak_bytes": peak(), "loaded_bytes": loaded, "process_seconds": round(clocks[0], 2)}


def peak() -> int:
    """The largest resident set of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def make_picture(path: Path, megapixels: float) -> int:
    """An enlarged photograph with noise, of about so many pixels; how many it has."""
    photo = Image.open(shipped_photographs()[0]).convert("RGB")
    scale = (megapixels * 1e6 / (photo.width * photo.height)) ** 0.5
    width, height = int(photo.width * scale), int(photo.height * scale)
    large = photo.resize((width, height), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0)
    for top in range(0, height, 256):
        box = (0, top, width, min(height, top + 256))
        strip = np.asarray(large.crop(box)).astype(np.int16)
        strip += noise.normal(0, 4, strip.shape).round().astype(np.int16)
        large.paste(Image.fromarray(strip.clip(0, 255).astype(np.uint8)), box)
    large.save(path, compress_level=1)
    return width * height


if __name__ == "__main__":
    main()
