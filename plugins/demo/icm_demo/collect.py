"""Photographs through a pipeline: real bytes out, everything decoded from those bytes, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from icm_core.bitstream.container import read
from icm_core.files import read_file, write_atomically
from icm_core.jpeg import Jpeg, jpeg_within, psnr
from icm_core.kinds.painting import Swatch, overlay, swatches
from icm_core.pictures import open_picture, to_picture
from icm_core.pipeline.pipeline import Pipeline
from icm_core.results import NamedValue, TopClass, named_values, top_classes

QUALITIES = (1.0, 2.0, 3.0, 4.0)


@dataclass(frozen=True)
class Step:
    """One picture at one quality.

    Attributes:
        quality: what it was encoded with.
        file: the written ``.icm`` file.
        bytes: its size.
        base_bytes: its size up to the end of the base layer, which is all that the tasks need.
        bpp: bits per pixel of the whole file.
        base_bpp: bits per pixel up to the end of the base layer.
        classes: the five most probable classes of each classification task.
        values: the named values of each regression task.
        labels: the classes of each segmentation task's label map, by area.
        psnr: in dB of each decoded picture against the original, by task; ``fine`` is the enhanced one.
        jpeg: JPEG within the whole file's bytes, None where it cannot be that small.
        pictures: what each task shows: overlays of label maps, decoded pictures.
        encode_seconds: picture in memory -> bytes.
        decode_seconds: bytes -> every task's prediction, and the fine picture.
    """

    quality: float
    file: Path
    bytes: int
    base_bytes: int
    bpp: float
    base_bpp: float
    classes: Mapping[str, list[TopClass]]
    values: Mapping[str, list[NamedValue]]
    labels: Mapping[str, list[Swatch]]
    psnr: Mapping[str, float]
    jpeg: Jpeg | None
    pictures: Mapping[str, Image.Image]
    encode_seconds: float
    decode_seconds: float


@dataclass(frozen=True)
class Sample:
    """One photograph at several qualities."""

    path: Path
    picture: Image.Image
    steps: Sequence[Step]

    @property
    def name(self) -> str:
        """The file's name without suffix."""
        return self.path.stem

    @property
    def middle(self) -> Step:
        """The step that stands for all where there is room for one."""
        return self.steps[len(self.steps) // 2]


@dataclass(frozen=True)
class Demo:
    """Everything that a table, a sheet or a page shows.

    Attributes:
        pipeline: the pipeline's name.
        device: where it ran, for example ``"cpu, 2 threads"``.
        precision: arithmetic of the float networks.
        samples: the photographs.
    """

    pipeline: str
    device: str
    precision: str
    samples: Sequence[Sample]


def qualities_of(pipe: Pipeline) -> list[float]:
    """1, 2, 3 and 4, as far as the pipeline has them."""
    low, high = pipe.codec.quality_range
    return [quality for quality in QUALITIES if low <= quality <= high] or [low]


def warm_up(pipe: Pipeline) -> None:
    """Encode and decode once, so that the first measured time holds no one-time work."""
    pipe.decode(pipe.encode(Image.new("RGB", (64, 64), "grey"), quality=qualities_of(pipe)[0]))


def collect(pipe: Pipeline, path: Path, folder: Path) -> Sample:
    """Encode a photograph to ``<stem>.q<quality>.icm`` files in a folder and decode it from them.

    Raises:
        InputError: the photograph cannot be read, or the folder not written.
    """
    picture = open_picture(path)
    return Sample(path, picture, [_step(pipe, path, picture, quality, folder) for quality in qualities_of(pipe)])


def _step(pipe: Pipeline, path: Path, picture: Image.Image, quality: float, folder: Path) -> Step:
    file = folder / f"{path.stem}.q{quality:g}.icm"
    start = time.perf_counter()
    blob = pipe.encode(picture, quality=quality)
    encoded = time.perf_counter()
    write_atomically(file, blob)
    blob = read_file(file)
    restart = time.perf_counter()
    decoded = pipe.decode(blob)
    finished = time.perf_counter()

    classes: dict[str, list[TopClass]] = {}
    values: dict[str, list[NamedValue]] = {}
    labels: dict[str, list[Swatch]] = {}
    distances: dict[str, float] = {}
    pictures: dict[str, Image.Image] = {}
    for name, prediction in decoded.items():
        if prediction.kind == "classification":
            classes[name] = top_classes(prediction)
        elif prediction.kind == "regression":
            values[name] = named_values(prediction)
        elif prediction.kind == "reconstruction":
            pictures[name] = to_picture(prediction.output)
            distances[name] = psnr(picture, pictures[name])
        elif (drawn := pipe.task(name).head.draw(prediction)) is not None:
            labels[name] = swatches(prediction, drawn)
            pictures[name] = overlay(picture, drawn)
    pixels = picture.width * picture.height
    base_bytes = read(blob).base_bytes
    return Step(
        quality=quality,
        file=file,
        bytes=len(blob),
        base_bytes=base_bytes,
        bpp=8 * len(blob) / pixels,
        base_bpp=8 * base_bytes / pixels,
        classes=classes,
        values=values,
        labels=labels,
        psnr=distances,
        jpeg=jpeg_within(picture, len(blob)),
        pictures=pictures,
        encode_seconds=encoded - start,
        decode_seconds=finished - restart,
    )
