"""Pictures per second of `icm encode` and `icm decode`: one lane against several workers, in turns.

    python benchmarks/corpora.py -o benchmarks/results/corpora.json

Start-up is left out: what counts is the time between outcomes, once every worker has done two pictures. Rounds of one
lane and of workers take turns, so that other work on the machine meets both; the figures are medians over the rounds.
Bytes of files and of pictures are compared as well.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import icm_core
from icm_core.corpus.decoding import Coded, Decoding
from icm_core.corpus.encoding import Encoding, Picture, size_of
from icm_core.corpus.engine import units_of, work_through
from icm_demo.samples import shipped_photographs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="sicmh-small")
    parser.add_argument("--pictures", type=int, default=48, help="in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", default="480x360", help="width x height")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--engine", default="local")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tasks", default="classification,segmentation")
    parser.add_argument("--base-only", action="store_true", help="encode without the enhancement layer")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    text = json.dumps(found, indent=2) + "\n"
    print(text, end="")
    if options.output:
        options.output.write_text(text)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    album = make_album(folder / "album", options.pictures, options.size)
    encoding = Encoding(options.model, options.device, "fp32", 3.0, enhancement=not options.base_only)
    decoding = Decoding(options.model, options.device, "fp32", 10**9, tasks=tuple(options.tasks.split(",")))
    ways = {"one_lane": (1, 1, "local"), "workers": (options.workers, options.batch, options.engine)}
    rates: dict[str, dict[str, list[float]]] = {what: {way: [] for way in ways} for what in ("encode", "decode")}
    for _ in range(options.rounds):
        for way, how in ways.items():
            coded, decoded = folder / way / "coded", folder / way / "decoded"
            pictures = [Picture(path, coded / f"{path.stem}.icm") for path in album]
            files = [Coded(one.target, decoded / one.target.stem) for one in pictures]
            rates["encode"][way].append(rate(encoding, pictures, size_of, options.device, *how))
            rates["decode"][way].append(rate(decoding, files, decoding.key, options.device, *how))
    return {
        "model": options.model,
        "size": options.size,
        "pictures": options.pictures,
        "rounds": options.rounds,
        "workers": options.workers,
        "batch": options.batch,
        "engine": options.engine,
        "tasks": options.tasks,
        "enhancement": not options.base_only,
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, {options.device}",
        "torch": torch.__version__,
        "icm": icm_core.__version__,
        "pictures_per_second": {
            what: {way: round(statistics.median(r), 3) for way, r in by.items()} for what, by in rates.items()
        },
        "rounds_of": {what: {way: [round(one, 3) for one in r] for way, r in by.items()} for what, by in rates.items()},
        "times_one_lane": {
            what: round(statistics.median(by["workers"]) / statistics.median(by["one_lane"]), 3)
            for what, by in rates.items()
        },
        "same_bytes": contents(folder / "one_lane") == contents(folder / "workers"),
    }


def rate(
    job: Any, items: list[Any], key: Callable[[Any], Any], device: str, workers: int, batch: int, engine: str
) -> float:
    """Items a second, once everybody has begun."""
    times = []
    units = units_of(items, batch, key)
    how = {"engine": engine, "workers": workers, "device": device, "items": len(items)}
    with closing(work_through(job, units, **how)) as outcomes:
        for outcome in outcomes:
            assert outcome.error is None, outcome.error
            times.append(time.perf_counter())
    skipped = 2 * workers * batch
    assert len(times) > 2 * skipped, f"{len(items)} pictures are too few for {workers} workers"
    return (len(times) - skipped) / (times[-1] - times[skipped - 1])


def make_album(folder: Path, count: int, size: str) -> list[Path]:
    """Parts of the shipped photographs, no two alike."""
    folder.mkdir(parents=True)
    width, height = (int(side) for side in size.split("x"))
    photographs = [Image.open(path).convert("RGB") for path in shipped_photographs()]
    paths = []
    for number in range(count):
        photo = photographs[number % len(photographs)]
        shift = number // len(photographs)
        part = photo.crop((shift, shift, photo.width - shift, photo.height - shift)).resize((width, height))
        paths.append(folder / f"{number:05}.png")
        part.save(paths[-1])
    return paths


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


if __name__ == "__main__":
    main()
