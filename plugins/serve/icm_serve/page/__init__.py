"""The page at the service's root, on which a person tries the service: plain files, no framework, no build step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

_MEDIA = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_NAMES = ("index.html", "page.css", "icon.svg", "main.js", "service.js", "viewer.js", "answers.js", "elements.js")

PATHS = ("/", *(f"/{name}" for name in _NAMES[1:]))
"""Where its files are; nothing else is ever read from the disk for a request."""

HEADERS = {
    # Nothing from elsewhere is loaded or asked; "blob:" are pictures that the page itself has made of answers.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def add_page(app: FastAPI) -> None:
    """Let an app answer with the page at its root."""
    folder = files(__name__)
    for path, name in zip(PATHS, _NAMES, strict=True):
        content = folder.joinpath(name).read_bytes()
        media = f"{_MEDIA[name.rpartition('.')[2]]}; charset=utf-8"
        app.add_route(path, _answering(content, media), methods=["GET"], include_in_schema=False)


def _answering(content: bytes, media: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_: Request) -> Response:
        return Response(content, headers={**HEADERS, "Content-Type": media})

    return answer
