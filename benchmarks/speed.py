"""How long one picture takes: ours and the codecs that a user would pick instead, each followed by the same head.

    python benchmarks/speed.py -o benchmarks/results/speed.json [--device cuda] [--size 480x360] [--rounds 5]
    python benchmarks/speed.py --profile
    python benchmarks/speed.py --start -o benchmarks/results/speed.start.json

Every system runs in a process of its own, on one thread unless ``--threads`` says otherwise. The processes take turns,
picture by picture, so that other work on the machine meets all of them; figures are medians over the rounds with the
quartiles beside them. ``encode`` is a picture in memory to the bytes of a file, ``decode`` those bytes to a label map
(``segmentation``) or a class (``classification``). Start-up and a first picture do not count; ``--start`` measures
start-up by itself. Larger pictures take at most ``--growth-seconds`` for each size; what does not fit is left out, and
the result says so.

CompressAI's models run with weights as they are drawn at the start: the published ones need a download. The networks'
times do not depend on the weights; the range coder's do, a little.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import math
import os
import platform
import resource
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypedDict

TASKS = ("segmentation", "classification")
QUALITY = 3.0
OURS, BF16, PEER = "sicmh-small", "sicmh-small in bf16", "bmshj2018-hyperprior"
SYSTEMS = (OURS, BF16, PEER, "mbt2018-mean", "cheng2020-anchor", "webp", "vvc")
ZOO = ("bmshj2018-hyperprior", "mbt2018-mean", "cheng2020-anchor")
GROWTH = (0.25, 1.0, 4.0, 16.0)  # megapixels
GROWTH_SECONDS = 120.0
BATCHES = (1, 2, 4, 8)


class Timed(TypedDict):
    """Seconds of one action: of the process, with all of its threads, and on the wall."""

    process: float
    wall: float


Actions = dict[str, Callable[[], object]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="480x360", help="width x height")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--no-growth", action="store_true", help="leave out larger pictures and batches")
    parser.add_argument("--largest", type=float, default=GROWTH[-1], help="megapixels")
    parser.add_argument(
        "--growth-seconds", type=float, default=GROWTH_SECONDS, help="for each size and number of pictures"
    )
    parser.add_argument("--profile", action="store_true", help="print where the time goes, and nothing else")
    parser.add_argument("--start", action="store_true", help="measure start-up, and nothing else")
    parser.add_argument("--serve", metavar="SYSTEM", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    if options.serve:
        serve(options)
        return
    found = profile(options) if options.profile else start_up(options) if options.start else measure(options)
    text = json.dumps(found, indent=2) + "\n"
    print(text, end="")
    if options.output:
        options.output.write_text(text)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Rounds over all systems, then ours and the peer over sizes and batches."""
    names = options.systems.split(",")
    found: dict[str, Any] = {
        "device": where(options),
        "size": options.size,
        "rounds": options.rounds,
        "quality": QUALITY,
        "command": "python benchmarks/speed.py",
        "systems": in_turns({name: (name, options.size, 1) for name in names}, options),
    }
    if not options.no_growth:
        few = argparse.Namespace(**{**vars(options), "rounds": min(3, options.rounds)})
        found["growth"], found["batches"], found["left_out"] = {}, {}, []
        for size in GROWTH:
            name, which = f"{size:g}", {system: (system, dimensions(size), 1) for system in (OURS, PEER)}
            later = bool(found["left_out"]) or size > options.largest  # a larger one takes longer still
            rows = None if later else in_turns(which, few, options.growth_seconds)
            if rows is None:
                found["left_out"].append(f"{name} megapixels")
            else:
                found["growth"][name] = rows
        for count in BATCHES:
            rows = in_turns({OURS: (OURS, options.size, count)}, few, options.growth_seconds)
            if rows is None:
                found["left_out"].append(f"{count} pictures together")
            else:
                found["batches"][str(count)] = rows[OURS]
    return found


