"""What `icm serve` does in a second, with waiting requests done together and one by one.

    python benchmarks/serve.py -o benchmarks/results/serve.json

It starts the program on a free port of this machine, and as many clients as places send the next request when the last
one was answered. All requests are of one size, which is the best case for batches. The pipeline by itself, without a
service, is measured beside it. Nothing leaves the machine; it takes 2 x 2 x SECONDS and the start of the program.

    python benchmarks/serve.py --faults 10000 -o benchmarks/results/serve.faults.json

sends so many files with changed bits instead, and fails where one is answered with anything but 200 or 400.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import icm_core
from icm_core.pictures import png_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="sicmh-small")
    parser.add_argument("--photo", type=Path, help="a photograph; a made-up picture if not given")
    parser.add_argument("--size", default="256x256", help="width x height of the pictures")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--tasks", default="classification,segmentation")
    parser.add_argument("--faults", type=int, metavar="N", help="send N files with changed bits instead")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    if options.faults:
        _write(_faults(options.model, options.faults), options.output)
        return
    width, height = (int(side) for side in options.size.split("x"))
    photo = Image.open(options.photo).convert("RGB") if options.photo else _made_up()
    photo = photo.resize((width, height))
    pipe = icm_core.load(options.model, device="cpu")
    blob = pipe.encode(photo, 3, enhancement=False)
    works = {
        "decode": (f"/decode?tasks={options.tasks}", blob),
        "encode": ("/encode?quality=3&enhancement=false", png_bytes(photo)),
    }
    found = {
        "model": options.model,
        "size": options.size,
        "clients": options.clients,
        "seconds": options.seconds,
        "tasks": options.tasks,
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "alone": {
            "decode": _alone(lambda: pipe.decode(blob, options.tasks.split(",")), options.seconds / 4),
            "encode": _alone(lambda: pipe.encode(photo, 3, enhancement=False), options.seconds / 4),
        },
    }
    for name, batch in (("one_by_one", 1), ("batches", 8)):
        found[name] = _served(options.model, batch, works, options.clients, options.seconds)
    _write(found, options.output)


def _write(found: dict[str, object], output: Path | None) -> None:
    text = json.dumps(found, indent=2) + "\n"
    print(text, end="")
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text)


def _faults(model: str, count: int) -> dict[str, object]:
    """Files of 64 x 48 with one to eight changed bits, three in ten of them cut as well; each by another seed."""
    pipe = icm_core.load(model, device="cpu")
    blob = pipe.encode(_made_up().resize((64, 48)), 3, control=True)
    sentences: Counter[str] = Counter()
    statuses: Counter[int] = Counter()
    with _program(model, 8) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        start = time.perf_counter()
        for seed in range(count):
            generator = random.Random(seed)
            body = bytearray(blob)
            for _ in range(generator.choice((1, 1, 2, 8))):
                body[generator.randrange(len(body))] ^= 1 << generator.randrange(8)
            if generator.random() < 0.3:
                del body[generator.randrange(len(body)) :]
            connection.request("POST", "/decode?tasks=coarse", bytes(body))
            response = connection.getresponse()
            answer = json.loads(response.read())
            statuses[response.status] += 1
            if response.status not in (200, 400):
                sys.exit(f"the file of seed {seed} is answered with {response.status}: {answer}")
            if response.status == 400:
                sentences[re.sub(r"'[^']*'|[0-9a-f]{8}|[0-9]+", "_", answer["error"])] += 1
        seconds = time.perf_counter() - start
        connection.request("POST", "/decode?tasks=coarse", blob)
        if (last := connection.getresponse()).status != 200:
            sys.exit(f"the undamaged file is answered with {last.status} afterwards")
    return {
        "model": model,
        "files": count,
        "bytes_of_the_undamaged_file": len(blob),
        "statuses": {str(status): number for status, number in sorted(statuses.items())},
        "kinds_of_refusals": len(sentences),
        "seconds": round(seconds, 1),
        "torch": torch.__version__,
    }


def _made_up() -> Image.Image:
    """Soft shapes with some grain."""
    generator = np.random.default_rng(0)
    soft = Image.fromarray(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((256, 256), Image.BICUBIC)
    return Image.fromarray((np.asarray(soft) * 0.9 + generator.integers(0, 25, (256, 256, 3))).astype(np.uint8))


def _alone(work, seconds: float) -> dict[str, float]:
    work()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return _figures(times, sum(times))


def _served(model: str, batch: int, works, clients: int, seconds: float) -> dict[str, object]:
    with _program(model, batch) as port:
        found = {}
        for name, (path, body) in works.items():
            _client(port, path, body, time.perf_counter(), [], [])  # the first one builds tables
            before = _batches(port)
            found[name] = _load(port, path, body, clients, seconds)
            count, total = (after - was for after, was in zip(_batches(port), before, strict=True))
            found[name]["mean_batch"] = round(total / count, 2)
        return found


@contextmanager
def _program(model: str, batch: int) -> Iterator[int]:
    """`icm serve` on a free port of this machine."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = [sys.executable, "-W", "ignore", "-m", "icm_core", "serve", model, "--port", "0", "--device", "cpu"]
        with log.open("w") as stream:
            server = subprocess.Popen([*command, "--batch", str(batch)], stderr=stream)
        try:
            while (line := re.search(r"at http://127\.0\.0\.1:(\d+)", log.read_text())) is None:
                if server.poll() is not None:
                    sys.exit(log.read_text())
                time.sleep(0.1)
            time.sleep(1)
            yield int(line[1])
        finally:
            server.terminate()
            server.wait(60)


def _load(port: int, path: str, body: bytes, clients: int, seconds: float) -> dict[str, object]:
    times: list[float] = []
    refused: list[int] = []
    start = time.perf_counter()
    threads = [
        threading.Thread(target=_client, args=(port, path, body, start + seconds, times, refused))
        for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {**_figures(times, time.perf_counter() - start), "refused": len(refused)}


def _client(port: int, path: str, body: bytes, end: float, times: list[float], refused: list[int]) -> None:
    """Sends one request after the other until the time is over, at least one."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    while True:
        start = time.perf_counter()
        connection.request("POST", path, body)
        response = connection.getresponse()
        response.read()
        if response.status == 200:
            times.append(time.perf_counter() - start)
        else:
            refused.append(response.status)
        if time.perf_counter() >= end:
            return


def _batches(port: int) -> tuple[float, float]:
    """Batches, and requests in them."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    count, total = (
        float(re.search(rf"^icm_batch_size_{name} (\S+)$", text, re.MULTILINE)[1]) for name in ("count", "sum")
    )
    return count, total


def _figures(times: list[float], seconds: float) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=100, method="inclusive") if len(times) > 1 else times * 99
    return {
        "requests": len(times),
        "per_second": round(len(times) / seconds, 2),
        "p50_ms": round(1000 * cuts[49], 1),
        "p99_ms": round(1000 * cuts[98], 1),
    }


if __name__ == "__main__":
    main()
