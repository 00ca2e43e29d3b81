"""What a service answers to requests that are not in order, and to clients that do not keep to the rules."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import pytest
from PIL import Image

from icm_core import BitstreamError
from icm_core.bitstream.container import read, write
from icm_core.pictures import png_bytes
from icm_serve.limits import Limits


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "/encode", b"", 400, "the picture is empty"),
        ("POST", "/encode", b"no picture", 400, "the picture is not a picture that Pillow can read"),
        ("POST", "/encode?quality=9", "png", 400, "quality 9 is out of range"),
        ("POST", "/encode?quality=nan", "png", 400, "quality nan is out of range"),
        ("POST", "/encode?quality=much", "png", 422, "quality is 'much'"),
        ("POST", "/encode?effort=21", "png", 400, "an effort of 21 is more than this service's 20"),
        ("POST", "/encode?effort=2", "png", 400, "effort"),
        ("POST", "/encode?enhancement=false&enhancement_quality=2", "png", 400, "has no quality of the enhancement"),
        ("POST", "/encode?model=/etc/passwd", "png", 404, "/etc/passwd"),
        ("POST", "/encode?model=tests/golden/golden.json", "png", 404, "golden.json"),
        ("POST", "/decode", b"", 400, "not an .icm file: it has 0 bytes"),
        ("POST", "/decode", b"ICE" + bytes(60), 400, "is an enhancement part"),
        ("POST", "/decode?tasks=fine,lables", "blob", 400, "'labels'"),
        ("POST", "/decode?format=xml", "blob", 422, "format is 'xml'"),
        ("GET", "/decode", None, 405, "Method Not Allowed"),
        ("GET", "/../../../etc/passwd", None, 404, "Not Found"),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", None, 404, "Not Found"),
        ("GET", "/static/app.py", None, 404, "Not Found"),
    ],
)
def test_each_mistake_is_one_sentence(service, png, blob, method, path, body, status, says) -> None:
    found = service.ask(method, path, {"png": png, "blob": blob}.get(body, body) if isinstance(body, str) else body)
    assert found.status == status and list(found.json) == ["error"] and says in found.json["error"], found.body
    assert "\n" not in found.json["error"] and "icm_core" not in found.json["error"]


def test_a_damaged_file_is_told_as_the_program_tells_it(service, pipe, blob) -> None:
    """Never 500, and the sentence of `icm decode`, for each of some hundred files."""
    generator = random.Random(7)
    refused = answered = deep = 0
    for number in range(300):
        changed = bytearray(blob)
        if number % 3 == 0:
            for _ in range(generator.randint(1, 4)):
                changed[generator.randrange(len(changed))] = generator.randrange(256)
        elif number % 3 == 1:
            del changed[generator.randrange(len(changed)) :]
        else:  # a payload that is damaged where the checksum fits: only the codec can notice
            file = read(blob)
            layers = list(file.layers)
            which = generator.randrange(2)
            payload = bytearray(layers[which].payload)
            payload[generator.randrange(len(payload))] ^= 1 << generator.randrange(8)
            layers[which] = replace(layers[which], payload=bytes(payload[: generator.randint(1, len(payload))]))
            changed = bytearray(write(replace(file, layers=tuple(layers))))
            deep += 1
        try:
            expected = list(pipe.decode(bytes(changed)))
        except BitstreamError as error:
            found = service.ask("POST", "/decode", bytes(changed))
            theirs, ours = found.json["error"], " ".join(str(error).split())
            if "no pipeline of this service" not in theirs:
                assert theirs == ours
            assert found.status == 400
            refused += 1
        else:
            found = service.ask("POST", "/decode", bytes(changed))
            assert found.status == 200 and list(found.json["tasks"]) == expected
            answered += 1
    assert refused > 150 and answered > 20 and deep == 100
    assert service.ask("POST", "/decode", blob).status == 200


def test_pixels_are_limited(serve, pipe, png, blob, photo) -> None:
    service = serve(Limits(pixels=40 * 56))
    assert service.ask("POST", "/encode", png).status == 200 == service.ask("POST", "/decode", blob).status
    larger = Image.new("RGB", (57, 40))
    found = service.ask("POST", "/encode", png_bytes(larger))
    assert found.status == 400 and "57x40 is more than 2240 pixels" in found.json["error"]
    found = service.ask("POST", "/decode", pipe.encode(larger, 2))
    assert found.status == 400 and "1 to 2240 pixels are accepted" in found.json["error"]
    claims = b"ICM\x01\xff\xff\xff\xff" + blob[8:]
    assert "claims a picture of 65535x65535" in service.ask("POST", "/decode", claims).json["error"]


def test_bodies_are_limited_by_what_they_say_and_by_what_they_are(serve) -> None:
    service = serve(Limits(body=1000))
    assert service.ask("POST", "/decode", bytes(1000)).status == 400
    found = service.ask("POST", "/decode", bytes(1001))
    assert (found.status, found.headers["Connection"]) == (413, "close")
    assert found.json["error"] == "a body may have 1000 bytes at most"
    chunks = service.ask("POST", "/decode", iter([bytes(600)] * 2))
    assert chunks.status == 413
    with service.connect() as client:  # nothing is waited for where the head says enough
        client.sendall(b"POST /decode HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 413")


def test_bodies_that_are_other_than_they_say(serve, blob) -> None:
    service = serve(Limits(body_seconds=0.5))
    head = b"POST /decode HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    with service.connect() as client:  # shorter, and the client waits
        client.sendall(head % (len(blob) + 1) + blob)
        found = b"".join(iter(lambda: client.recv(1000), b""))
        assert found.startswith(b"HTTP/1.1 408") and b"did not arrive within 0.5 seconds" in found
        assert client.recv(10) == b""
    with service.connect() as client:  # shorter, and the client goes
        client.sendall(head % (len(blob) + 1) + blob)
    with service.connect() as client:  # longer: what follows is no request
        client.sendall(head % len(blob) + blob + b"rest\r\n\r\n")
        found = client.recv(10000)
        assert found.startswith(b"HTTP/1.1 200")
    for wrong in (b"-1", b"many", b"1, 2"):
        with service.connect() as client:
            client.sendall(b"POST /decode HTTP/1.1\r\nHost: x\r\nContent-Length: " + wrong + b"\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 400")
    service.until(lambda: service.metric("icm_places_taken") == 0)
    assert service.ask("POST", "/decode", blob).status == 200


def test_a_body_that_trickles_is_given_up(serve, blob) -> None:
    service = serve(Limits(body_seconds=0.5))
    with service.connect() as client:
        client.sendall(b"POST /decode HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n")
        client.settimeout(0.1)
        found = b""
        for _ in range(100):
            try:
                found += client.recv(1000)
                break
            except TimeoutError:
                client.sendall(b"a")
        assert found.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("sent", [b"", b"POST /decode HT", b"GET /health HTTP/1.1\r\nHost: x\r\nX: "])
def test_a_request_that_does_not_begin_is_given_up(serve, sent) -> None:
    service = serve(Limits(head_seconds=0.3))
    with service.connect() as client:
        client.sendall(sent)
        assert client.recv(100) == b""


def test_a_connection_with_a_second_request_that_does_not_come_is_given_up(serve) -> None:
    service = serve(Limits(head_seconds=0.3))
    with service.connect() as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /hea")
        found = b""
        while piece := client.recv(1000):
            found += piece
        assert found.startswith(b"HTTP/1.1 200")


def test_a_slow_answer_is_no_slow_request(serve, held, blob) -> None:
    service = serve(Limits(head_seconds=0.2))
    answer = service.later("POST", "/decode", blob)
    assert held.begun.acquire(timeout=30)
    assert not answer.done()
    service.until(lambda: service.metric("icm_request_seconds_count") >= 5)  # other requests, some time
    time.sleep(0.4)
    held.go.set()
    assert answer.result(30).status == 200


def test_a_token_is_asked_for_everywhere_but_for_health(serve, png) -> None:
    service = serve(token="sésame")
    right = {"Authorization": "Bearer sésame".encode().decode("latin-1")}
    for method, path, body in (("POST", "/encode", png), ("GET", "/models", None), ("GET", "/openapi.json", None)):
        for wrong in ({}, {"Authorization": "Bearer sesame"}, {"Authorization": "Basic sésame"}, {"Authorization": ""}):
            found = service.ask(method, path, body, wrong)
            assert (found.status, found.headers["WWW-Authenticate"]) == (401, "Bearer"), (path, wrong)
            assert "needs its token" in found.json["error"]
        assert service.ask(method, path, body, right).status == 200
    assert service.ask("GET", "/metrics").status == 401 and service.ask("GET", "/not/there").status == 401
    assert service.ask("GET", "/health").status == 200


def test_a_failure_of_the_service_tells_nothing_of_it(serve, pipe, monkeypatch, blob) -> None:
    def fail(*_, **__):
        raise KeyError("/secret/place")

    service = serve()
    monkeypatch.setattr(pipe, "decode_batch", fail)
    found = service.ask("POST", "/decode", blob)
    assert found.status == 500 and found.json == {"error": "the service failed at this request; its log says how"}
    monkeypatch.setattr(pipe, "decode_batch", lambda *_: (_ for _ in ()).throw(RuntimeError("CUDA out of memory")))
    found = service.ask("POST", "/decode", blob)
    assert found.status == 503 and "not enough memory" in found.json["error"] and found.headers["Retry-After"]
