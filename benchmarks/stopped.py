"""Many pictures of mixed sizes, one of them damaged: coded in every way, killed in the middle, and gone on with.

    python benchmarks/stopped.py -o benchmarks/results/corpora.stopped.json

`icm encode` codes the same pictures in one lane, with two workers, in batches of 8, and with two actors of Ray. Each
way is killed (SIGKILL, to all of its processes) when a third of the files is there, and started again with
``--resume``. What counts: files that are not those of one lane that was left alone, names in the list of what failed,
and leftovers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import icm_core
from icm_demo.samples import shipped_photographs

ONE = "one lane"
WAYS: dict[str, list[str]] = {
    ONE: ["--workers", "1"],
    "two workers": ["--workers", "2"],
    "batches of 8": ["--workers", "1", "--batch", "8"],
    "two actors of Ray": ["--workers", "2", "--engine", "ray"],
}
SIZES = ((64, 48), (96, 64), (128, 96), (80, 80))
DAMAGED = "00100.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="sicmh-small")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--ways", default=",".join(WAYS), help="some of them, with commas between")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_album(folder / "album", options.pictures)
        code(ONE, options.model, folder / "album", folder / "right")
        ways = {}
        for way in options.ways.split(","):
            ways[way] = of_way(way, options.model, folder, options.pictures)
            print(json.dumps({way: ways[way]}), file=sys.stderr, flush=True)
    found = {
        "model": options.model,
        "pictures": options.pictures,
        "sizes": [f"{width}x{height}" for width, height in SIZES],
        "damaged": DAMAGED,
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "torch": torch.__version__,
        "icm": icm_core.__version__,
        "ways": ways,
    }
    text = json.dumps(found, indent=2) + "\n"
    print(text, end="")
    if options.output:
        options.output.write_text(text)


def of_way(way: str, model: str, folder: Path, count: int) -> dict[str, Any]:
    """One way, killed and gone on with; files are compared with those of one lane that nobody killed."""
    target = folder / way.replace(" ", "-")
    killed_at = kill(way, model, folder / "album", target, count // 3)
    failed, kept = code(way, model, folder / "album", target, "--resume")
    expected, got = contents(folder / "right"), contents(target)
    names = sorted(expected.keys() | got.keys())
    return {
        "killed_at": killed_at,
        "kept": kept,
        "files": len(got),
        "not_as_in_one_lane": [name for name in names if expected.get(name) != got.get(name)],
        "failed": failed,
    }


def command(way: str, model: str, album: Path, target: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "icm_core", "encode", str(album), "-m", model, "-o", str(target)),
        *("--device", "cpu", "--json", *WAYS[way], *more),
    ]


def code(way: str, model: str, album: Path, target: Path, *more: str) -> tuple[list[str], int]:
    """Names of what failed, and how many files were kept."""
    done = subprocess.run(command(way, model, album, target, *more), stdout=subprocess.PIPE)
    assert done.returncode == 2, done.returncode  # one picture is damaged
    rows = json.loads(done.stdout)
    return [Path(row["file"]).name for row in rows if "error" in row], sum("kept" in row for row in rows)


def kill(way: str, model: str, album: Path, target: Path, after: int) -> int:
    """How many files were there when all of the work's processes were killed."""
    with subprocess.Popen(
        command(way, model, album, target), stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        while process.poll() is None and len(contents(target)) < after:
            time.sleep(0.02)
        assert process.poll() is None, "it was done before it could be killed"
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return len(contents(target))


def contents(folder: Path) -> dict[str, bytes]:
    """Everything in a folder, halves of files too."""
    found = {}
    for path in folder.rglob("*") if folder.is_dir() else ():
        with suppress(FileNotFoundError):  # it was renamed just now
            if path.is_file():
                found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def make_album(folder: Path, count: int) -> None:
    """Parts of the shipped photographs in four sizes, no two alike; of one, the second half is missing."""
    folder.mkdir()
    photographs = [Image.open(path).convert("RGB") for path in shipped_photographs()]
    for number in range(count):
        photo, shift = photographs[number % len(photographs)], number // len(photographs)
        part = photo.crop((shift, shift, photo.width - shift, photo.height - shift)).resize(SIZES[number % len(SIZES)])
        part.save(folder / f"{number:05}.png")
    damaged = folder / DAMAGED
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])


if __name__ == "__main__":
    main()
