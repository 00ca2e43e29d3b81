"""Mutated files against the decoder: the right answer or one `BitstreamError`, in time and in memory.

    python benchmarks/fuzz.py --count 100000 --json benchmarks/results/trust.fuzz.json

The seeds are golden files. Two thirds of the mutants are damage (flips, cuts, insertions, deletions, overwritten runs,
pieces of other files, lies in the header); a third of all are *sealed*: what they say is changed and every checksum
made right again, so that it is the streams' own defences that meet it. Each mutant follows from its number alone.

A mutant fails the run if decoding it

* raises anything but one `BitstreamError`;
* gives, unsealed, other integers than its seed (a cut behind the base layer has to give the base layer's);
* takes a second of processor time more than the slowest valid file at the picture limit;
* makes the process grow by more than twice what a valid file at the picture limit makes it grow.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import platform
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

import icm_core
from icm_core import BitstreamError, Pipeline, Quality
from icm_core.bitstream.container import Container, Layer, read, write
from icm_core.bitstream.control_hash import control_hash
from icm_core.bitstream.split import split

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests/golden/presets"
SEEDS = ("base", "column", "control", "parts")
SIDE = 256
MAX_PIXELS = SIDE * SIDE
SECONDS_OVER = 1.0
GROWTH = 2.0

Mutate = Callable[[random.Random, bytes, Sequence[bytes]], bytes]


def flips(source: random.Random, blob: bytes, _: Sequence[bytes]) -> bytes:
    """One to eight flipped bits."""
    found = bytearray(blob)
    for _ in range(source.choice((1, 1, 1, 2, 4, 8))):
        bit = source.randrange(8 * len(found))
        found[bit // 8] ^= 1 << bit % 8
    return bytes(found)


def cut(source: random.Random, blob: bytes, _: Sequence[bytes]) -> bytes:
    """The end is missing."""
    return blob[: source.randrange(len(blob))]


def insertion(source: random.Random, blob: bytes, _: Sequence[bytes]) -> bytes:
    """Bytes too many."""
    at = source.randrange(len(blob) + 1)
    return blob[:at] + source.randbytes(source.randint(1, 40)) + blob[at:]


def deletion(source: random.Random, blob: bytes, _: Sequence[bytes]) -> bytes:
    """Bytes missing in the middle."""
    at = source.randrange(len(blob))
    return blob[:at] + blob[at + source.randint(1, 40) :]


def overwriting(source: random.Random, blob: bytes, _: Sequence[bytes]) -> bytes:
    """A run of other bytes."""
    at = source.randrange(len(blob))
    size = min(source.randint(1, 60), len(blob) - at)
    run = source.choice((bytes(size), b"\xff" * size, source.randbytes(size)))
    return blob[:at] + run + blob[at + size :]


def splice(source: random.Random, blob: bytes, others: Sequence[bytes]) -> bytes:
    """The head of one file with the tail of another."""
    other = source.choice(others)
    return blob[: source.randrange(len(blob))] + other[source.randrange(len(other)) :]


def header_lie(source: random.Random, blob: bytes, _: Sequence[bytes]) -> bytes:
    """Another number in the header of the file or of its first layer."""
    found = bytearray(blob)
    at, size = source.choice(((3, 1), (4, 2), (6, 2), (8, 1), (9, 1), (10, 4), (14, 4), (18, 4)))
    top = 1 << 8 * size
    number = source.choice((0, 1, top - 1, top // 2, source.randrange(top)))
    found[at : at + size] = number.to_bytes(size, "big")
    return bytes(found)


DAMAGE: dict[str, Mutate] = {
    "flips": flips,
    "cut": cut,
    "insertion": insertion,
    "deletion": deletion,
    "overwriting": overwriting,
    "splice": splice,
    "header lie": header_lie,
}


def sealed(source: random.Random, blob: bytes, others: Sequence[bytes]) -> bytes:
    """Other sizes, quality or payloads, under checksums that are right."""
    file = read(blob)
    height, width, quality = file.height, file.width, file.quality
    layers = list(file.layers)
    if source.random() < 0.4:
        height, width = (source.randint(1, SIDE) for _ in range(2))
    if source.random() < 0.3:
        quality = Quality(source.randint(16, 80))
    if source.random() < 0.8:
        n = source.randrange(len(layers))
        layers[n] = dataclasses.replace(layers[n], payload=_other_payload(source, layers[n], others))
    if source.random() < 0.1:
        layers = layers[:1]
    return write(Container(height, width, quality, tuple(layers)))


def _other_payload(source: random.Random, layer: Layer, others: Sequence[bytes]) -> bytes:
    if source.random() < 0.2:
        return source.randbytes(4 * source.randint(0, 200))
    if not layer.payload:
        return layer.payload
    mutate = source.choice(list(DAMAGE.values())[:-1])
    found = mutate(source, layer.payload, others)
    return found[: len(found) - len(found) % 4] if source.random() < 0.8 else found


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One file, perhaps with an enhancement part, and what it may give.

    Attributes:
        kind: what was done to it.
        seed: name of the golden file that it was made of.
        blob, part: what the decoder is given.
        is_sealed: whether its checksums are right, so that it may say something else.
    """

    kind: str
    seed: str
    blob: bytes
    part: bytes | None
    is_sealed: bool


