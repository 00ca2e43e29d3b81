"""The pipelines that a service has, and what it does with them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from pydantic import JsonValue

from icm_core.bitstream.about import About, about, layer_rows
from icm_core.bitstream.container import Container, read
from icm_core.bitstream.split import apart, join
from icm_core.errors import BitstreamError, InputError
from icm_core.pictures import png_bytes
from icm_core.pipeline.pipeline import Pipeline
from icm_core.pipeline.told import Told, told
from icm_core.spec.model import FINE
from icm_registry import unknown
from icm_serve.batching import Work
from icm_serve.limits import Limits
from icm_serve.models import FileInfo, LayerInfo
from icm_serve.refusals import RefusedError


@dataclass(frozen=True)
class Settings:
    """How a picture is to be coded; see `Pipeline.encode`."""

    quality: float = 3.0
    enhancement: bool = True
    enhancement_quality: float | None = None
    control: bool = False
    encoder: str | None = None
    effort: int = 0


@dataclass(frozen=True)
class Answer:
    """What is said of a file: of the file itself, and of each task."""

    file: About
    tasks: Mapping[str, Told]


def inlined(told: Told) -> dict[str, JsonValue]:
    """A task's answer with its pictures, where there are any, as data URLs of PNG."""
    row = dict(told.row)
    for key, picture in (("picture", told.picture), ("drawing", told.drawing)):
        if picture is not None:
            row[key] = f"data:image/png;base64,{base64.b64encode(png_bytes(picture)).decode('ascii')}"
    return row


class Served:
    """Pipelines by name, the first of them where none is named.

    Args:
        pipelines: at least one.
        limits: of pixels and effort.
    """

    def __init__(self, pipelines: Sequence[Pipeline], limits: Limits) -> None:
        self._by_name = {pipe.name: pipe for pipe in pipelines}
        if len(self._by_name) < len(pipelines):
            raise InputError("two of the pipelines have the same name; a service names them by it")
        self._limits = limits

    def __iter__(self) -> Any:
        return iter(self._by_name.values())

    def named(self, name: str | None) -> Pipeline:
        """A pipeline by name; `RefusedError` with the nearest name if the service has none."""
        if name is None:
            return next(iter(self._by_name.values()))
        if name not in self._by_name:
            raise RefusedError(404, unknown("model", name, list(self._by_name)))
        return self._by_name[name]

    def reads(self, file: Container, name: str | None) -> Pipeline:
        """The pipeline of a name, or the one that wrote a file."""
        if name is not None:
            return self.named(name)
        fine = file.enhancement.fingerprint if file.enhancement else None
        found = [pipe for pipe in self._by_name.values() if pipe.base_fingerprint == file.base.fingerprint]
        if not found:
            raise BitstreamError(
                f"no pipeline of this service has the fingerprint {file.base.fingerprint.hex()} of this file; it has "
                f"{', '.join(self._by_name)}"
            )
        return next((pipe for pipe in found if pipe.enhancement_fingerprint == fine), found[0])

    def encoding(self, pipe: Pipeline, picture: Image.Image, settings: Settings) -> Work:
        """The work of coding a picture; its result is the file."""
        if settings.effort > self._limits.effort:
            raise InputError(f"an effort of {settings.effort} is more than this service's {self._limits.effort}")
        key = ("encode", pipe.name, picture.size, settings)
        how = vars(settings)
        return Work(key, picture, lambda pictures: pipe.encode_batch(pictures, **how), picture.width * picture.height)

    def file(self, blob: bytes) -> Container:
        """A file as it is read."""
        return read(blob, max_pixels=self._limits.pixels)

    def info(self, blob: bytes, name: str | None) -> FileInfo:
        """What a file says of itself."""
        file = self.file(blob)
        its = about(file, len(blob), self.reads(file, name).name)
        layers = [LayerInfo(**row) for row in layer_rows(file)]
        return FileInfo(**its, base_bytes=file.base_bytes, overhead_bytes=file.overhead, layers=layers)

    def joined(self, body: bytes) -> bytes:
        """A whole file from a base file and the enhancement part behind it."""
        return join(*apart(body), max_pixels=self._limits.pixels)

    def decoding(
        self, pipe: Pipeline, file: Container, size: int, tasks: Sequence[str] | None, *, pictures: bool, draw: bool
    ) -> Work:
        """The work of decoding a file; its result is an `Answer`.

        Args:
            pipe: the pipeline.
            file: the file.
            size: its length in bytes.
            tasks: names; None for all that the file allows.
            pictures: whether answers are wanted as pictures.
            draw: see `told`.
        """
        known = [*pipe.tasks, *([FINE] if pipe.enhancement is not None else [])]
        for name in tasks or ():
            if name not in known:
                raise InputError(unknown("task", name, known))
        asked = None if tasks is None else tuple(dict.fromkeys(tasks))
        finer = file.enhancement_quality

        def run(files: Sequence[tuple[Container, int]]) -> list[Answer]:
            found = pipe.decode_batch([one for one, _ in files], asked)
            return [
                Answer(about(one, length, pipe.name), told(pipe, decoded, draw=draw, pictures=pictures))
                for (one, length), decoded in zip(files, found, strict=True)
            ]

        key = ("decode", pipe.name, file.height, file.width, file.quality, finer, asked, pictures, draw)
        return Work(key, (file, size), run, file.height * file.width)
