"""``icm serve``: pipelines as an HTTP service."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icm_core.cli.options import Device, Precision
from icm_core.errors import InputError
from icm_core.files import read_file
from icm_registry import unknown

if TYPE_CHECKING:
    from icm_serve.limits import Limits

NAME = "serve"
EXAMPLE = "Example: icm serve --port 8000, and then open http://localhost:8000/ in a browser"
TOKEN = "ICM_SERVE_TOKEN"
ENGINES = ("local", "ray")


def run(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL...]", help="Names of pipelines or spec files; the installed default if none."),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Where to listen; 0.0.0.0 for the whole network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", metavar="N", min=0, max=65535, help="0 for a free one.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", help=f"Holds a token that requests must carry; or set {TOKEN}."),
    ] = None,
    max_bytes: Annotated[
        int, typer.Option("--max-bytes", metavar="N", min=1, help="Refuse larger bodies.")
    ] = 32_000_000,
    max_pixels: Annotated[
        int, typer.Option("--max-pixels", metavar="N", min=1, help="Refuse larger pictures, unread.")
    ] = 16_000_000,
    max_effort: Annotated[
        int, typer.Option("--max-effort", metavar="N", min=0, max=1000, help="Refuse longer searches.")
    ] = 20,
    places: Annotated[
        int, typer.Option("--places", metavar="N", min=1, help="Requests at once; the next are told to come back.")
    ] = 32,
    batch: Annotated[
        int, typer.Option("--batch", metavar="N", min=1, help="Waiting requests of like size done together.")
    ] = 8,
    seconds: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="From request to answer.")
    ] = 60.0,
    engine: Annotated[
        str, typer.Option("--engine", metavar="ENGINE", help="local, or ray for processes of Ray Serve.")
    ] = "local",
    replicas: Annotated[
        int, typer.Option("--replicas", metavar="N", min=1, max=1000, help="Processes, with --engine ray.")
    ] = 1,
    device: Device = "auto",
    precision: Precision = "fp32",
) -> None:
    """Serve pipelines over HTTP: POST /encode, /decode and /refine; GET /models, /health, /metrics, /openapi.json.

    A page to try it on is at its root.

    Answers are those of icm decode --json. Ctrl-C or SIGTERM ends it when everything accepted has been answered.
    """
    try:
        import uvicorn

        from icm_serve.app import build_app
        from icm_serve.protocol import timed
    except ImportError as error:
        raise InputError(f"icm serve needs {error.name}: pip install 'icm-framework[serve]'") from error
    from icm_core import load
    from icm_core.plugins.registry import build_registry
    from icm_serve.limits import Limits

    token = read_file(token_file).decode("utf-8", "replace").strip() if token_file else os.environ.get(TOKEN)
    if token is not None and not token:
        raise InputError(f"{token_file or TOKEN} holds no token")
    limits = Limits(body=max_bytes, pixels=max_pixels, places=places, batch=batch, seconds=seconds, effort=max_effort)
    named: list[str | None] = [*models] if models else [None]
    if engine not in ENGINES:
        raise InputError(f"--engine: {unknown('engine', engine, list(ENGINES))}")
    if engine == "ray":
        _on_ray(named, limits, token, host, port, replicas, device, precision)
        return
    if replicas > 1:
        raise InputError(f"--replicas {replicas} needs --engine ray; one process is served otherwise")
    listening = _listening(host, port)
    registry = build_registry()
    pipelines = [load(model, device=device, precision=precision, registry=registry) for model in named]
    app = build_app(pipelines, limits, token)
    config = uvicorn.Config(
        app,
        http=timed(limits.head_seconds),
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=4 * places + 16,
        timeout_graceful_shutdown=int(seconds + limits.body_seconds) + 1,
    )
    _say([pipe.name for pipe in pipelines], host, listening.getsockname()[1])
    uvicorn.Server(config).run(sockets=[listening])


def _on_ray(
    models: list[str | None],
    limits: Limits,
    token: str | None,
    host: str,
    port: int,
    replicas: int,
    device: str,
    precision: str,
) -> None:
    import torch

    from icm_core import load
    from icm_serve.on_ray import Deployed, serve_on_ray

    # Loaded here once, so that what is wrong with a pipeline is said in a sentence, and let go again.
    names = [load(model, device="cpu").name for model in models]
    # Replicas may run in other folders than this one.
    found = [str(Path(model).resolve()) if model and Path(model).is_file() else model for model in models]
    gpus = int(device.startswith("cuda") or (device == "auto" and torch.cuda.is_available()))
    cores = max(1, (os.cpu_count() or 1) // replicas)
    what = Deployed(found, device, precision, limits, token, replicas, cores, gpus)
    serve_on_ray(what, host, port, lambda taken: _say(names, host, taken))


def _say(names: list[str], host: str, port: int) -> None:
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    typer.echo(f"icm: serving {', '.join(names)} at {address}", err=True)


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens; taken before networks are loaded, so that a port that is taken is said at once."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(found[4][:2], family=found[0])
    except OSError as error:
        raise InputError(f"cannot listen at {host}, port {port}: {error.strerror or error}") from error
