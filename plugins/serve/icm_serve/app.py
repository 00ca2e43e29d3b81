"""The service as an ASGI app."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal, TypeVar

import anyio.to_thread
from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from icm_core import __version__
from icm_core.cli.console import message_of
from icm_core.errors import IcmError, InputError, out_of_memory
from icm_core.pictures import png_bytes, read_picture
from icm_core.pipeline.pipeline import Pipeline
from icm_serve.batching import Batcher, TooLateError, Work
from icm_serve.bodies import body_of, leaving
from icm_serve.compare import YARDSTICKS, CodecName, compared
from icm_serve.guard import Guard
from icm_serve.limits import Limits
from icm_serve.metrics import CONTENT_TYPE, Counted, Metrics
from icm_serve.models import FileInfo, LimitsInfo, ModelInfo, model_info
from icm_serve.page import add_page
from icm_serve.refusals import RefusedError, busy
from icm_serve.served import Answer, Served, Settings, inlined

T = TypeVar("T")
BYTES = "application/octet-stream"
JSON = "application/json"
PNG = "image/png"


class Problem(BaseModel):
    """Why a request was refused."""

    error: str = Field(description="one sentence")


class Health(BaseModel):
    """That the service is there."""

    status: Literal["ok"]
    waiting: int = Field(description="requests that wait")


class Service:
    """What the handlers of one app share.

    Args:
        pipelines: what is served.
        limits: how much it takes on.
    """

    def __init__(self, pipelines: Sequence[Pipeline], limits: Limits) -> None:
        self.limits = limits
        self.served = Served(pipelines, limits)
        self.metrics = Metrics(lambda: self.batcher.waiting, lambda: self._taken)
        self.batcher = Batcher(limits.batch, limits.batch_pixels, self.metrics.batch)
        self._beside = anyio.CapacityLimiter(2)
        self._taken = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[float]:
        """A place for a request, and the time by which it has to be answered; `RefusedError` where all are taken."""
        if self._taken >= self.limits.places:
            raise busy(f"all {self.limits.places} places are taken; come back later", self.batcher.wait, read=False)
        self._taken += 1
        try:
            yield time.monotonic() + self.limits.seconds
        finally:
            self._taken -= 1

    async def body(self, request: Request) -> bytes:
        """The request's body."""
        found = await body_of(request, self.limits)
        self.metrics.received.inc(len(found))
        return found

    async def beside(self, do: Callable[..., T], *arguments: Any) -> T:
        """Do something in another thread, so that other requests go on."""
        return await anyio.to_thread.run_sync(do, *arguments, limiter=self._beside)

    async def done(self, work: Work, request: Request, deadline: float) -> Any:
        """The result of a work, as long as somebody waits for it.

        Raises:
            RefusedError: it takes too long.
            ClientDisconnect: the client went away.
        """
        future = self.batcher.submit(work, deadline)
        result = asyncio.wrap_future(future)
        gone = asyncio.ensure_future(leaving(request))
        seconds = self.limits.seconds
        try:
            await asyncio.wait({result, gone}, timeout=deadline - time.monotonic(), return_when=asyncio.FIRST_COMPLETED)
            if result.done():
                return result.result()
            waiting = future.cancel()
            if gone.done():
                raise ClientDisconnect
            if waiting:
                raise TooLateError
            raise RefusedError(504, f"the answer takes more than {seconds:g} seconds; send a smaller picture")
        except TooLateError as error:
            sentence = f"the request waited for {seconds:g} seconds, which is as long as it may; come back later"
            raise busy(sentence, self.batcher.wait) from error
        except (MemoryError, RuntimeError) as error:
            if out_of_memory(error):
                raise busy("there is not enough memory for a picture of this size", self.limits.seconds) from error
            raise
        finally:
            gone.cancel()
            result.cancel()


def _binary(what: str) -> dict[str, Any]:
    """OpenAPI's words for a body of bytes."""
    content = {BYTES: {"schema": {"type": "string", "format": "binary"}}}
    return {"requestBody": {"required": True, "description": what, "content": content}}


