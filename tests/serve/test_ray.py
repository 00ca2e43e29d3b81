"""The same service as a deployment of Ray Serve: the program itself on a Ray of this machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from icm_core import load
from icm_core.pictures import png_bytes

pytest.importorskip("ray.serve", reason="Ray Serve is not installed: pip install 'icm-framework[ray]'")
GOLDEN = Path(__file__).parents[1] / "golden/golden.json"


def begun(folder: Path, *options: str, **environment: str) -> tuple[subprocess.Popen[bytes], Path]:
    """`icm serve --engine ray` in a process, and its log."""
    log = folder / "log"
    command = [sys.executable, "-W", "ignore", "-m", "icm_core", "serve", str(GOLDEN), "--engine", "ray", *options]
    with log.open("w") as stream:
        return subprocess.Popen(command, stderr=stream, env={**os.environ, "OMP_NUM_THREADS": "1", **environment}), log


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Two replicas, with few places each."""
    options = ("--port", "0", "--device", "cpu", "--replicas", "2", "--places", "8", "--max-bytes", "100000")
    process, log = begun(tmp_path_factory.mktemp("ray"), *options, ICM_SERVE_TOKEN="sesame")
    yield process, log
    process.kill()
    process.wait(60)


@pytest.fixture
def service(program, elsewhere) -> Any:
    process, log = program
    for _ in range(6):  # Ray takes its time to begin
        try:
            elsewhere.until(lambda: "serving" in log.read_text() or process.poll() is not None)
            break
        except AssertionError:
            continue
    found = re.search(r"icm: serving golden at http://127.0.0.1:(\d+)\n", log.read_text())
    assert found is not None, log.read_text()
    elsewhere.port = int(found[1])
    return elsewhere


KNOWN = {"Authorization": "Bearer sesame"}


def test_it_answers_as_the_service_of_one_process(service, photo) -> None:
    pipe = load(GOLDEN, device="cpu")
    made = service.ask("POST", "/encode?quality=2", png_bytes(photo), KNOWN)
    assert made.status == 200 and made.body == pipe.encode(photo, 2)
    assert made.headers["X-Icm-Model"] == "golden"
    told = service.ask("POST", "/decode", made.body, KNOWN).json
    assert set(told["tasks"]) == {*pipe.tasks, *(["fine"] if pipe.enhancement is not None else [])}
    assert service.ask("GET", "/models", None, KNOWN).json[0]["fingerprint"] == pipe.base_fingerprint.hex()
    assert "/encode" in service.ask("GET", "/openapi.json", None, KNOWN).json["paths"]
    assert b"<!doctype html>" in service.ask("GET", "/").body and service.ask("GET", "/health").status == 200
    assert b"icm_requests_total" in service.ask("GET", "/metrics", None, KNOWN).body


def test_it_refuses_as_the_service_of_one_process(service, photo) -> None:
    blob = load(GOLDEN, device="cpu").encode(photo, 2)
    for path, body, headers, status, says in (
        ("/decode", blob, {}, 401, "needs its token"),
        ("/decode", blob[:-3][:30], KNOWN, 400, ""),
        ("/decode", b"", KNOWN, 400, ""),
        ("/encode", b"no picture", KNOWN, 400, "not a picture"),
        ("/encode?quality=much", b"", KNOWN, 422, "quality is 'much'"),
        ("/encode", b"x" * 100_001, KNOWN, 413, "100000 bytes at most"),
        ("/nowhere", b"", KNOWN, 404, "Not Found"),
    ):
        found = service.ask("POST", path, body, headers)
        assert found.status == status and says in found.json["error"], (path, found.body)


def test_a_replica_that_is_killed_is_started_anew(service, photo) -> None:
    body = png_bytes(photo)
    expected = service.ask("POST", "/encode?quality=2", body, KNOWN).body
    killed = replicas(service)
    assert len(killed) == 2
    os.kill(killed[0], signal.SIGKILL)
    statuses = []
    for _ in range(40):
        found = service.ask("POST", "/encode?quality=2", body, KNOWN)
        statuses.append(found.status)
        assert found.status != 200 or found.body == expected
    assert statuses[-10:] == [200] * 10  # at most those that were on their way to it are lost
    assert statuses.count(200) >= 36
    service.until(lambda: len(replicas(service)) == 2 and killed[0] not in replicas(service))


def replicas(service: Any) -> list[int]:
    """Processes of replicas on this machine, by what they call themselves."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                line = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if b"ServeReplica:icm" in line:
                found.append(int(folder.name))
    return sorted(found)


def test_nothing_that_was_accepted_is_lost_at_the_end(service, program, photo) -> None:
    process, log = program
    body = png_bytes(photo.resize((200, 200)))
    expected = service.ask("POST", "/encode?quality=2", body, KNOWN).body
    asked = [service.later("POST", "/encode?quality=2", body, KNOWN) for _ in range(6)]
    service.until(lambda: any(one.done() for one in asked))
    process.send_signal(signal.SIGTERM)
    answers = [one.result(60) for one in asked]
    assert [one.status for one in answers] == [200] * 6, [one.body[:200] for one in answers]
    assert {one.body for one in answers} == {expected}
    assert process.wait(60) == 0
    with pytest.raises(OSError):
        service.connect()
    assert "Traceback" not in log.read_text(), log.read_text()


@pytest.mark.parametrize(("options", "says"), [
    (("--engine", "rai"), "unknown engine 'rai'; did you mean 'ray'?"),
    (("--replicas", "2"), "--replicas 2 needs --engine ray"),
])  # fmt: skip
def test_what_cannot_be_meant(tmp_path, options, says) -> None:
    command = [sys.executable, "-m", "icm_core", "serve", str(GOLDEN), "--port", "0", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_port_that_is_taken_is_said_at_once(tmp_path, serve) -> None:
    process, log = begun(tmp_path, "--port", str(serve().port))
    assert process.wait(120) == 2
    assert "cannot listen at 127.0.0.1" in log.read_text() and log.read_text().count("\n") == 1
