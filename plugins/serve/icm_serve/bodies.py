"""Bodies of requests, as far as limits allow."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from icm_serve.limits import Limits
from icm_serve.refusals import unread


async def body_of(request: Request, limits: Limits) -> bytes:
    """A request's whole body.

    Raises:
        RefusedError: it is too large, whatever its Content-Length says, or does not arrive in time.
        ClientDisconnect: the client went away.
    """
    too_large = unread(413, f"a body may have {limits.body} bytes at most")
    if int(request.headers.get("content-length", 0)) > limits.body:
        raise too_large

    async def read() -> bytes:
        found = bytearray()
        async for chunk in request.stream():
            found += chunk
            if len(found) > limits.body:
                raise too_large
        return bytes(found)

    try:
        return await asyncio.wait_for(read(), limits.body_seconds)
    except asyncio.TimeoutError as error:
        raise unread(408, f"the body did not arrive within {limits.body_seconds:g} seconds") from error


async def leaving(request: Request) -> None:
    """Returns when the client has gone; after the body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
