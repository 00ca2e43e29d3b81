"""The job of coding pictures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from typing_extensions import NotRequired

from icm_core.bitstream.container import read
from icm_core.corpus.engine import device_at
from icm_core.corpus.work import Job, Place, attempt
from icm_core.errors import IcmError, out_of_memory
from icm_core.files import make_folder, write_atomically

if TYPE_CHECKING:
    from PIL import Image

    from icm_core.corpus.finished import Order
    from icm_core.pipeline.pipeline import Pipeline

_ORIENTATION = 0x0112
_LYING = (5, 6, 7, 8)  # of EXIF's orientations


class Encoded(TypedDict):
    """The JSON row of one picture.

    ``base_bytes`` is how much of the file the tasks need; ``seconds`` is the encoding alone, without reading the
    picture, shared evenly among pictures that are coded together. ``enhancement_quality`` stands where it is another
    than ``quality``. ``kept`` stands where an earlier run wrote the file and this one left it as it was.
    """

    file: str
    output: str
    height: int
    width: int
    quality: float
    enhancement_quality: NotRequired[float]
    bytes: int
    bpp: float
    base_bytes: int
    seconds: float
    kept: NotRequired[bool]


@dataclass(frozen=True)
class Picture:
    """A picture, and the file that it becomes."""

    source: Path
    target: Path

    def __str__(self) -> str:
        return str(self.source)


@dataclass(frozen=True)
class Encoding(Job[Picture, Encoded]):
    """How pictures are coded; see `Pipeline.encode`.

    Attributes:
        model, device, precision: as in `icm_core.load`.
        resume: if True, files that an earlier run with the same job wrote are kept.
    """

    model: str | None
    device: str
    precision: str
    quality: float
    enhancement: bool = True
    enhancement_quality: float | None = None
    control: bool = False
    encoder: str | None = None
    effort: int = 0
    search_for: tuple[str, ...] | None = None
    resume: bool = False

    def open(self, place: Place) -> _Lane:
        """Load the pipeline, and check with it what was asked for."""
        from icm_core.corpus.finished import Order
        from icm_core.pipeline.load import load
        from icm_core.pipeline.search import searched_tasks

        pipe = load(self.model, device=device_at(self.device, place.number), precision=self.precision)
        step = pipe.quality(self.quality)
        searched_tasks(pipe, self.effort, self.search_for)
        if self.encoder is not None:
            pipe.codec.with_encoder(self.encoder)
        finer = pipe.enhancement_step(step, self.enhancement_quality, enhancement=self.enhancement)
        order = Order.of(pipe, step, base_only=not self.enhancement, control=self.control, finer=finer)
        return _Lane(self, pipe, order)


def size_of(picture: Picture) -> tuple[int, int] | None:
    """Height and width of a picture as it will be coded, from its header; None where there is none to be read."""
    from PIL import Image

    try:
        with Image.open(picture.source) as image:
            lying = image.getexif().get(_ORIENTATION) in _LYING
            return (image.width, image.height) if lying else (image.height, image.width)
    except Exception:  # whatever Pillow meets in a damaged file; reading the picture will say it
        return None


class _Lane:
    def __init__(self, job: Encoding, pipe: Pipeline, order: Order) -> None:
        self._job, self._pipe, self._order = job, pipe, order
        self._how: dict[str, Any] = {
            "enhancement": job.enhancement,
            "enhancement_quality": job.enhancement_quality,
            "control": job.control,
            "encoder": job.encoder,
            "effort": job.effort,
            "search_for": job.search_for,
        }

    def __call__(self, pictures: Sequence[Picture]) -> list[Encoded | IcmError]:
        """A row for each picture, whose file is written."""
        together = self._together(pictures) if len(pictures) > 1 else {}
        return [together[one] if one in together else attempt(self._alone, one) for one in pictures]

    def _alone(self, picture: Picture) -> Encoded:
        if (kept := self._kept(picture)) is not None:
            return kept
        image = self._opened(picture)
        start = time.perf_counter()
        blob = self._pipe.encode(image, self._order.quality.value, **self._how)
        return self._written(picture, blob, time.perf_counter() - start)

    def _together(self, pictures: Sequence[Picture]) -> dict[Picture, Encoded | IcmError]:
        """The rows of those that can be coded together; what is left out goes alone, and says what is wrong."""
        rows: dict[Picture, Encoded | IcmError] = {}
        images: dict[Picture, Image.Image] = {}
        for one in pictures:
            if (kept := self._kept(one)) is not None:
                rows[one] = kept
            elif isinstance(found := attempt(self._opened, one), IcmError):
                rows[one] = found
            else:
                images[one] = found
        if len(images) < 2:
            return rows
        start = time.perf_counter()
        try:
            blobs = self._pipe.encode_batch(list(images.values()), self._order.quality.value, **self._how)
        except IcmError:
            return rows
        except (MemoryError, RuntimeError) as error:
            if out_of_memory(error):
                return rows
            raise
        seconds = (time.perf_counter() - start) / len(images)
        for one, blob in zip(images, blobs, strict=True):
            rows[one] = attempt(partial(self._written, blob=blob, seconds=seconds), one)
        return rows

    def _kept(self, picture: Picture) -> Encoded | None:
        if not self._job.resume or (size := size_of(picture)) is None:
            return None
        blob = self._order.finished(picture.source, size, picture.target)
        return None if blob is None else {**self._row(picture, blob, 0.0), "kept": True}

    @staticmethod
    def _opened(picture: Picture) -> Image.Image:
        from icm_core.pictures import open_picture

        return open_picture(picture.source)

    def _written(self, picture: Picture, blob: bytes, seconds: float) -> Encoded:
        make_folder(picture.target.parent)
        write_atomically(picture.target, blob)
        return self._row(picture, blob, seconds)

    def _row(self, picture: Picture, blob: bytes, seconds: float) -> Encoded:
        file = read(blob)
        row = Encoded(
            file=str(picture.source),
            output=str(picture.target),
            height=file.height,
            width=file.width,
            quality=file.quality.value,
            bytes=len(blob),
            bpp=8 * len(blob) / (file.height * file.width),
            base_bytes=file.base_bytes,
            seconds=round(seconds, 4),
        )
        if self._order.finer is not None:
            row["enhancement_quality"] = self._order.finer.value
        return row
