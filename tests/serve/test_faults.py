"""Faults: bodies that nobody has thought of, at every address; clients that are slow; a server that is killed."""

from __future__ import annotations

import io
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from icm_core.bitstream.container import read
from icm_core.pictures import png_bytes
from icm_serve.limits import Limits

GOLDEN = Path(__file__).parents[1] / "golden/golden.json"
POSTS = ("/encode", "/decode", "/refine", "/info", "/compare?codec=jpeg&bytes=900")
GETS = ("/models", "/limits", "/health", "/metrics", "/openapi.json", "/")
ZIP_BOMB = b"PK\x03\x04" + bytes(500)
SCRIPT = b"<script>alert(1)</script>" * 20


def bomb() -> bytes:
    """A small PNG that says that it has 16000 x 16000 pixels."""
    body = bytearray(png_bytes(Image.new("RGB", (1, 1))))
    body[16:24] = (16_000).to_bytes(4, "big") * 2
    return bytes(body)


def gif() -> bytes:
    """An animation, which is a picture all the same."""
    frames = [Image.new("P", (40, 30), colour) for colour in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("name", ["empty", "zeros", "noise", "script", "zip", "pickle", "bomb", "huge", "cut", "other"])
def test_a_hostile_body_is_refused_in_a_sentence(serve, png, blob, path: str, name: str) -> None:
    service = serve(Limits(body=200_000, pixels=100_000))
    picture = path.startswith(("/encode", "/compare"))
    body = {
        "empty": b"",
        "zeros": bytes(5000),
        "noise": random.Random(1).randbytes(5000),
        "script": SCRIPT,
        "zip": ZIP_BOMB,
        "pickle": b"cos\nsystem\n(S'touch /tmp/owned'\ntR.",
        "bomb": bomb(),
        "huge": bytes(200_001),
        "cut": png[: len(png) // 2] if picture else blob[: read(blob).base_bytes // 2],
        "other": blob if picture else png,
    }[name]
    found = service.ask("POST", path, body)
    assert found.status == (413 if name == "huge" else 400), found.body
    assert list(found.json) == ["error"] and "\n" not in found.json["error"] and "<script" not in found.json["error"]
    assert found.headers["Content-Type"] == "application/json"
    assert service.ask("GET", "/health").json == {"status": "ok", "waiting": 0}


def test_every_address_answers_what_is_in_order(service, pipe, png, photo, blob) -> None:
    for path in GETS:
        found = service.ask("GET", path)
        assert found.status == 200 and found.body, path
    for path, body in zip(POSTS, (png, blob, blob, blob, png), strict=True):
        found = service.ask("POST", path, body)
        if path == "/refine":  # a whole file is no base file with a part behind it
            assert found.status == 400 and "error" in found.json
        else:
            assert found.status == 200 and found.body, (path, found.body)
    assert service.ask("POST", "/encode", gif()).status == 200


@pytest.mark.parametrize("path", [*POSTS, *GETS])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "BREW"])
def test_other_methods_are_refused(service, path: str, method: str) -> None:
    if method == ("POST" if path in POSTS else "GET"):
        return
    found = service.ask(method, path, b"")
    assert found.status == 405 and found.json == {"error": "Method Not Allowed"}


@pytest.mark.parametrize("path", ["/decode", "/info", "/refine"])
def test_files_with_changed_bits_are_answered_or_refused(serve, pipe, photo, path: str) -> None:
    """100 files at each of three addresses; `benchmarks/serve.py --faults` has ten thousand."""
    service = serve(Limits(pixels=100_000))
    generator = random.Random(path)
    blob = pipe.encode(photo, 2, control=True)
    cut = read(blob).base_bytes
    statuses = []
    for _ in range(100):
        body = bytearray(blob)
        for _ in range(generator.choice((1, 1, 2, 8))):
            body[generator.randrange(len(body))] ^= 1 << generator.randrange(8)
        if generator.random() < 0.3:
            del body[generator.randrange(cut) :]
        found = service.ask("POST", path, bytes(body))
        statuses.append(found.status)
        if found.status != 200:
            assert list(found.json) == ["error"] and "\n" not in found.json["error"]
    assert set(statuses) <= {200, 400} and 400 in statuses
    assert service.metric("icm_places_taken") == 0
    if path != "/refine":
        assert service.ask("POST", path, blob).status == 200


def test_many_slow_clients_do_not_keep_others_out(serve, blob) -> None:
    service = serve(Limits(places=30, body_seconds=3.0))
    head = b"POST /decode HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(blob)
    slow = [service.connect() for _ in range(20)]
    try:
        for client in slow:
            client.sendall(head + blob[:1])
        service.until(lambda: service.metric("icm_places_taken") == 20)
        begun = time.monotonic()
        answers = [service.ask("POST", "/decode", blob).status for _ in range(5)]
        assert answers == [200] * 5 and time.monotonic() - begun < 3
        for client in slow:
            assert client.recv(64).startswith(b"HTTP/1.1 408 ")
        service.until(lambda: service.metric("icm_places_taken") == 0)
    finally:
        for client in slow:
            client.close()


def test_clients_that_go_in_the_middle_leave_nothing(serve, blob) -> None:
    service = serve(Limits(places=4))
    head = b"POST /decode HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(blob)
    generator = random.Random(3)
    for _ in range(40):
        with service.connect() as client:
            client.sendall((head + blob)[: generator.randrange(len(head) + len(blob))])
    service.until(lambda: service.metric("icm_places_taken") == 0)
    assert service.ask("POST", "/decode", blob).status == 200


def begun(folder: Path, port: int, elsewhere: Any) -> subprocess.Popen[bytes]:
    """The program itself."""
    log = folder / "log"
    command = [sys.executable, "-W", "ignore", "-m", "icm_core", "serve", str(GOLDEN), "--port", str(port)]
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*command, "--device", "cpu"], cwd=folder, stderr=stream, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    elsewhere.until(lambda: "serving" in log.read_text() or process.poll() is not None)
    found = re.search(r"at http://127.0.0.1:(\d+)\n", log.read_text())
    assert found is not None, log.read_text()
    elsewhere.port = int(found[1])
    elsewhere.until(lambda: answers(elsewhere))
    return process


def answers(service: Any) -> bool:
    try:
        return bool(service.ask("GET", "/health").status == 200)
    except OSError:
        return False


def test_a_server_that_is_killed_leaves_nothing_behind_and_comes_back(tmp_path, elsewhere, photo) -> None:
    body = png_bytes(photo.resize((256, 256)))
    process = begun(tmp_path, 0, elsewhere)
    try:
        expected = elsewhere.ask("POST", "/encode?quality=2", body).body
        before = sorted(tmp_path.rglob("*"))
        asked = [elsewhere.later("POST", "/encode?quality=2", body) for _ in range(8)]
        elsewhere.until(lambda: any(one.done() for one in asked))
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        whole = 0
        for one in asked:  # each is a whole answer, or none: never a part of one
            if one.exception(60) is None:
                assert one.result().status == 200 and one.result().body == expected
                whole += 1
        assert 1 <= whole <= 8
        assert sorted(tmp_path.rglob("*")) == before  # a service keeps nothing on the disk
        process = begun(tmp_path, elsewhere.port, elsewhere)  # at the same port, at once
        assert elsewhere.ask("POST", "/encode?quality=2", body).body == expected
    finally:
        process.kill()
        process.wait(30)