def _given(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's words for the responses of a work."""
    refused = {
        400: "The picture, the file or a parameter cannot be used.",
        404: "There is no such model.",
        408: "The body did not arrive in time.",
        413: "The body is too large.",
        422: "A parameter is no number, or has no value that it may have.",
        503: "Too much is being asked for; Retry-After says when to come back.",
        504: "The answer takes too long.",
    }
    binary = {"schema": {"type": "string", "format": "binary"}}
    content = {kind: {} if kind == JSON else binary for kind in kinds}
    return {
        200: {"description": "The answer.", "content": content},
        **{status: {"model": Problem, "description": why} for status, why in refused.items()},
    }


ModelName = Annotated[
    str | None, Query(description="name of a served model; the first, or the one that wrote the file")
]
Tasks = Annotated[str | None, Query(description="names of tasks with commas between; all if not given")]
OneTask = Annotated[str | None, Query(description="the task whose picture is wanted, with format=png")]
Drawn = Annotated[bool, Query(description="answers drawn on the decoded picture")]
Pictures = Annotated[bool, Query(description="in JSON, answers as pictures, too: data URLs of PNG")]


class Asked:
    """What is asked for of a file."""

    def __init__(
        self,
        request: Request,
        tasks: Tasks = None,
        task: OneTask = None,
        format: Annotated[
            Literal["json", "png"] | None, Query(description="of the answer; json, or by the Accept header")
        ] = None,
        draw: Drawn = False,
        pictures: Pictures = False,
        model: ModelName = None,
    ) -> None:
        names = [name.strip() for part in (tasks, task) if part for name in part.split(",") if name.strip()]
        self.tasks = names or None
        self.png = format == "png" or (format is None and PNG in request.headers.get("accept", ""))
        self.draw, self.model = draw, model
        self.pictures = pictures or self.png
        if self.png and len(names) != 1:
            raise InputError(f"a PNG is of one task, task=NAME, and {len(names)} are named")


def build_app(pipelines: Sequence[Pipeline], limits: Limits | None = None, token: str | None = None) -> FastAPI:
    """The service.

    Args:
        pipelines: what is served, each with a name of its own; the first one encodes where none is named.
        limits: how much it takes on.
        token: what requests have to carry, ``Authorization: Bearer TOKEN``; None for no such thing.

    Raises:
        InputError: two pipelines have the same name.
    """
    service = Service(pipelines, limits or Limits())
    served, batcher = service.served, service.batcher
    infos = [model_info(pipe) for pipe in served]

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        await anyio.to_thread.run_sync(batcher.stop)

    app = FastAPI(
        title="icm",
        summary="Image coding for machines: pictures to files, and files to what tasks say of them.",
        version=__version__,
        lifespan=life,
        docs_url=None,  # their pages fetch scripts from elsewhere
        redoc_url=None,
    )
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(IcmError, _wrong)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _nobody)
    app.add_exception_handler(Exception, _failed)
    if token is not None:
        app.add_middleware(Guard, token=token)
    app.add_middleware(Counted, metrics=service.metrics)

    @app.post(
        "/encode",
        openapi_extra=_binary("The picture's file, such as a JPEG."),
        responses=_given(BYTES),
        response_class=Response,
    )
    async def encode(
        request: Request,
        quality: Annotated[float, Query(description="from 1, fewest bits, to what the model has")] = 3.0,
        model: ModelName = None,
        enhancement: Annotated[bool, Query(description="false for a base layer alone")] = True,
        enhancement_quality: Annotated[float | None, Query(description="of the enhancement alone")] = None,
        control: Annotated[bool, Query(description="true for hashes of what layers decode to")] = False,
        encoder: Annotated[str | None, Query(description="one of the model's encoders; its usual one else")] = None,
        effort: Annotated[int, Query(ge=0, description="steps of a search for better side information")] = 0,
    ) -> Response:
        """A picture as an .icm file."""
        async with service.place() as deadline:
            pipe = served.named(model)
            settings = Settings(quality, enhancement, enhancement_quality, control, encoder, effort)
            data = await service.body(request)
            picture = await service.beside(read_picture, data, "the picture", service.limits.pixels)
            blob = await service.done(served.encoding(pipe, picture, settings), request, deadline)
            headers = {
                "Content-Disposition": 'attachment; filename="picture.icm"',
                "X-Icm-Model": pipe.name,
                "X-Icm-Base-Bytes": str(served.file(blob).base_bytes),
            }
            return Response(blob, media_type=BYTES, headers=headers)

    async def answered(request: Request, asked: Asked, blob: bytes, deadline: float) -> Response:
        start = time.monotonic()
        file = served.file(blob)
        pipe = served.reads(file, asked.model)
        work = served.decoding(pipe, file, len(blob), asked.tasks, pictures=asked.pictures, draw=asked.draw)
        answer: Answer = await service.done(work, request, deadline)
        if not asked.png:
            seconds = round(time.monotonic() - start, 4)
            rows = await service.beside(lambda: {name: inlined(one) for name, one in answer.tasks.items()})
            return JSONResponse({**answer.file, "tasks": rows, "seconds": seconds})
        ((name, told),) = answer.tasks.items()
        shown = told.drawing if asked.draw or told.picture is None else told.picture
        shown = shown or told.picture
        if shown is None:
            raise InputError(
                f"task {name!r} answers in words, not with a picture; ask for it as JSON, or with draw=true"
            )
        return Response(await service.beside(png_bytes, shown), media_type=PNG)

    @app.post(
        "/decode",
        openapi_extra=_binary("An .icm file."),
        responses=_given(JSON, PNG),
        response_class=Response,
    )
    async def decode(request: Request, asked: Annotated[Asked, Depends()]) -> Response:
        """What tasks say of an .icm file, as JSON, or one task's answer as a picture."""
        async with service.place() as deadline:
            return await answered(request, asked, await service.body(request), deadline)

    @app.post(
        "/refine",
        openapi_extra=_binary("A base file, and the enhancement part that belongs to it right behind it."),
        responses=_given(JSON, PNG, BYTES),
        response_class=Response,
    )
    async def refine(
        request: Request,
        asked: Annotated[Asked, Depends()],
        whole: Annotated[bool, Query(description="true for the whole .icm file instead of answers")] = False,
    ) -> Response:
        """What tasks say of a base file whose enhancement came later, or the two as one file."""
        async with service.place() as deadline:
            blob = served.joined(await service.body(request))
            if whole:
                return Response(blob, media_type=BYTES)
            return await answered(request, asked, blob, deadline)

    @app.post(
        "/info",
        openapi_extra=_binary("An .icm file."),
        responses={status: one for status, one in _given(JSON).items() if status not in (200, 504)},
    )
    async def info(request: Request, model: ModelName = None) -> FileInfo:
        """What an .icm file says of itself, without decoding it."""
        async with service.place():
            blob = await service.body(request)
            return served.info(blob, model)

    @app.post(
        "/compare",
        openapi_extra=_binary("The picture's file, such as a JPEG."),
        responses=_given(*(one.media for one in YARDSTICKS.values())),
        response_class=Response,
    )
    async def compare(
        request: Request,
        codec: Annotated[CodecName, Query(description="of Pillow")],
        limit: Annotated[int, Query(alias="bytes", ge=1, description="that the file may have")],
    ) -> Response:
        """A picture as a file of another codec: the best within so many bytes, else the smallest there is."""
        async with service.place():
            data = await service.body(request)
            picture = await service.beside(read_picture, data, "the picture", service.limits.pixels)
            quality, blob = await service.beside(compared, picture, codec, limit)
            return Response(blob, media_type=YARDSTICKS[codec].media, headers={"X-Icm-Codec-Quality": str(quality)})

    @app.get("/limits")
    async def limits_() -> LimitsInfo:
        """How much is taken on."""
        its = service.limits
        return LimitsInfo(bytes=its.body, pixels=its.pixels, effort=its.effort, seconds=its.seconds)

    @app.get("/models")
    async def models() -> list[ModelInfo]:
        """What is served."""
        return infos

    @app.get("/health")
    async def health() -> Health:
        """That the service is there; needs no token."""
        return Health(status="ok", waiting=batcher.waiting)

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)

    add_page(app)
    return app


async def _refused(_: Request, error: Any) -> Response:
    return JSONResponse({"error": message_of(error)}, error.status, error.headers)


async def _wrong(_: Request, error: Any) -> Response:
    return JSONResponse({"error": message_of(error)}, 400)


async def _invalid(_: Request, error: Any) -> Response:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "query")
    if first["type"] == "missing":
        return JSONResponse({"error": f"the parameter {where!r} is missing"}, 422)
    return JSONResponse({"error": f"{where} is {first.get('input')!r:.100}: {first['msg']}"}, 422)


async def _http(_: Request, error: Any) -> Response:
    return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)


async def _nobody(_: Request, __: Any) -> Response:
    return Response(status_code=499)  # nobody reads it, but it is counted


async def _failed(_: Request, __: Any) -> Response:
    return JSONResponse({"error": "the service failed at this request; its log says how"}, 500)
