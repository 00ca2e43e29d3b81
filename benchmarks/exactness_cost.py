"""What exactness costs: rate against the float model's estimate, time against float networks, and memory.

    python benchmarks/exactness_cost.py --data DIR --json benchmarks/results/trust.cost.json [--part rate] [--limit N]

``DIR`` holds ``camvid``. *rate*: bits that were written, bits that the integer tables ascribe to the symbols, and the
float networks' estimate of the same picture. *time*: the codec's decoding, with integer networks (float64) and with the
float networks that they were made of (float32), in turns; processor time, because a shared machine's clock also counts
what others do. *memory*: growth of a fresh process that decodes, between two sizes of picture.
"""

from __future__ import annotations

import argparse
import copy
import functools
import importlib.util
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

import icm_core
from icm_core import Pipeline, Quality
from icm_core.coding import CdfTables, StreamEncoder
from icm_core.pictures import open_picture, to_tensor
from icm_core.types import SideInfo

ROOT = Path(__file__).parents[1]
SIZES = ((512, 512), (1024, 1024))


def matrix() -> ModuleType:
    """The golden files' program, which has the float networks."""
    spec = importlib.util.spec_from_file_location("icm_golden_matrix", ROOT / "tests/golden/matrix.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def information() -> Iterator[list[float]]:
    """Bits of the symbols that are pushed meanwhile, by the tables that code them."""
    found: list[float] = []
    original = StreamEncoder.push

    def push(self: StreamEncoder, symbols: Tensor, indexes: Tensor, tables: CdfTables) -> None:
        found.append(tables.bits(symbols, indexes))
        original(self, symbols, indexes, tables)

    StreamEncoder.push = push  # type: ignore[method-assign]
    try:
        yield found
    finally:
        StreamEncoder.push = original  # type: ignore[method-assign]


def pictures(root: Path, limit: int) -> list[Tensor]:
    """Every n-th picture of CamVid val."""
    paths = sorted((root / "camvid/val").iterdir())
    return [to_tensor(open_picture(path)) for path in paths[:: len(paths) // limit][:limit]]


def rate(pipe: Pipeline, root: Path, limit: int) -> dict[str, Any]:
    """Means over pictures, base layer and enhancement layer."""
    assert pipe.enhancement is not None and pipe.over is not None
    chosen, points = pictures(root, limit), []
    for quality in (1.0, 4.0):
        step, number = Quality.of(quality), torch.tensor([quality])
        rows = []
        for x in chosen:
            size = (x.shape[-2], x.shape[-1])
            with torch.inference_mode():
                with information() as base:
                    (payload,) = pipe.codec.encode(x, step)
                estimate = float(pipe.codec(x, number).total_bits)
                side = pipe.codec.decode([payload], size, step)
                coarse = pipe.task(pipe.over).predict(side).output
                with information() as fine:
                    (more,) = pipe.enhancement.encode(x, coarse, side, step)
                padded = [torch.nn.functional.pad(p, _padding(p), mode="replicate") for p in (x, coarse)]
                _, fine_estimate = pipe.enhancement(*padded, SideInfo(side.levels, tuple(padded[0].shape[-2:])), number)
            rows.append(
                (8 * len(payload), sum(base), estimate, 8 * len(more), sum(fine), float(fine_estimate)),
            )
        names = ("base_bits", "base_information", "base_estimate", "fine_bits", "fine_information", "fine_estimate")
        means = {name: statistics.fmean(row[i] for row in rows) for i, name in enumerate(names)}
        points.append({"quality": quality, **means})
    return {"pictures": len(chosen), "points": points}


def _padding(x: Tensor) -> tuple[int, int, int, int]:
    return (0, -x.shape[-1] % 64, 0, -x.shape[-2] % 64)


def seconds(call: Callable[[], object]) -> float:
    """Processor time of a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def timing(pipe: Pipeline, root: Path, limit: int) -> dict[str, Any]:
    """Medians over pairs of decodings of the same picture, integer and float in turns."""
    golden = matrix()
    other = copy.deepcopy(pipe)
    step = Quality.of(3.0)
    whole: dict[str, list[float]] = {"integer": [], "float": []}
    with torch.inference_mode():
        for x in pictures(root, limit):
            size = (x.shape[-2], x.shape[-1])
            (exact,) = pipe.codec.encode(x, step)
            with golden.float_networks():
                (loose,) = other.codec.encode(x, step)
            pairs = (("integer", pipe, exact), ("float", other, loose))
            for turn in range(4):
                for name, one, payload in pairs if turn % 2 else reversed(pairs):
                    spent = seconds(functools.partial(one.codec.decode, [payload], size, step))
                    if turn:  # the first is not counted
                        whole[name].append(spent)
    ratios = [a / b for a, b in zip(whole["integer"], whole["float"], strict=True)]
    return {
        "pictures": limit,
        "pairs": len(ratios),
        "integer_seconds": statistics.median(whole["integer"]),
        "float_seconds": statistics.median(whole["float"]),
        "ratio_median": statistics.median(ratios),
        "ratio_lowest": min(ratios),
        "ratio_highest": max(ratios),
    }


def resident(field: str) -> int:
    """KiB of resident memory now (``VmRSS``) or at most (``VmHWM``), as Linux counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def decode_and_print_growth(model: str, task: str) -> None:
    """Decode the file on stdin and print by how many KiB the process grew at most, loading left out."""
    pipe = icm_core.load(model, device="cpu")
    _ = pipe.base_fingerprint, pipe.enhancement_fingerprint
    blob = sys.stdin.buffer.read()
    Path("/proc/self/clear_refs").write_text("5")  # loading had its own peak; forget it
    before = resident("VmRSS")
    pipe.decode(blob, [task])
    print(resident("VmHWM") - before)


def memory(pipe: Pipeline, root: Path, limit: int) -> dict[str, Any]:  # noqa: ARG001
    """MB by which decoding makes a fresh process grow: at two sizes, and the slope between them per megapixel."""
    points = {}
    for name, tasks in (("base", pipe.over), ("both", "fine")):
        peaks = []
        for height, width in SIZES:
            picture = torch.rand(3, height // 8, width // 8, generator=torch.Generator().manual_seed(0))
            large = torch.nn.functional.interpolate(picture[None], (height, width), mode="bicubic").clamp(0, 1)
            blob = pipe.encode(large, 3.0, enhancement=name == "both")
            command = [sys.executable, __file__, "--decode", pipe.name, "--task", str(tasks)]
            done = subprocess.run(command, input=blob, stdout=subprocess.PIPE, check=True)
            peaks.append(int(done.stdout) * 1024)
        megapixels = [height * width / 1e6 for height, width in SIZES]
        points[name] = (peaks[1] - peaks[0]) / 1e6 / (megapixels[1] - megapixels[0])
        points[f"{name}_growth_mb"] = [peak / 1e6 for peak in peaks]
    return {"sizes": ["x".join(map(str, size)) for size in SIZES], "mb_per_megapixel": points}


PARTS = {"rate": rate, "time": timing, "memory": memory}


def main() -> None:
    """Measure the parts and write each into the JSON as soon as it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--limit", type=int, default=5)
    parser.add_argument("--model", default="sicmh-small")
    parser.add_argument("--decode", help=argparse.SUPPRESS)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.decode:
        decode_and_print_growth(options.decode, options.task)
        return
    pipe = icm_core.load(options.model, device="cpu")
    for part in options.part or list(PARTS):
        result = PARTS[part](pipe, options.data, options.limit)
        result["versions"] = {"icm": icm_core.__version__, "torch": torch.__version__}
        result["device"] = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
        result["weights"] = pipe.base_fingerprint.hex()
        result["command"] = f"python benchmarks/exactness_cost.py --data DIR --json OUT --part {part}"
        stored = json.loads(options.json.read_text()) if options.json.exists() else {}
        options.json.write_text(json.dumps({**stored, part: result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
