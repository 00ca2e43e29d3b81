from __future__ import annotations

import http.client
import importlib.util
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import uvicorn
from PIL import Image

from icm_core import Pipeline, build, build_registry, parse_spec
from icm_core.bitstream.container import Container
from icm_core.pictures import png_bytes
from icm_serve.app import build_app
from icm_serve.limits import Limits
from icm_serve.protocol import timed

TINY = Path(__file__).parents[1] / "core/icm_tiny.py"
_TASK = {"adapter": {"use": "tiny.enlarge"}}
SPEC: dict[str, Any] = {
    "icm": 1,
    "name": "tiny",
    "codec": {"use": "tiny.thumbnail"},
    "tasks": {
        "labels": {**_TASK, "head": {"use": "tiny.labels"}},
        "classes": {**_TASK, "head": {"use": "tiny.classes", "params": {"classes": 7}}},
        "coarse": {**_TASK, "head": {"use": "tiny.picture"}},
    },
    "enhancement": {"use": "tiny.residual", "over": "coarse"},
}


@dataclass
class Answer:
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Running:
    """A service that listens at a port of this machine."""

    port: int
    pipes: list[Pipeline]
    server: uvicorn.Server
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(24))

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, timeout: float = 60
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def later(self, *arguments: Any, **more: Any) -> Any:
        """The same in a thread."""
        return self.pool.submit(self.ask, *arguments, **more)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def metric(self, name: str) -> float:
        lines = self.ask("GET", "/metrics").body.decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + 30
        while not holds():
            assert time.monotonic() < end, "it never came about"
            time.sleep(0.01)


def plugin(path: Path) -> Any:
    """A plugin in one file, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def registry() -> Any:
    """A registry of the tiny components, and of a kind that no page has heard of."""
    return build_registry(
        path=[], extra={"tiny": plugin(TINY), "needles": plugin(Path(__file__).parent / "icm_needles.py")}
    )


@pytest.fixture
def pipe(registry: Any) -> Pipeline:
    torch.manual_seed(0)
    return build(parse_spec(SPEC), registry)


@pytest.fixture
def serve(pipe: Pipeline) -> Iterator[Callable[..., Running]]:
    """Starts services; they end with the test."""
    running: list[tuple[Running, threading.Thread]] = []

    def start(limits: Limits | None = None, token: str | None = None, pipes: list[Pipeline] | None = None) -> Running:
        limits = limits or Limits()
        app = build_app(pipes or [pipe], limits, token)
        listening = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(app, http=timed(limits.head_seconds), lifespan="on", log_level="critical")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        one = Running(listening.getsockname()[1], pipes or [pipe], server)
        running.append((one, thread))
        one.until(lambda: server.started)
        return one

    yield start
    for one, thread in running:
        one.server.should_exit = True
        thread.join(30)
        one.pool.shutdown()
        assert not thread.is_alive()


@pytest.fixture
def service(serve: Callable[..., Running]) -> Running:
    return serve()


@pytest.fixture
def elsewhere() -> Iterator[Running]:
    """A service of another process, whose port has yet to be set."""
    found = Running(0, [], uvicorn.Server(uvicorn.Config(lambda: None)))
    yield found
    found.pool.shutdown()


@pytest.fixture
def photo() -> Image.Image:
    pixels = torch.arange(3 * 40 * 56).reshape(40, 56, 3).mul(7919).remainder(256).byte()
    return Image.fromarray(pixels.numpy())


@pytest.fixture
def png(photo: Image.Image) -> bytes:
    return png_bytes(photo)


@pytest.fixture
def blob(pipe: Pipeline, photo: Image.Image) -> bytes:
    return pipe.encode(photo, 2)


@dataclass
class Held:
    """A pipeline whose decoding waits until it is let go."""

    sizes: list[int] = field(default_factory=list)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    go: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def held(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    found, plain = Held(), pipe.decode_batch

    def decode_batch(files: list[Container], *arguments: Any, **more: Any) -> Any:
        found.sizes.append(len(files))
        found.begun.release()
        assert found.go.wait(30)
        return plain(files, *arguments, **more)

    monkeypatch.setattr(pipe, "decode_batch", decode_batch)
    yield found
    found.go.set()
