"""More requests than can be worked on at once: places, batches, time, and the end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from icm_core.bitstream.container import read, write
from icm_serve.batching import Batcher, TooLateError, Work
from icm_serve.limits import Limits

GOLDEN = Path(__file__).parents[1] / "golden"


def test_when_all_places_are_taken_the_next_is_told_to_come_back(serve, held, blob) -> None:
    service = serve(Limits(places=2))
    taken = [service.later("POST", "/decode", blob) for _ in range(2)]
    service.until(lambda: service.metric("icm_places_taken") == 2)
    refused = service.ask("POST", "/decode", blob)
    assert refused.status == 503 and "all 2 places are taken" in refused.json["error"]
    assert int(refused.headers["Retry-After"]) >= 1 and refused.headers["Connection"] == "close"
    assert service.ask("GET", "/health").status == 200  # which needs no place
    held.go.set()
    assert [one.result(30).status for one in taken] == [200, 200]
    assert service.ask("POST", "/decode", blob).status == 200


def test_waiting_files_of_one_size_are_decoded_together(serve, held, pipe, photo, blob) -> None:
    service = serve(Limits(batch=3))
    first = service.later("POST", "/decode", blob)
    assert held.begun.acquire(timeout=30)
    other = pipe.encode(Image.new("RGB", (30, 20)), 2)
    turned = [
        pipe.encode(photo.point(lambda value: value // 2), 2),
        pipe.encode(Image.new("RGB", photo.size, "red"), 2),
    ]
    waiting = []
    for number, one in enumerate([*turned, other, *turned]):
        waiting.append(service.later("POST", "/decode?tasks=coarse,classes", one))
        service.until(lambda number=number: service.metric("icm_waiting") == number + 1)
    held.go.set()
    answers = [one.result(30).json for one in (first, *waiting)]
    assert held.sizes == [1, 3, 1, 1]
    alone = [service.ask("POST", "/decode?tasks=coarse,classes", one).json for one in [*turned, other, *turned]]
    for found, expected in zip(answers[1:], alone, strict=True):
        top, same = found["tasks"]["classes"]["top"], expected["tasks"]["classes"]["top"]
        assert [row["index"] for row in top] == [row["index"] for row in same]
        assert [row["probability"] for row in top] == pytest.approx([row["probability"] for row in same], abs=1e-5)
        assert (found["height"], found["width"]) == (expected["height"], expected["width"])
    assert answers[1]["tasks"] != answers[2]["tasks"]


def test_waiting_files_are_answered_each_as_it_was_asked_for(serve, held, pipe, photo, blob) -> None:
    service = serve(Limits(batch=8))
    first = service.later("POST", "/decode", blob)
    assert held.begun.acquire(timeout=30)
    ways = ["", "?draw=true&pictures=true", "?tasks=labels", "?pictures=true", "?tasks=labels", "?draw=true"]
    bases = [pipe.encode(photo, quality, enhancement=False) for quality in (2, 3)]
    asked = [*((f"/decode{way}", blob) for way in ways), *(("/decode", base) for base in bases)]
    waiting = []
    for number, (path, body) in enumerate(asked):
        waiting.append(service.later("POST", path, body))
        service.until(lambda number=number: service.metric("icm_waiting") == number + 1)
    held.go.set()
    answers = [one.result(30).json for one in (first, *waiting)][1:]
    assert held.sizes == [1, 1, 1, 2, 1, 1, 1, 1]  # two that ask the same of files of one quality
    for (path, body), found in zip(asked, answers, strict=True):
        alone = service.ask("POST", path, body).json
        rows = {name: sorted(row) for name, row in found["tasks"].items()}
        assert rows == {name: sorted(row) for name, row in alone["tasks"].items()}, path
        assert found["quality"] == alone["quality"]


def test_one_bad_file_does_not_spoil_the_batch(serve, held, blob) -> None:
    service = serve()
    first = service.later("POST", "/decode", blob)
    assert held.begun.acquire(timeout=30)
    file = read(blob)
    bad = write(replace(file, layers=(replace(file.base, payload=file.base.payload[:-2]), *file.layers[1:])))
    waiting: list[Future] = []
    for number, one in enumerate((blob, bad, blob)):
        waiting.append(service.later("POST", "/decode", one))
        service.until(lambda number=number: service.metric("icm_waiting") == number + 1)
    held.go.set()
    assert first.result(30).status == 200
    assert [one.result(30).status for one in waiting] == [200, 400, 200]
    assert held.sizes == [1, 3, 1, 1, 1]


def test_pictures_of_one_size_are_encoded_together(serve, pipe, photo, png, monkeypatch, held, blob) -> None:
    service, plain, sizes = serve(), pipe.encode_batch, []

    def encode_batch(pictures, *arguments, **how):
        sizes.append(len(pictures))
        return plain(pictures, *arguments, **how)

    monkeypatch.setattr(pipe, "encode_batch", encode_batch)
    first = service.later("POST", "/decode", blob)
    assert held.begun.acquire(timeout=30)
    waiting = []
    for number, quality in enumerate((2, 2, 3, 2)):
        waiting.append(service.later("POST", f"/encode?quality={quality}", png))
        service.until(lambda number=number: service.metric("icm_waiting") == number + 1)
    held.go.set()
    first.result(30)
    found = [one.result(30).body for one in waiting]
    assert sizes[:2] == [3, 1]
    assert [read(one).quality.value for one in found] == [2, 2, 3, 2]
    assert found[0] == found[1] == found[3] == pipe.encode(photo, 2)


def test_what_waits_too_long_is_told_to_come_back_and_what_takes_too_long_is_given_up(serve, held, blob) -> None:
    service = serve(Limits(seconds=0.5, batch=1))
    running = service.later("POST", "/decode", blob)
    assert held.begun.acquire(timeout=30)
    waiting = service.ask("POST", "/decode", blob)
    assert waiting.status == 503 and "waited for 0.5 seconds" in waiting.json["error"]
    assert int(waiting.headers["Retry-After"]) >= 1
    late = running.result(30)
    assert late.status == 504 and "takes more than 0.5 seconds" in late.json["error"]
    held.go.set()
    service.until(lambda: service.metric("icm_batch_size_count") == 1)
    assert held.sizes == [1]  # what had waited was not done afterwards
    assert service.ask("POST", "/decode", blob).status == 200


def test_nothing_is_done_for_clients_that_have_gone(serve, held, blob) -> None:
    service = serve()
    first = service.later("POST", "/decode", blob)
    assert held.begun.acquire(timeout=30)
    with service.connect() as client:
        client.sendall(b"POST /decode HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(blob) + blob)
        service.until(lambda: service.metric("icm_waiting") == 1)
    service.until(lambda: service.metric("icm_places_taken") == 1)
    held.go.set()
    assert first.result(30).status == 200
    service.until(lambda: service.metric("icm_waiting") == 0)
    assert held.sizes == [1]


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_nothing_that_was_accepted_is_lost_at_the_end(tmp_path, ending, elsewhere) -> None:
    """The program itself, with requests at work and waiting when it is told to end."""
    command = [sys.executable, "-W", "ignore", "-m", "icm_core", "serve", str(GOLDEN / "golden.json"), "--port", "0"]
    log = tmp_path / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*command, "--batch", "1", "--device", "cpu"], stderr=stream, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    try:
        service = elsewhere
        service.until(lambda: "serving" in log.read_text() or process.poll() is not None)
        found = re.search(r"icm: serving golden at http://127.0.0.1:(\d+)\n", log.read_text())
        assert found is not None, log.read_text()
        service.port = int(found[1])
        body = _picture()
        service.until(lambda: _healthy(service))
        asked = [service.later("POST", "/encode?quality=2", body) for _ in range(16)]
        done = 'icm_requests_total{path="/encode"'
        service.until(lambda: service.metric("icm_places_taken") + service.metric(done) == 16)
        left = service.metric("icm_places_taken")
        process.send_signal(ending)
        answers = [one.result(60) for one in asked]
        assert [one.status for one in answers] == [200] * 16 and left > 1
        assert len({one.body for one in answers}) == 1
        process.wait(30)
        with pytest.raises(OSError):
            service.connect()
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        process.kill()
        process.wait(30)


def _healthy(service) -> bool:
    try:
        return service.ask("GET", "/health").status == 200
    except OSError:
        return False


def _picture() -> bytes:
    from icm_core.pictures import png_bytes

    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(8, 8, 3, generator=generator).mul(255).byte()
    return png_bytes(Image.fromarray(pixels.numpy()).resize((256, 256)))


def test_the_batcher_ends_when_all_is_done() -> None:
    seen: list[tuple[int, float]] = []
    batcher = Batcher(4, 100, lambda count, seconds: seen.append((count, seconds)))
    works = [Work("a", number, lambda items: [2 * item for item in items], 30) for number in range(5)]
    late = batcher.submit(works[0], 0.0)
    found = [batcher.submit(work, float("inf")) for work in works]
    batcher.start()
    batcher.stop()
    assert [one.result(0) for one in found] == [0, 2, 4, 6, 8]
    with pytest.raises(TooLateError):
        late.result(0)
    assert [count for count, _ in seen] == [2, 3]  # 30 pixels each, 100 at most; the late one took a place in the first
    with pytest.raises(RuntimeError, match="stopped"):
        batcher.submit(works[0], 1.0)


def test_how_long_a_work_waits_follows_from_what_one_took_lately() -> None:
    seen: list[tuple[int, float]] = []
    batcher = Batcher(5, 100, lambda count, seconds: seen.append((count, seconds)))
    before = batcher.wait

    def slow(items: Sequence[int]) -> Sequence[int]:
        time.sleep(0.5)
        return items

    found = [batcher.submit(Work("a", number, slow, 1), float("inf")) for number in range(5)]
    assert batcher.wait == pytest.approx(6 * before)  # five before it
    batcher.start()
    batcher.stop()
    assert [one.result(0) for one in found] == [0, 1, 2, 3, 4]
    ((count, seconds),) = seen
    assert (count, batcher.wait) == (5, pytest.approx(0.8 * before + 0.2 * seconds / 5))
