"""What ``icm serve`` is told reaches the server that it starts, and the deployment where Ray is to serve."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import uvicorn
from fastapi import FastAPI

import icm_serve.app
import icm_serve.on_ray
from icm_core.errors import InputError
from icm_serve.command import TOKEN, _listening, run
from icm_serve.limits import Limits
from icm_serve.on_ray import Deployed, application, serve_on_ray

GOLDEN = Path(__file__).parents[1] / "golden/golden.json"


def copied(folder: Path, name: str) -> Path:
    """The golden pipeline by another name."""
    found = folder / f"{name}.json"
    found.write_text(json.dumps({**json.loads(GOLDEN.read_text()), "name": name}))
    for path in GOLDEN.parent.glob("golden.safetensors"):
        shutil.copy(path, folder)
    return found


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN, raising=False)


class Started:
    """The command at work in a thread: its server, and what the service was built of."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, models: list[str], options: dict[str, Any]) -> None:
        servers: list[uvicorn.Server] = []
        plain, begin = icm_serve.app.build_app, uvicorn.Server.__init__

        def build_app(*what: Any) -> FastAPI:
            self.pipelines, self.limits, self.token = what
            return plain(*what)

        def noted(server: uvicorn.Server, config: uvicorn.Config) -> None:
            begin(server, config)
            servers.append(server)

        monkeypatch.setattr(icm_serve.app, "build_app", build_app)
        monkeypatch.setattr(uvicorn.Server, "__init__", noted)
        self.thread = threading.Thread(target=run, args=(models,), kwargs={"device": "cpu", **options}, daemon=True)
        self.thread.start()
        end = time.monotonic() + 30
        while not (servers and servers[0].started):
            assert self.thread.is_alive() and time.monotonic() < end, "it does not start"
            time.sleep(0.01)
        self.server = servers[0]

    @property
    def config(self) -> Any:
        return self.server.config

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(30)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Started]]:
    running: list[Started] = []

    def started(*models: str, **options: Any) -> Started:
        running.append(Started(monkeypatch, list(models), options))
        return running[-1]

    yield started
    for one in running:
        one.stop()
        assert not one.thread.is_alive()


