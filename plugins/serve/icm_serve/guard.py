"""Who may ask: whoever knows the token."""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from icm_serve.page import PATHS

OPEN = frozenset({"/health", *PATHS})
"""Paths that need no token: the page asks for it, and holds nothing but itself."""


class Guard:
    """Lets requests through that carry ``Authorization: Bearer TOKEN``."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["path"] in OPEN or self._knows(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        error = {"error": "this service needs its token: Authorization: Bearer TOKEN"}
        headers = {"WWW-Authenticate": "Bearer", "Connection": "close"}
        await JSONResponse(error, 401, headers)(scope, receive, send)

    def _knows(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        # In constant time, so that the time of an answer does not tell how much of a guess is right.
        same = hmac.compare_digest(token.strip().encode("latin-1"), self._token)
        return scheme.lower() == "bearer" and same