def in_turns(
    which: dict[str, tuple[str, str, int]], options: argparse.Namespace, seconds: float = math.inf
) -> dict[str, Any] | None:
    """Figures of systems that take turns; a system is its name, the pictures' size and their number.

    None if not even one round, besides the first, was done after a number of seconds.
    """
    end = time.monotonic() + seconds
    with contextlib.ExitStack() as stack:
        servers = {key: stack.enter_context(server(*what, options)) for key, what in which.items()}
        rows: dict[str, list[dict[str, Any]]] = {key: [] for key in which}
        for number in range(options.rounds + 1):
            for key, process in servers.items():
                row = ask(process, end)
                if row is None:
                    break
                if number:  # a first picture does not count
                    rows[key].append(row)
            if time.monotonic() > end:
                break
            print(f"round {number} of {options.rounds}: {', '.join(which)}", file=sys.stderr, flush=True)
    return {key: summary(found) for key, found in rows.items()} if all(rows.values()) else None


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians and quartiles of the rounds; bytes and peak memory of the last."""
    found: dict[str, Any] = {"bytes": rows[-1]["bytes"], "peak_mb": rows[-1]["peak_mb"]}
    for action in rows[0]["times"]:
        found[action] = {}
        for clock in ("process", "wall"):
            values = sorted(row["times"][action][clock] for row in rows)
            low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
            found[action][clock] = {"median": statistics.median(values), "quartiles": [low, high]}
    return found


@contextlib.contextmanager
def server(name: str, size: str, batch: int, options: argparse.Namespace) -> Iterator[subprocess.Popen[str]]:
    """A process that does one round whenever it is asked to."""
    arguments = ["--serve", name, "--size", size, "--batch", str(batch)]
    arguments += ["--threads", str(options.threads), "--device", options.device]
    threads = {key: str(options.threads) for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    with subprocess.Popen(
        [sys.executable, __file__, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **threads},
    ) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()


def ask(process: subprocess.Popen[str], end: float) -> dict[str, Any] | None:
    """One round of a system; None, and the system is stopped, where that would take longer than until an end."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    left = None if math.isinf(end) else max(0.0, end - time.monotonic())
    if not select.select([process.stdout], [], [], left)[0]:
        process.kill()
        return None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"a system stopped with exit code {process.wait()}")
    row: dict[str, Any] = json.loads(line)
    return row


def serve(options: argparse.Namespace) -> None:
    """Answers every line with the times of one round."""
    import torch

    torch.set_num_threads(options.threads)
    actions, size_of = system(options.serve, options)
    for _ in sys.stdin:
        times = {name: timed(action, options.device) for name, action in actions.items()}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if options.device != "cpu":
            peak = torch.cuda.max_memory_allocated() / 2**20
        print(json.dumps({"times": times, "bytes": size_of(), "peak_mb": round(peak)}), flush=True)


def timed(action: Callable[[], object], device: str) -> Timed:
    import torch

    def children() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)  # other codecs are programs of their own
        return used.ru_utime + used.ru_stime

    process, wall = time.process_time() + children(), time.perf_counter()
    action()
    if device != "cpu":
        torch.cuda.synchronize()
    return {"process": time.process_time() + children() - process, "wall": time.perf_counter() - wall}


def system(name: str, options: argparse.Namespace) -> tuple[Actions, Callable[[], int]]:
    """What a system does in a round, and the bytes of a file of it."""
    pictures = photographs(options.size, options.batch)
    if name in ZOO:
        return model(name, pictures[0], options.device)
    shipped = {OURS: OURS, BF16: OURS, "webp": "webp-camvid", "vvc": "vvc-camvid", "jpeg": "jpeg-camvid"}
    import icm_core
    from icm_core.bitstream.container import read

    pipe = icm_core.load(shipped[name], device=options.device, precision="bf16" if name == BF16 else "fp32")
    quality = QUALITY if name in (OURS, BF16) else sum(pipe.codec.quality_range) / 2
    blobs: list[bytes] = []

    def encode() -> None:
        blobs[:] = pipe.encode_batch(pictures, quality=quality, enhancement=False)

    def decode(task: str) -> Callable[[], object]:
        return lambda: pipe.decode_batch([read(blob) for blob in blobs], [task])

    return {"encode": encode, **{task: decode(task) for task in TASKS}}, lambda: len(blobs[0])


def model(name: str, picture: Any, device: str) -> tuple[Actions, Callable[[], int]]:
    """A model of CompressAI at its quality 3, and sicmh-small's heads on its pictures."""
    import torch
    from compressai.zoo import image_models
    from torch.nn import functional as F

    import icm_core
    from icm_core.pictures import to_tensor

    torch.manual_seed(0)
    net = image_models[name](quality=3, pretrained=False).eval().to(device)
    net.update(force=True)
    heads = icm_core.load("webp-camvid", device=device)  # sicmh-small's heads on pictures
    written: dict[str, Any] = {}
    width, height = picture.size

    def encode() -> None:
        with torch.inference_mode():
            x = to_tensor(picture).to(device)
            x = F.pad(x, (0, -width % 64, 0, -height % 64), mode="replicate")
            written.update(net.compress(x))

    def decode(task: str) -> Callable[[], object]:
        def run() -> object:
            with torch.inference_mode():
                x = net.decompress(written["strings"], written["shape"])["x_hat"][..., :height, :width].clamp(0, 1)
                return heads.task(task).predict(icm_core.SideInfo((x,), (height, width)))

        return run

    return {"encode": encode, **{task: decode(task) for task in TASKS}}, lambda: sum(
        len(stream[0]) for stream in written["strings"]
    )


