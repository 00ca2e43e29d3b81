"""Decodes every golden file under every condition that could make a float network differ, and prints a table.

    python tests/golden/matrix.py [--fast] [--compile] [--float] [--json FILE]

Conditions: 1 and 2 threads, oneDNN on and off, fp32 and bf16, channels-last on and off, batches of 1 and 8, in all
combinations; each of them in processes of their own with ATEN_CPU_CAPABILITY default, avx2 and avx512, and on CUDA
where there is one. ``--compile`` adds torch.compile, which takes minutes. ``--fast`` changes one condition at a time,
in this process. ``--float`` puts float networks in the place of the integer ones and codes files of its own: a matrix
that could not tell the two apart would be worth nothing. The exit code is 1 where any decoding differs.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import itertools
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from icm_core import BitstreamError, Pipeline, build_registry, load
from icm_core.bitstream.container import read
from icm_core.coding import FRACTION_BITS, LIMIT, IntegerNetwork, to_fixed

FOLDER = Path(__file__).parent
SPECS = (
    FOLDER / "golden.json",
    FOLDER / "presets" / "presets.json",
    FOLDER / "wide" / "wide.json",
    FOLDER / "context" / "context.json",
)
CAPABILITIES = ("default", "avx2", "avx512")
FEW = ("odd", "block")


@dataclass(frozen=True)
class Conditions:
    """How one decoding is done."""

    threads: int = 1
    onednn: bool = True
    precision: str = "fp32"
    channels_last: bool = False
    batch: int = 1
    compile: bool = False
    device: str = "cpu"


REFERENCE = Conditions()
FAST = (
    REFERENCE,
    Conditions(threads=2),
    Conditions(onednn=False),
    Conditions(precision="bf16"),
    Conditions(channels_last=True),
    Conditions(batch=8),
    Conditions(2, False, "bf16", True, 8),
)


def combinations(device: str) -> list[Conditions]:
    """All of them but torch.compile."""
    choices = itertools.product((1, 2), (True, False), ("fp32", "bf16"), (False, True), (1, 8))
    return [Conditions(*choice, device=device) for choice in choices]


class FloatNetwork:
    """What an entropy network must not be: the trained float network itself, its output rounded to fixed point."""

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name, self.module = name, module

    def __call__(self, x: Tensor) -> Tensor:
        found: Tensor = self.module(x.float() * 2.0**-FRACTION_BITS)
        return (found.double() * 2.0**FRACTION_BITS).round().clamp(-LIMIT, LIMIT)

    def state(self) -> bytes:
        return self.name.encode()

    def prove(self) -> list[Any]:
        return []


@contextmanager
def float_networks() -> Iterator[None]:
    """SICMH with float networks between its symbols and its probabilities."""
    from icm_sicmh import codec, prediction, residual

    modules = (codec, prediction, residual)
    for module in modules:
        setattr(module, "IntegerNetwork", FloatNetwork)  # noqa: B010
    try:
        yield
    finally:
        for module in modules:
            setattr(module, "IntegerNetwork", IntegerNetwork)  # noqa: B010


@contextmanager
def compiled(wanted: bool) -> Iterator[None]:
    """The integer networks through torch.compile, one graph for each."""
    if not wanted:
        yield
        return
    torch._dynamo.config.cache_size_limit = 512
    original = IntegerNetwork.__call__
    IntegerNetwork.__call__ = torch.compile(original, dynamic=True)  # type: ignore[method-assign]
    try:
        yield
    finally:
        IntegerNetwork.__call__ = original  # type: ignore[method-assign]


@contextmanager
def arithmetic(conditions: Conditions) -> Iterator[None]:
    """Threads, oneDNN, autocast and compilation as the conditions say."""
    threads = torch.get_num_threads()
    torch.set_num_threads(conditions.threads)
    bf16 = conditions.precision == "bf16"
    try:
        with (
            torch.inference_mode(),
            torch.backends.mkldnn.flags(enabled=conditions.onednn),
            torch.autocast(conditions.device, torch.bfloat16) if bf16 else nullcontext(),
            compiled(conditions.compile),
        ):
            yield
    finally:
        torch.set_num_threads(threads)


def digest(values: Tensor) -> str:
    """SHA-256 of fixed-point numbers as big-endian int64, in row-major order."""
    return hashlib.sha256(to_fixed(values).cpu().contiguous().numpy().astype(">i8").tobytes()).hexdigest()


def placed(pipeline: Pipeline, conditions: Conditions) -> Pipeline:
    """A copy on the device and in the memory format; its integer networks are made anew."""
    other = copy.deepcopy(pipeline).to(conditions.device)
    return other.to(memory_format=torch.channels_last) if conditions.channels_last else other


def digests(pipeline: Pipeline, blob: bytes, conditions: Conditions) -> list[dict[str, str]]:
    """Of h1, h2 and, where the file has it, y_r, for each picture of the batch."""
    file = read(blob)
    with arithmetic(conditions):
        if file.base.fingerprint != pipeline.base_fingerprint:
            raise BitstreamError("the pipeline has another fingerprint here")
        side = pipeline.codec.decode([file.base.payload] * conditions.batch, (file.height, file.width), file.quality)
        found = {"h1": side.levels[0], "h2": side.levels[1]}
        if file.enhancement is not None and pipeline.enhancement is not None:
            latent = pipeline.enhancement.latent([file.enhancement.payload] * conditions.batch, side, file.quality)
            assert latent is not None
            found["y_r"] = latent
    return [{name: digest(value[i : i + 1]) for name, value in found.items()} for i in range(conditions.batch)]


def same(pipeline: Pipeline, blob: bytes, expected: dict[str, str], conditions: Conditions) -> bool:
    """Whether a file decodes to what it was made of, in each place of the batch."""
    try:
        return all(found == expected for found in digests(pipeline, blob, conditions))
    except BitstreamError:
        return False


Case = tuple[str, Pipeline, bytes, dict[str, str]]


def golden_cases() -> list[Case]:
    """Name, pipeline, file and hashes of every golden file."""
    registry, cases = build_registry(), []
    for spec in SPECS:
        pipeline = load(spec, device="cpu", registry=registry)
        for name, entry in json.loads((spec.parent / "hashes.json").read_text()).items():
            cases.append((name, pipeline, (spec.parent / f"{name}.icm").read_bytes(), entry["sha256"]))
    return cases


def float_cases() -> list[Case]:
    """Files that float networks write under the reference conditions, and what those make of them there."""
    pipeline = load(SPECS[0], device="cpu")
    rows, columns = torch.arange(150)[:, None] / 17, torch.arange(230)[None, :] / 23
    picture = torch.stack([torch.sin(rows * (1 + c / 3) + c) * torch.cos(columns) for c in range(3)]) / 2 + 0.5
    with arithmetic(REFERENCE):
        blob = pipeline.encode(picture, 3.0)
    (hashes,) = digests(placed(pipeline, REFERENCE), blob, REFERENCE)
    return [("float", pipeline, blob, hashes)]


def run(cases: Sequence[Case], conditions: Sequence[Conditions]) -> list[dict[str, Any]]:
    """One row for each of the conditions: files decoded, and the names of those that differ."""
    rows = []
    for one in conditions:
        chosen = [case for case in cases if not one.compile or case[0] in (*FEW, "float")]
        copies = {id(pipeline): placed(pipeline, one) for _, pipeline, _, _ in chosen}
        different = [name for name, p, blob, hashes in chosen if not same(copies[id(p)], blob, hashes, one)]
        about = {field.name: getattr(one, field.name) for field in fields(one)}
        about["capability"] = torch.backends.cpu.get_cpu_capability()
        rows.append({**about, "files": len(chosen), "different": different})
    return rows


def in_processes(arguments: Sequence[str], with_compile: bool) -> list[dict[str, Any]]:
    """The rows of processes that were started with each CPU capability, and of one that compiles."""
    rows = []
    for capability in (*CAPABILITIES, *([None] if with_compile else [])):
        here = [*arguments, *(["--compile"] if capability is None else [])]
        done = subprocess.run(
            [sys.executable, __file__, "--here", *here],
            env=os.environ if capability is None else {**os.environ, "ATEN_CPU_CAPABILITY": capability},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        rows += json.loads(done.stdout)
    return rows


def summary(rows: Sequence[dict[str, Any]]) -> list[tuple[str, int, int]]:
    """Condition, decodings under it, and how many of those differ."""
    found = []
    for name in ("capability", *(field.name for field in fields(Conditions))):
        for value in sorted({row[name] for row in rows}, key=str):
            chosen = [row for row in rows if row[name] == value]
            found.append(
                (f"{name} {value}", sum(row["files"] for row in chosen), sum(len(row["different"]) for row in chosen))
            )
    return found


def conditions_of(options: argparse.Namespace) -> list[Conditions]:
    """What the options ask for."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    if options.compile:
        return [replace(REFERENCE, compile=True, device=device) for device in devices]
    return list(FAST) if options.fast else [one for device in devices for one in combinations(device)]


def main() -> int:
    """Run the matrix and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="one condition at a time, in this process")
    parser.add_argument("--compile", action="store_true", help="torch.compile as well; with --fast, nothing else")
    parser.add_argument("--float", action="store_true", help="with float networks, which have to fail")
    parser.add_argument("--json", type=Path, help="file for the rows")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here or options.fast:
        with float_networks() if options.float else nullcontext():
            rows = run(float_cases() if options.float else golden_cases(), conditions_of(options))
    else:
        rows = in_processes(["--float"] if options.float else [], options.compile)
    if options.here:
        print(json.dumps(rows))
        return 0
    table = summary(rows)
    for condition, decodings, different in table:
        print(f"{condition:28}{decodings:8} decodings{different:8} different")
    if options.json:
        result = {
            "torch": torch.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "decodings": sum(row["files"] for row in rows),
            "different": sum(len(row["different"]) for row in rows),
            "conditions": [list(line) for line in table],
        }
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 1 if any(row["different"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
