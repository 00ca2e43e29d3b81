"""Corners of the service: who goes on while something is slow, what is counted, and what its small parts do alone."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import uvicorn
from PIL import Image
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from uvicorn.server import ServerState

import icm_serve.app
from icm_core import Pipeline, build, parse_spec
from icm_core.bitstream.container import read, write
from icm_core.errors import InputError
from icm_core.pipeline.told import Told, told
from icm_serve.app import Service, build_app
from icm_serve.batching import Batcher, TooLateError, Work
from icm_serve.bodies import leaving
from icm_serve.limits import Limits
from icm_serve.models import model_info
from icm_serve.page import PATHS
from icm_serve.protocol import timed
from icm_serve.refusals import RefusedError
from icm_serve.served import Served, inlined

Serve = Callable[..., Any]
HEAD = b"POST /%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


def healthy(client: Any) -> bool:
    """Whether a connection brings the answer of /health, in as many pieces as it likes."""
    found = b""
    while not found.endswith(b"}") and (piece := client.recv(1000)):
        found += piece
    return found.startswith(b"HTTP/1.1 200")


# --- time ------------------------------------------------------------------------------------------------------------


def test_others_are_answered_while_a_picture_is_worked_on_beside(
    serve: Serve, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(*_: object) -> tuple[int, bytes]:
        begun.set()
        assert go.wait(30)
        return 7, b"file"

    monkeypatch.setattr(icm_serve.app, "compared", slow)
    service = serve()
    asked = service.later("POST", "/compare?codec=jpeg&bytes=9", png)
    try:
        assert begun.wait(30)
        assert service.ask("GET", "/health", timeout=10).status == 200
    finally:
        go.set()
    found = asked.result(30)
    assert (found.body, found.headers["X-Icm-Codec-Quality"]) == (b"file", "7")


@pytest.fixture
def asked() -> Request:
    """A request whose client stays, and says no more."""

    async def receive() -> Any:
        await asyncio.Event().wait()

    return Request({"type": "http"}, receive)


def test_the_time_for_an_answer_begins_with_the_place(pipe: Pipeline) -> None:
    async def left() -> float:
        async with Service([pipe], Limits(seconds=50.0, body_seconds=5.0)).place() as deadline:
            return deadline - time.monotonic()

    assert 40 < asyncio.run(left()) <= 50


def test_what_is_left_of_the_time_counts_where_the_body_took_most_of_it(pipe: Pipeline, asked: Request) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(items: Sequence[Any]) -> Sequence[Any]:
        begun.set()
        assert go.wait(60)
        return items

    async def answer() -> float:
        service = Service([pipe], Limits(seconds=30.0))
        service.batcher.start()
        begin = time.monotonic()
        with pytest.raises(RefusedError, match="takes more than 30 seconds") as refused:
            await service.done(Work("a", 0, slow, 1), asked, begin + 0.5)
        go.set()
        service.batcher.stop()
        assert refused.value.status == 504 and begun.is_set()
        return time.monotonic() - begin

    assert asyncio.run(answer()) < 20


def test_nobody_watches_for_a_client_that_has_its_answer(pipe: Pipeline, asked: Request) -> None:
    async def answer() -> tuple[Any, int]:
        service = Service([pipe], Limits())
        service.batcher.start()
        found = await service.done(Work("a", 7, same, 1), asked, time.monotonic() + 30)
        await asyncio.sleep(0.01)
        service.batcher.stop()
        return found, len(asyncio.all_tasks())

    assert asyncio.run(answer()) == (7, 1)


def test_others_go_on_while_the_service_ends(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    def slow(items: Sequence[Any]) -> Sequence[Any]:
        return [go.wait(20) for _ in items]

    made: list[Batcher] = []
    begin = Batcher.__init__

    def noted(self: Batcher, *arguments: Any) -> None:
        begin(self, *arguments)
        made.append(self)

    monkeypatch.setattr(Batcher, "__init__", noted)

    async def end() -> bool:
        async def other() -> None:
            await asyncio.sleep(0.05)
            go.set()

        app = build_app([pipe])
        async with app.router.lifespan_context(app):
            result = made[0].submit(Work("a", 0, slow, 1), float("inf"))
            task = asyncio.create_task(other())
        await task
        return bool(result.result(0))

    assert asyncio.run(end()) is True


def test_what_waits_is_told_and_an_answer_says_how_long_it_took(serve: Serve, held: Any, blob: bytes) -> None:
    service = serve(Limits(batch=1))
    asked = [service.later("POST", "/decode", blob) for _ in range(3)]
    service.until(lambda: service.metric("icm_waiting") == 2)  # one of three is at work
    assert service.ask("GET", "/health").json == {"status": "ok", "waiting": 2}
    time.sleep(0.1)
    held.go.set()
    for one in asked:
        assert 0.1 <= one.result(30).json["seconds"] < 30


def test_clients_that_go_are_counted_as_such(serve: Serve, held: Any, blob: bytes) -> None:
    service = serve()
    with service.connect() as client:
        client.sendall(HEAD % (b"decode", len(blob)) + blob)
        assert held.begun.acquire(timeout=30)
    service.until(lambda: service.metric('icm_requests_total{path="/decode",status="499"}') == 1)
    with service.connect() as client:
        client.sendall(HEAD % (b"info", len(blob)) + blob[:5])
        service.until(lambda: service.metric("icm_places_taken") == 1)
    service.until(lambda: service.metric('icm_requests_total{path="/info",status="499"}') == 1)


def test_seconds_of_requests_are_seconds(service: Any) -> None:
    for _ in range(3):
        service.ask("GET", "/health")
    assert 0 < service.metric('icm_request_seconds_sum{path="/health"}') < 20


def test_when_the_service_ends_its_thread_does(pipe: Pipeline) -> None:
    def threads() -> list[threading.Thread]:
        return [one for one in threading.enumerate() if one.name == "icm-serve"]

    async def lived() -> list[threading.Thread]:
        app = build_app([pipe])
        async with app.router.lifespan_context(app):
            (one,) = set(threads()) - before
        return [one]

    before = set(threads())
    (thread,) = asyncio.run(lived())
    assert thread.daemon and not thread.is_alive()  # and a process that forgets to end it ends all the same


# --- answers ---------------------------------------------------------------------------------------------------------


def test_drawings_come_along_with_pictures_alone(serve: Serve, blob: bytes) -> None:
    service = serve()
    for more, drawn in (("", []), ("&pictures=true", ["classes", "labels"])):
        rows = service.ask("POST", f"/decode?draw=true{more}", blob).json["tasks"]
        assert sorted(name for name, row in rows.items() if "drawing" in row) == drawn
        assert any("picture" in row for row in rows.values()) == bool(more)


def test_of_a_label_map_a_drawing_is_given_where_it_is_asked_for(serve: Serve, pipe: Pipeline, blob: bytes) -> None:
    service, expected = serve(), told(pipe, pipe.decode(blob, ["labels"]), draw=True)["labels"]
    for more, picture in (("", expected.picture), ("&draw=true", expected.drawing)):
        found = Image.open(io.BytesIO(service.ask("POST", f"/decode?task=labels&format=png{more}", blob).body))
        assert picture is not None
        assert found.mode == picture.mode and np.array_equal(np.asarray(found), np.asarray(picture))


def test_a_row_is_not_changed_by_pictures_that_are_put_into_a_copy() -> None:
    one = Told({"kind": "a"}, Image.new("RGB", (2, 3)), Image.new("RGB", (3, 2), "red"))
    found = inlined(one)
    assert one.row == {"kind": "a"} and list(found) == ["kind", "picture", "drawing"]
    assert found["picture"] != found["drawing"]
    assert inlined(Told({"kind": "a"}, None, None)) == {"kind": "a"}


def test_any_other_failure_is_no_lack_of_memory(
    serve: Serve, pipe: Pipeline, blob: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise RuntimeError("sizes do not match")

    monkeypatch.setattr(pipe, "decode_batch", fail)
    service = serve()
    found = service.ask("POST", "/decode", blob)
    assert (found.status, found.json) == (500, {"error": "the service failed at this request; its log says how"})
    assert service.metric('icm_requests_total{path="/decode",status="500"}') == 1  # answered outside of the counting
    assert service.metric("icm_places_taken") == 0


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/compare?codec=bmp&bytes=0", "codec is 'bmp': Input should be 'jpeg' or 'webp'"),
        ("/compare?codec=jpeg", "the parameter 'bytes' is missing"),
        (f"/encode?quality={'a' * 500}", f"quality is '{'a' * 99}: Input should be a valid number"),
    ],
)
def test_of_several_parameters_the_first_that_is_wrong_is_named_and_long_ones_are_cut(
    service: Any, png: bytes, path: str, says: str
) -> None:
    found = service.ask("POST", path, png)
    assert found.status == 422 and found.json["error"].startswith(says)


def test_a_file_is_for_saving(service: Any, png: bytes) -> None:
    found = service.ask("POST", "/encode", png)
    assert found.headers["Content-Disposition"] == 'attachment; filename="picture.icm"'
    for path in ("/encode?effort=-1", "/compare?codec=jpeg&bytes=0"):
        assert service.ask("POST", path, png).status == 422, path


def test_tasks_are_named_in_one_parameter_or_two_with_spaces_or_without(service: Any, blob: bytes) -> None:
    for names in ("tasks=coarse,labels", "tasks=%20coarse%20,,labels,", "tasks=coarse&task=labels"):
        assert list(service.ask("POST", f"/decode?{names}", blob).json["tasks"]) == ["coarse", "labels"], names
    for names in ("", "?tasks=", "?tasks=,&task=%20"):
        assert len(service.ask("POST", f"/decode{names}", blob).json["tasks"]) == 4, names


def test_a_pipeline_without_an_enhancement_says_so(registry: Any) -> None:
    task = {"adapter": {"use": "tiny.enlarge"}, "head": {"use": "tiny.picture"}}
    spec = {"icm": 1, "name": "plain", "description": "one picture", "codec": {"use": "tiny.thumbnail"}}
    pipe = build(parse_spec({**spec, "tasks": {"coarse": task}}), registry)
    found = model_info(pipe)
    assert (found.name, found.description, found.enhancement) == ("plain", "one picture", None)
    assert [one.name for one in found.tasks] == ["coarse"] and found.fingerprint == pipe.base_fingerprint.hex()
    with pytest.raises(InputError, match="unknown task 'fine'"):
        file = read(pipe.encode(Image.new("RGB", (20, 30)), 2))
        Served([pipe], Limits()).decoding(pipe, file, 9, ["fine"], pictures=False, draw=False)


def test_media_types_are_said(service: Any) -> None:
    kinds = {path: service.ask("GET", path).headers["Content-Type"] for path in PATHS}
    assert kinds == {
        "/": "text/html; charset=utf-8",
        "/page.css": "text/css; charset=utf-8",
        "/icon.svg": "image/svg+xml; charset=utf-8",
        **{f"/{name}.js": "text/javascript; charset=utf-8" for name in
           ("main", "service", "viewer", "answers", "elements")},
    }  # fmt: skip
    assert service.ask("GET", "/metrics").headers["Content-Type"] == CONTENT_TYPE_LATEST


def test_every_refusal_and_every_media_type_is_described(service: Any) -> None:
    paths = service.ask("GET", "/openapi.json").json["paths"]
    refusals = {"400", "404", "408", "413", "422", "503", "504"}
    for path, kinds in {
        "/encode": ["application/octet-stream"],
        "/decode": ["application/json", "image/png"],
        "/refine": ["application/json", "image/png", "application/octet-stream"],
        "/compare": ["image/jpeg", "image/webp"],
    }.items():
        work = paths[path]["post"]
        content = work["responses"]["200"]["content"]
        binary = {"schema": {"type": "string", "format": "binary"}}
        assert content == {kind: {} if kind == "application/json" else binary for kind in kinds}, path
        assert set(work["responses"]) == {"200", *refusals}, path
        for status in refusals:
            problem = work["responses"][status]["content"]["application/json"]["schema"]
            assert problem == {"$ref": "#/components/schemas/Problem"}, (path, status)
        body = work["requestBody"]
        assert body["required"] is True and body["content"] == {"application/octet-stream": binary}
        assert body["description"]
    assert set(paths["/info"]["post"]["responses"]) == {"200", *refusals} - {"504"}


def test_a_token_counts_to_the_letter_and_whoever_has_none_is_sent_away(serve: Serve, blob: bytes) -> None:
    service = serve(token="Sesame")
    for token, status in (("Sesame", 200), ("sesame", 401), ("SESAME", 401), ("Sesame2", 401), ("", 401)):
        found = service.ask("POST", "/info", blob, {"Authorization": f"Bearer {token}"})
        assert found.status == status, token
        assert status == 200 or found.headers["Connection"] == "close"  # what else it sends is not waited for


# --- files and pipelines ---------------------------------------------------------------------------------------------


@pytest.fixture
def twin(registry: Any, pipe: Pipeline) -> Pipeline:
    """The same base layer, another enhancement."""
    made = build(parse_spec({**pipe.spec.to_json(), "name": "twin"}), registry)
    made.load_state_dict({name: value + (name == "enhancement.scale") for name, value in pipe.state_dict().items()})
    return made


def test_a_file_without_an_enhancement_is_read_by_the_first_of_those_with_its_base_layer(
    pipe: Pipeline, twin: Pipeline, photo: Image.Image
) -> None:
    base = read(pipe.encode(photo, 2, enhancement=False))
    assert Served([pipe, twin], Limits()).reads(base, None) is pipe
    assert Served([twin, pipe], Limits()).reads(base, None) is twin
    assert Served([twin, pipe], Limits()).reads(read(pipe.encode(photo, 2)), None) is pipe
    assert Served([twin, pipe], Limits()).reads(read(pipe.encode(photo, 2)), "twin") is twin


def test_every_byte_of_a_fingerprint_counts(serve: Serve, pipe: Pipeline, photo: Image.Image) -> None:
    file = read(pipe.encode(photo, 2, enhancement=False))
    changed = bytes([*file.base.fingerprint[:-1], file.base.fingerprint[-1] ^ 1])
    other = write(replace(file, layers=(replace(file.base, fingerprint=changed),)))
    found = serve().ask("POST", "/decode", other)
    assert found.status == 400
    assert f"no pipeline of this service has the fingerprint {changed.hex()}" in found.json["error"]


def test_two_pipelines_of_one_name_are_not_served(pipe: Pipeline, registry: Any) -> None:
    torch.manual_seed(1)
    again = build(parse_spec(pipe.spec.to_json()), registry)
    with pytest.raises(InputError, match="two of the pipelines have the same name"):
        build_app([pipe, again])


# --- bodies ----------------------------------------------------------------------------------------------------------


def test_a_body_that_says_it_is_too_large_is_refused_before_a_byte_of_it(serve: Serve) -> None:
    service = serve(Limits(body=1000, body_seconds=50.0))
    with service.connect() as client:
        client.settimeout(10)
        client.sendall(HEAD % (b"decode", 1001))
        assert client.recv(100).startswith(b"HTTP/1.1 413")


def test_a_body_without_an_end_is_refused_when_it_becomes_too_large(serve: Serve) -> None:
    service = serve(Limits(body=1000, body_seconds=50.0))
    with service.connect() as client:
        client.settimeout(10)
        client.sendall(b"POST /decode HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(2):  # 1200 bytes, and more to come
            client.sendall(b"258\r\n" + bytes(600) + b"\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 413")


def test_a_client_is_there_as_long_as_it_sends() -> None:
    said = [{"type": "http.request", "body": b"", "more_body": False}] * 2 + [{"type": "http.disconnect"}]

    async def receive() -> Any:
        return said.pop(0)

    asyncio.run(leaving(Request({"type": "http"}, receive)))
    assert said == []


# --- works -----------------------------------------------------------------------------------------------------------


def batcher(most: int = 8, pixels: int = 1000) -> Batcher:
    return Batcher(most, pixels, lambda *_: None)


def same(items: Sequence[Any]) -> Sequence[Any]:
    return items


def test_works_that_come_too_late_are_dropped_wherever_they_stand() -> None:
    one, never = batcher(), float("inf")
    deadlines = (never, 0.0, never, 0.0)
    futures = [one.submit(Work("a", number, same, 1), deadline) for number, deadline in enumerate(deadlines)]
    one.start()
    one.stop()
    assert [futures[0].result(0), futures[2].result(0)] == [0, 2]
    for late in (futures[1], futures[3]):
        with pytest.raises(TooLateError):
            late.result(0)


@pytest.mark.parametrize("why", ["cancelled", "late"])
def test_works_behind_one_that_is_dropped_are_done(why: str) -> None:
    one = batcher(most=1)
    dropped = one.submit(Work("a", 0, same, 1), 0.0 if why == "late" else float("inf"))
    if why == "cancelled":
        assert dropped.cancel()
    kept = one.submit(Work("a", 1, same, 1), float("inf"))
    one.start()
    assert kept.result(10) == 1
    later = one.submit(Work("b", 2, same, 1), float("inf"))  # it is still there
    assert later.result(10) == 2
    one.stop()


def test_a_work_that_has_begun_cannot_be_called_off() -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(items: Sequence[Any]) -> Sequence[Any]:
        begun.set()
        assert go.wait(10)
        return items

    one = batcher()
    future = one.submit(Work("a", 5, slow, 1), float("inf"))
    one.start()
    assert begun.wait(10)
    assert one.waiting == 0 and not future.cancel()
    go.set()
    one.stop()
    assert future.result(0) == 5


def test_a_work_without_a_result_is_done_alone_and_then_failed() -> None:
    def short(items: Sequence[Any]) -> Sequence[Any]:
        return items[: len(items) - 1] if len(items) > 1 else items if items[0] < 2 else []

    one = batcher()
    futures = [one.submit(Work("a", number, short, 1), float("inf")) for number in range(3)]
    one.start()
    one.stop()
    assert [future.result(0) for future in futures[:2]] == [0, 1]
    with pytest.raises(ValueError):
        futures[2].result(0)


def test_a_work_that_fails_fails_alone_whatever_the_failure() -> None:
    done: list[list[int]] = []

    def fragile(items: Sequence[int]) -> Sequence[int]:
        done.append(list(items))
        if 1 in items:
            raise KeyError("one")
        return [10 * item for item in items]

    one = batcher()
    futures = [one.submit(Work("a", number, fragile, 1), float("inf")) for number in range(3)]
    one.start()
    one.stop()
    assert done == [[0, 1, 2], [0], [1], [2]]
    assert [futures[0].result(0), futures[2].result(0)] == [0, 20]
    with pytest.raises(KeyError):
        futures[1].result(0)


def test_what_waits_at_the_end_is_done() -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(items: Sequence[Any]) -> Sequence[Any]:
        begun.set()
        assert go.wait(10)
        return items

    one = batcher()
    futures = [one.submit(Work(number, number, slow, 1), float("inf")) for number in range(3)]
    one.start()
    assert begun.wait(10)
    ending = threading.Thread(target=one.stop)
    ending.start()
    time.sleep(0.05)
    assert ending.is_alive()  # it waits for them
    go.set()
    ending.join(10)
    assert [future.result(0) for future in futures] == [0, 1, 2]


# --- connections -----------------------------------------------------------------------------------------------------


def test_a_connection_is_kept_for_as_long_as_requests_come(serve: Serve) -> None:
    service = serve(Limits(head_seconds=0.4))
    with service.connect() as client:
        for _ in range(4):  # for longer than one request may take to begin
            client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert healthy(client)
            time.sleep(0.2)


def test_a_second_request_has_to_begin_in_time_as_well(serve: Serve) -> None:
    service = serve(Limits(head_seconds=0.3))
    with service.connect() as client:
        client.settimeout(10)
        request = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
        for part in (b"", request[:5]):  # the second one comes in two pieces
            client.sendall(part)
            time.sleep(0.05)
            client.sendall(request[len(part) :])
            assert healthy(client)
        client.sendall(request[:5])
        begin = time.monotonic()
        assert client.recv(1000) == b"" and time.monotonic() - begin < 3


def test_a_head_that_trickles_is_given_up(serve: Serve) -> None:
    service = serve(Limits(head_seconds=0.4))
    with service.connect() as client:
        client.settimeout(0.05)
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Much: ")
        closed = False
        for _ in range(100):
            try:
                closed = client.recv(100) == b""
            except TimeoutError:
                client.sendall(b"a")
            except OSError:
                closed = True
            if closed:
                break
        assert closed


class Line(asyncio.Transport):
    """A connection that only remembers whether it was closed."""

    closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def write(self, data: Any) -> None:
        raise AssertionError("nothing is said to such a client")


@pytest.mark.parametrize("gone", [False, True])
def test_of_a_client_that_has_gone_nothing_waits_any_more(gone: bool) -> None:
    async def connect() -> bool:
        config = uvicorn.Config(lambda: None, lifespan="off", log_level="critical")
        config.load()
        protocol, line = timed(0.05)(config=config, server_state=ServerState(), app_state={}), Line()
        protocol.connection_made(line)
        protocol.data_received(b"GET /he")
        timer = protocol._timer
        assert timer is not None and not timer.cancelled()
        if gone:
            protocol.connection_lost(None)
        await asyncio.sleep(0.15)
        assert line.closed
        return timer.cancelled()

    assert asyncio.run(connect()) == gone