def photographs(size: str, count: int) -> list[Any]:
    """The demo's photographs at one size, again and again."""
    from icm_core.pictures import open_picture
    from icm_demo.samples import shipped_photographs

    width, height = map(int, size.split("x"))
    found = [open_picture(path) for path in shipped_photographs()]
    return [found[number % len(found)].resize((width, height)) for number in range(count)]


def profile(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of the process in each part of one picture's way, on one thread: the least of the rounds."""
    import torch

    import icm_core

    torch.set_num_threads(options.threads)
    found: dict[str, Any] = {"device": where(options), "size": options.size}
    for name, precision in ((OURS, "fp32"), (BF16, "bf16")):
        with torch.inference_mode(), torch.autocast(options.device, torch.bfloat16, enabled=precision == "bf16"):
            parts = parts_of(icm_core.load(OURS, device=options.device, precision=precision), options)
            found[name] = {
                part: min(timed(action, options.device)["process"] for _ in range(options.rounds))
                for part, action in parts.items()
            }
    return found


def parts_of(pipe: Any, options: argparse.Namespace) -> Actions:
    """The parts of one picture's way through a pipeline of SICMH's."""
    from icm_core.pictures import to_tensor
    from icm_core.quality import Quality
    from icm_sicmh.layers import pad_to

    (picture,) = photographs(options.size, 1)
    codec, quality = pipe.codec, Quality.of(QUALITY)
    x = to_tensor(picture).to(options.device)
    payloads, side = codec.encode_with_side(x, quality)
    padded = pad_to(x, 64)
    latents = codec.latents(padded)
    parts: Actions = {
        "encoder": lambda: codec.latents(padded),
        "symbols, encoding": lambda: codec.encode_latents(*latents, quality),
        "symbols, decoding": lambda: codec.decode(payloads, side.size, quality),
    }
    for task in TASKS:
        one = pipe.task(task)
        parts[f"{task}: adapter"] = functools.partial(one.adapter, side)
        parts[f"{task}: head"] = functools.partial(one.head, one.adapter(side))
    return parts


def start_up(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of the processor of whole processes: commands, and loading the pipeline beside what it cannot do without.

    A command's first run finds out what the later ones remember (`icm_core.cli.remembered`); it is shown by itself.
    """
    import icm_core

    pipe = icm_core.load(OURS, device="cpu")
    weights = [str(path) for path in weights_of(OURS)]
    found: dict[str, Any] = {"device": where(options), "rounds": options.rounds}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        picture = photographs(options.size, 1)[0]
        (folder / "photo.icm").write_bytes(pipe.encode(picture, quality=QUALITY))
        commands = {
            "icm --help": ["--help"],
            "icm info FILE": ["info", str(folder / "photo.icm")],
            "icm plugins": ["plugins"],
            "icm schema": ["schema"],
        }
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "ICM_CACHE": str(folder / "cache")}
        rows = {}
        for title, arguments in commands.items():
            command = [sys.executable, "-m", "icm_core", *arguments]
            first = seconds_of(command, environment)
            rows[title] = {"first": first, **spread([seconds_of(command, environment) for _ in range(options.rounds)])}
        found["commands"] = rows
        needed = f"import torch; from safetensors.torch import load_file; [load_file(file) for file in {weights!r}]"
        codes = {"needed": needed, "loading": f"import icm_core; icm_core.load({OURS!r}, device='cpu')"}
        times: dict[str, list[float]] = {what: [] for what in codes}
        for _ in range(options.rounds):
            for what, code in codes.items():
                times[what].append(seconds_of([sys.executable, "-W", "ignore", "-c", code], environment))
        found["loading"] = {what: spread(values) for what, values in times.items()}
    return found


def weights_of(name: str) -> tuple[Path, ...]:
    from icm_core.plugins.registry import build_registry
    from icm_core.spec.extends import compose

    registry = build_registry()
    return compose(registry.specs.get(name), registry).weights


def seconds_of(command: list[str], environment: dict[str, str]) -> float:
    """Seconds of the processor that a program takes, with all that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, 4)


def spread(values: list[float]) -> dict[str, Any]:
    """The median, the least and the most."""
    return {"median": statistics.median(values), "range": [min(values), max(values)]}


def where(options: argparse.Namespace) -> str:
    if options.device != "cpu":
        import torch

        return torch.cuda.get_device_name()
    threads = f"{options.threads} thread{'s' if options.threads > 1 else ''}"
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{threads} of {line.partition(':')[2].strip()}"
    return f"{threads} of a {platform.machine()} CPU"


def dimensions(megapixels: float) -> str:
    """A size of 4:3, in multiples of 4."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5 / 4) * 4
    return f"{height * 4 // 3}x{height}"


if __name__ == "__main__":
    main()
