"""What a service counts, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATHS = (
    "/",
    "/encode",
    "/decode",
    "/refine",
    "/info",
    "/compare",
    "/models",
    "/limits",
    "/health",
    "/metrics",
    "/openapi.json",
)
CONTENT_TYPE = CONTENT_TYPE_LATEST
SIZES = (1, 2, 4, 8, 16, 32)


class Metrics:
    """Counters of one service; each service has its own.

    Args:
        waiting: number of works that wait.
        taken: number of places that are taken.
    """

    def __init__(self, waiting: Callable[[], int], taken: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        own = self._registry
        self.requests = Counter("icm_requests", "Requests by path and status.", ["path", "status"], registry=own)
        self.seconds = Histogram("icm_request_seconds", "Seconds from request to response.", ["path"], registry=own)
        self.received = Counter("icm_received_bytes", "Bytes of bodies.", registry=own)
        self.batches = Histogram("icm_batch_size", "Requests done together.", buckets=SIZES, registry=own)
        self.work = Counter("icm_work_seconds", "Seconds of work.", registry=own)
        Gauge("icm_waiting", "Requests that wait for the model.", registry=own).set_function(waiting)
        Gauge("icm_places_taken", "Requests that are read, wait or are worked on.", registry=own).set_function(taken)

    def batch(self, count: int, seconds: float) -> None:
        """Count a batch."""
        self.batches.observe(count)
        self.work.inc(seconds)

    def text(self) -> bytes:
        """All of them, as Prometheus reads it."""
        return generate_latest(self._registry)


class Counted:
    """Counts the responses of an app."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in PATHS else "other"  # whoever asks does not choose how many there are
        start, status = time.monotonic(), "none"

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception:  # answered outside of this
            status = "500" if status == "none" else status
            raise
        finally:
            self._metrics.requests.labels(path, status).inc()
            self._metrics.seconds.labels(path).observe(time.monotonic() - start)