def test_every_option_reaches_the_server(
    start: Callable[..., Started], elsewhere: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = copied(tmp_path, "second")
    (tmp_path / "token").write_text("  Sesame\n")
    made = start(
        str(GOLDEN), str(second), port=0, token_file=tmp_path / "token", max_bytes=1234, max_pixels=567, max_effort=3,
        places=5, batch=2, seconds=7.5, precision="bf16",
    )  # fmt: skip
    assert made.limits == Limits(body=1234, pixels=567, places=5, batch=2, seconds=7.5, effort=3)
    assert made.token == "Sesame"
    assert [(pipe.name, pipe.precision) for pipe in made.pipelines] == [("golden", "bf16"), ("second", "bf16")]
    port = made.server.servers[0].sockets[0].getsockname()[1]
    assert capsys.readouterr().err == f"icm: serving golden, second at http://127.0.0.1:{port}\n"
    # More connections than places, so that it is the app that refuses; at the end everything has time to be answered.
    assert made.config.limit_concurrency == 4 * 5 + 16
    assert made.config.timeout_graceful_shutdown == 7 + 20 + 1
    assert made.config.http_protocol_class.head_seconds == 10
    elsewhere.port = port
    assert elsewhere.ask("GET", "/models").status == 401
    known = {"Authorization": "Bearer Sesame"}
    assert [one["name"] for one in elsewhere.ask("GET", "/models", headers=known).json] == ["golden", "second"]
    assert elsewhere.ask("GET", "/limits", headers=known).json == {
        "bytes": 1234, "pixels": 567, "effort": 3, "seconds": 7.5,
    }  # fmt: skip


def test_the_token_of_the_environment_counts_where_no_file_is_named(
    start: Callable[..., Started], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("from-file")
    monkeypatch.setenv(TOKEN, "from-environment")
    assert start(str(GOLDEN), port=0, token_file=tmp_path / "token").token == "from-file"
    assert start(str(GOLDEN), port=0).token == "from-environment"
    monkeypatch.delenv(TOKEN)
    made = start(str(GOLDEN), port=0)
    assert made.token is None
    assert made.limits == Limits() and made.pipelines[0].precision == "fp32"


def test_what_cannot_be_served_is_said_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").write_text(" \n")
    with pytest.raises(InputError, match=r"empty holds no token$"):
        run(["no-model"], token_file=tmp_path / "empty")
    with pytest.raises(InputError, match="--replicas 2 needs --engine ray; one process is served otherwise"):
        run(["no-model"], replicas=2)
    with pytest.raises(InputError, match="--engine: unknown engine 'rai'; did you mean 'ray'"):
        run(["no-model"], engine="rai")
    monkeypatch.setenv(TOKEN, "")
    with pytest.raises(InputError, match=f"^{TOKEN} holds no token$"):
        run(["no-model"])


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_it_listens_where_it_is_told_whatever_the_kind_of_address(
    start: Callable[..., Started], capsys: pytest.CaptureFixture[str], host: str, shown: str
) -> None:
    try:
        socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError:
        pytest.skip(f"this machine has no {host}")
    made = start(str(GOLDEN), port=0, host=host)
    port = made.server.servers[0].sockets[0].getsockname()[1]
    assert f" at http://{shown}:{port}\n" in capsys.readouterr().err
    with socket.create_connection((host, port), timeout=10):
        pass
    with pytest.raises(InputError, match=f"cannot listen at {host}, port {port}: Address already in use"):
        _listening(host, port)


def test_a_host_that_nobody_knows_is_said() -> None:
    with pytest.raises(InputError, match=r"cannot listen at 256\.1\.1\.1, port 0: "):
        _listening("256.1.1.1", 0)


# --- Ray -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Deployed, str, int]]:
    """What Ray would be given: the deployment, host and port. It takes the port after the one that is asked for."""
    seen: list[tuple[Deployed, str, int]] = []

    def serve(what: Deployed, host: str, port: int, started: Callable[[int], None]) -> None:
        seen.append((what, host, port))
        started(port + 1)

    monkeypatch.setattr(icm_serve.on_ray, "serve_on_ray", serve)

    def found(models: list[str], **options: Any) -> tuple[Deployed, str, int]:
        run(models, engine="ray", **options)
        return seen[-1]

    return found


def test_every_option_reaches_the_deployment(
    deployed: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 13)
    monkeypatch.setenv(TOKEN, "sesame")
    copied(tmp_path, "own")
    monkeypatch.chdir(tmp_path)  # replicas may run elsewhere
    what, host, port = deployed(
        ["own.json", "sicmh-small"], host="::1", port=4321, replicas=3, max_bytes=1234, places=5, seconds=7.5,
        device="cpu", precision="bf16",
    )  # fmt: skip
    limits = Limits(body=1234, places=5, seconds=7.5)
    models = [str(tmp_path / "own.json"), "sicmh-small"]
    assert what == Deployed(models, "cpu", "bf16", limits, "sesame", replicas=3, cores=4, gpus=0)
    assert (host, port) == ("::1", 4321)
    assert capsys.readouterr().err == "icm: serving own, sicmh-small at http://[::1]:4322\n"
    assert deployed([str(GOLDEN)], replicas=14, device="cpu")[0].cores == 1


@pytest.mark.parametrize(
    ("device", "there", "gpus"),
    [
        ("cpu", True, 0),
        ("cpu", False, 0),
        ("auto", True, 1),
        ("auto", False, 0),
        ("cuda", False, 1),
        ("cuda:1", True, 1),
    ],
)
def test_a_replica_has_a_card_where_it_is_to_use_one(
    deployed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, device: str, there: bool, gpus: int
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert deployed([str(GOLDEN)], device=device)[0].gpus == gpus


class Ray:
    """Stands for Ray and Ray Serve: writes down what they are asked for, in order."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.fails: dict[str, Exception] = {}
        self.build: Callable[[], Any] | None = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def noted(*arguments: Any, **options: Any) -> None:
            self.asked.append((name, options or arguments))
            if name in self.fails:
                raise self.fails[name]

        return noted

    def ingress(self, build: Callable[[], Any]) -> Callable[[], Any]:
        self.build = build
        return lambda: SimpleNamespace()

    def deployment(self, **options: Any) -> Callable[[Any], Any]:
        self.asked.append(("deployment", options))
        return lambda ingress: SimpleNamespace(bind=lambda: "bound")

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.asked]


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ray]:
    found = Ray()
    monkeypatch.setattr(icm_serve.on_ray, "_library", lambda: (found, found))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def unheard(number: int, _: object) -> None:
        raise AssertionError(f"nobody listens to {signal.Signals(number).name}")

    before = {number: signal.signal(number, unheard) for number in (signal.SIGTERM, signal.SIGINT)}
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)


WHAT = Deployed(
    [str(GOLDEN)], "cpu", "bf16", Limits(body=77, places=5, seconds=7.5, body_seconds=3.0), "sesame", 2, 3, 1
)


def test_a_deployment_has_replicas_that_refuse_by_themselves_and_end_when_all_is_answered(ray: Ray) -> None:
    assert application(WHAT) == "bound"
    ((_, options),) = ray.asked
    assert options == {
        "name": "icm",
        "num_replicas": 2,
        "max_ongoing_requests": 2 * 5 + 16,
        "graceful_shutdown_timeout_s": 10.5,
        "ray_actor_options": {"num_cpus": 3, "num_gpus": 1},
    }


@pytest.mark.parametrize(("gpus", "threads"), [(0, 3), (1, None)])
def test_a_replica_is_the_service_of_the_deployment(
    ray: Ray, monkeypatch: pytest.MonkeyPatch, gpus: int, threads: int | None
) -> None:
    seen: dict[str, Any] = {"threads": None}
    monkeypatch.setattr(torch, "set_num_threads", lambda count: seen.update(threads=count))
    monkeypatch.setattr(icm_serve.app, "build_app", lambda *what, **more: seen.update(what=(*what, more)))
    application(Deployed(WHAT.models, "cpu", "bf16", WHAT.limits, "sesame", 2, 3, gpus))
    assert ray.build is not None
    ray.build()
    (pipe,), *rest = seen["what"]
    assert (pipe.name, pipe.precision) == ("golden", "bf16") and rest == [WHAT.limits, "sesame", {}]
    assert seen["threads"] == threads


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_ray_serves_until_it_is_told_to_end_and_is_taken_down_in_order(ray: Ray, ending: signal.Signals) -> None:
    ports: list[int] = []

    def started(port: int) -> None:
        ports.append(port)
        assert ray.names == ["init", "start", "deployment", "run"]
        signal.raise_signal(ending)

    serve_on_ray(WHAT, "127.0.0.1", 0, started)
    assert ray.names == ["init", "start", "deployment", "run", "delete", "shutdown", "shutdown"]
    asked = dict(ray.asked)
    assert asked["init"] == {
        "num_cpus": 6, "object_store_memory": 100 << 20, "include_dashboard": False, "log_to_driver": False,
        "logging_level": 40,
    }  # fmt: skip
    (port,) = ports
    assert port > 0  # a free one
    assert asked["start"]["http_options"] == {"host": "127.0.0.1", "port": port, "request_timeout_s": 20.5}
    assert asked["run"] == {"name": "icm", "route_prefix": "/"} and asked["delete"] == ("icm",)


def test_a_cluster_is_asked_for_no_cores_of_this_machine(ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    serve_on_ray(WHAT, "127.0.0.1", 0, lambda port: signal.raise_signal(signal.SIGTERM))
    assert dict(ray.asked)["init"] == {"address": "10.0.0.1:6379", "log_to_driver": False, "logging_level": 40}
    ray.fails["init"] = ConnectionError("nobody\n  is there")
    with pytest.raises(InputError, match=r"^the cluster at 10\.0\.0\.1:6379 \(RAY_ADDRESS\) cannot be used: nobody is"):
        serve_on_ray(WHAT, "127.0.0.1", 0, lambda port: None)


def test_what_ray_cannot_do_is_said_and_what_was_begun_ends(ray: Ray) -> None:
    ray.fails["run"] = RuntimeError("Deployment failed\n\tat once")
    with pytest.raises(InputError, match="Ray Serve cannot start the service: Deployment failed at once"):
        serve_on_ray(WHAT, "127.0.0.1", 0, lambda port: None)
    assert ray.names[-3:] == ["run", "shutdown", "shutdown"]
    ray.asked.clear()
    ray.fails["init"] = ValueError("no room")
    with pytest.raises(InputError, match=r"^Ray on this machine cannot be used: no room$"):
        serve_on_ray(WHAT, "127.0.0.1", 0, lambda port: None)
    assert ray.names == ["init"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_ray_is_not_begun_where_its_port_is_taken(ray: Ray, host: str) -> None:
    try:
        taken = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"cannot listen at {host}, port {port}: Address already in use"):
            serve_on_ray(WHAT, host, port, lambda port: None)
    assert ray.asked == []
    serve_on_ray(WHAT, host, port, lambda port: signal.raise_signal(signal.SIGTERM))
    assert dict(ray.asked)["start"]["http_options"]["port"] == port


def test_without_ray_it_is_said_what_to_install_and_reports_go_out_only_if_somebody_wants_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not there
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    with pytest.raises(InputError, match=r"needs Ray Serve; install it with: pip install 'icm-framework\[ray\]'"):
        application(WHAT)
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    fake = ModuleType("ray")
    fake.serve = ModuleType("serve")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    assert icm_serve.on_ray._library() == (fake, fake.serve)
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "1"
