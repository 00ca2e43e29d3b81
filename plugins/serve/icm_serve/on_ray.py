"""The service as a deployment of Ray Serve: the same app in several processes, behind one address.

Each replica loads the pipelines, has its own queue and batches, and is started anew by Ray where its process ends.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import types
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from icm_core.errors import InputError
from icm_serve.limits import Limits

NAME = "icm"
_STORE = 100 << 20  # bytes of shared memory, which HTTP bodies do not go through


@dataclass(frozen=True)
class Deployed:
    """What each replica is made of.

    Attributes:
        models: names of pipelines or absolute paths of spec files; None for the installed default.
        device: see `icm_core.load`.
        precision: see `icm_core.load`.
        limits: of each replica.
        token: what requests have to carry; None for no such thing.
        replicas: processes.
        cores: of each replica.
        gpus: of each replica.
    """

    models: Sequence[str | None]
    device: str
    precision: str
    limits: Limits
    token: str | None
    replicas: int = 1
    cores: int = 1
    gpus: int = 0


def application(what: Deployed) -> Any:
    """The Ray Serve application, to be run with `ray.serve.run` where a Ray is at hand; `InputError` without Ray."""
    _, serve = _library()
    limits = what.limits

    def build() -> Any:
        import torch

        from icm_core import load
        from icm_core.plugins.registry import build_registry
        from icm_serve.app import build_app

        if not what.gpus:
            torch.set_num_threads(what.cores)
        registry = build_registry()
        loaded = [load(model, device=what.device, precision=what.precision, registry=registry) for model in what.models]
        return build_app(loaded, limits, what.token)

    return serve.deployment(
        name=NAME,
        num_replicas=what.replicas,
        # More than there are places, so that it is the app that refuses, with its sentence and Retry-After.
        max_ongoing_requests=2 * limits.places + 16,
        graceful_shutdown_timeout_s=limits.seconds + limits.body_seconds,
        ray_actor_options={"num_cpus": what.cores, "num_gpus": what.gpus},
    )(serve.ingress(build)()).bind()


def serve_on_ray(what: Deployed, host: str, port: int, started: Callable[[int], None]) -> None:
    """Serve until the process is told to end, and then until everything accepted has been answered.

    Uses the cluster at ``RAY_ADDRESS``, or else begins a Ray of its own on this machine, which ends with it.

    Args:
        what: the deployment.
        host: where the proxy listens.
        port: 0 for a free one.
        started: called with the port when requests are answered.

    Raises:
        InputError: Ray is not installed or cannot be used, or the port is taken.
    """
    ray, serve = _library()
    port = _free(host, port)
    ended = threading.Event()
    with ExitStack() as stack:
        _begin(ray, what.cores * what.replicas)
        stack.callback(ray.shutdown)
        for number in (signal.SIGTERM, signal.SIGINT):  # after Ray, which has put its own there
            signal.signal(number, lambda *_: ended.set())
        limits = what.limits
        serve.start(
            http_options={"host": host, "port": port, "request_timeout_s": limits.seconds + limits.body_seconds + 10},
            logging_config={"log_level": "WARNING", "enable_access_log": False},
        )
        stack.callback(serve.shutdown)
        try:
            serve.run(application(what), name=NAME, route_prefix="/")
        except RuntimeError as error:
            raise InputError(f"Ray Serve cannot start the service: {' '.join(str(error).split())[:300]}") from error
        stack.callback(serve.delete, NAME)  # answers what was accepted
        started(port)
        ended.wait()


def _library() -> tuple[types.ModuleType, types.ModuleType]:
    # No reports to Ray's makers, unless somebody wants them.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        from ray import serve
    except ImportError as error:
        raise InputError("--engine ray needs Ray Serve; install it with: pip install 'icm-framework[ray]'") from error
    return ray, serve


def _free(host: str, port: int) -> int:
    """A port that can be listened at; Ray's proxy takes it in a process of its own."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as found:
            return int(found.getsockname()[1])
    except OSError as error:
        raise InputError(f"cannot listen at {host}, port {port}: {error.strerror or error}") from error


def _begin(ray: types.ModuleType, cores: int) -> None:
    address = os.environ.get("RAY_ADDRESS")
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address:
            ray.init(address=address, **quiet)
        else:
            ray.init(num_cpus=cores, object_store_memory=_STORE, include_dashboard=False, **quiet)
    except Exception as error:
        where = f"the cluster at {address} (RAY_ADDRESS)" if address else "Ray on this machine"
        raise InputError(f"{where} cannot be used: {' '.join(str(error).split())[:300]}") from error