class Fuzzer:
    """Mutants of the golden files, and the judge of what they give."""

    def __init__(self) -> None:
        self.pipeline: Pipeline = icm_core.load(GOLDEN / "presets.json", device="cpu")
        self.seeds = {name: (GOLDEN / f"{name}.icm").read_bytes() for name in SEEDS}
        self.right = {name: self._answer(blob, None) for name, blob in self.seeds.items()}
        self.parts = split(self.seeds["parts"])

    def mutant(self, number: int) -> Mutant:
        """The mutant of a number, always the same."""
        source = random.Random(number)
        seed = source.choice(SEEDS)
        others = list(self.seeds.values())
        if source.random() < 1 / 3:
            return Mutant("sealed", seed, sealed(source, self.seeds[seed], others), None, True)
        kind = source.choice([*DAMAGE, "part"])
        if kind == "part":
            name = source.choice(list(DAMAGE))
            return Mutant(kind, "parts", self.parts[0], DAMAGE[name](source, self.parts[1], others), False)
        return Mutant(kind, seed, DAMAGE[kind](source, self.seeds[seed], others), None, False)

    def _answer(self, blob: bytes, part: bytes | None) -> tuple[bytes, bytes | None]:
        latents: list[torch.Tensor] = []
        assert self.pipeline.enhancement is not None
        decoder = self.pipeline.enhancement.get_submodule("decoder_r")
        hook = decoder.register_forward_pre_hook(lambda _, args: latents.append(args[0]))
        try:
            side = self.pipeline.decode(blob, enhancement=part, max_pixels=MAX_PIXELS).side
        finally:
            hook.remove()
        return control_hash(side.levels), control_hash(latents) if latents else None

    def judge(self, mutant: Mutant) -> str:
        """``refused``, ``right`` or, for a sealed one, ``another file``; anything else is a failure."""
        try:
            found = self._answer(mutant.blob, mutant.part)
        except BitstreamError as error:
            return "refused" if "\n" not in str(error) else "failure: an error of several lines"
        except TimeoutError:
            return "failure: a hang"
        except Exception as error:
            return f"failure: {type(error).__name__}: {error}"
        right = self.right[mutant.seed]
        if found == right or found == (right[0], None):
            return "right"
        return "another file" if mutant.is_sealed else "failure: other integers than the seed's"

    def normal(self) -> float:
        """Seconds of processor time that a valid file at the picture limit takes."""
        generator = torch.Generator().manual_seed(0)
        picture = torch.rand(3, SIDE, SIDE, generator=generator)
        blob = self.pipeline.encode(picture, 4.0)
        start = time.process_time()
        for _ in range(3):
            self._answer(blob, None)
        return (time.process_time() - start) / 3


def peak() -> int:
    """The most memory that the process has had, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _hang(*_: object) -> None:
    raise TimeoutError


class Tally:
    """What a run has found so far.

    Args:
        first: number of the first mutant.
        seconds: processor time of a valid file at the picture limit.
        growth: KiB by which loading the pipeline and decoding such files makes the process grow.
    """

    def __init__(self, first: int, seconds: float, growth: int) -> None:
        self.first, self.seconds, self.growth = first, seconds, growth
        self.outcomes: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        self.failures: list[dict[str, object]] = []
        self.slowest = 0.0

    def add(self, number: int, mutant: Mutant, outcome: str, spent: float) -> None:
        """Count one mutant."""
        self.slowest = max(self.slowest, spent)
        if spent > self.seconds + SECONDS_OVER:
            outcome = f"failure: {spent:.2f} s, and a valid file takes {self.seconds:.2f} s"
        if outcome.startswith("failure"):
            self.failures.append({"number": number, "kind": mutant.kind, "seed": mutant.seed, "outcome": outcome})
            outcome = "failure"
        self.outcomes[mutant.kind][outcome] += 1

    def result(self, growth: int) -> dict[str, Any]:
        """As JSON data.

        Args:
            growth: KiB by which the process has grown.
        """
        failures = list(self.failures)
        if growth > GROWTH * self.growth:
            failures.append({"outcome": f"grown by {growth} KiB, and by {self.growth} KiB for valid files"})
        totals = sum(self.outcomes.values(), collections.Counter())
        return {
            "count": sum(totals.values()),
            "first": self.first,
            "outcomes": dict(totals),
            "by_kind": {kind: dict(counts) for kind, counts in sorted(self.outcomes.items())},
            "failures": failures[:100],
            "failed": len(failures),
            "max_pixels": MAX_PIXELS,
            "seconds_valid": self.seconds,
            "seconds_slowest": self.slowest,
            "growth_valid_kib": self.growth,
            "growth_kib": growth,
            "versions": {"icm": icm_core.__version__, "torch": torch.__version__, "python": platform.python_version()},
        }


def run(count: int, first: int = 0) -> Iterator[dict[str, Any]]:
    """Judge that many mutants, from a number on; the result so far after every 2,000, and at the end."""
    fresh = peak()
    fuzzer = Fuzzer()
    tally = Tally(first, fuzzer.normal(), peak() - fresh)
    signal.signal(signal.SIGALRM, _hang)
    for number in range(first, first + count):
        mutant = fuzzer.mutant(number)
        signal.alarm(300)
        start = time.process_time()
        outcome = fuzzer.judge(mutant)
        spent = time.process_time() - start
        signal.alarm(0)
        tally.add(number, mutant, outcome, spent)
        done = number + 1 - first
        if done % 2000 == 0 or done == count:
            yield tally.result(peak() - fresh)


def main() -> int:
    """Run, print, and fail if anything did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for the result, written again and again while it runs")
    options = parser.parse_args()
    result: dict[str, Any] = {"failed": 0}
    for result in run(options.count, options.first):
        print(f"{result['count']}/{options.count}, {result['failed']} failures", file=sys.stderr, flush=True)
        if options.json:
            options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    return 1 if result["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
