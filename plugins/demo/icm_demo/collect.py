"""Photographs through a pipeline: real bytes out, everything decoded from those bytes, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from pydantic import JsonValue

from icm_core.bitstream.container import read
from icm_core.files import read_file, write_atomically
from icm_core.jpeg import Jpeg, jpeg_within, psnr
from icm_core.pictures import open_picture, to_picture, to_rgb
from icm_core.pipeline.pipeline import Pipeline
from icm_core.spec.model import TrainedOn
from icm_core.types import Prediction
from icm_demo.asked import asked_of
from icm_demo.samples import Given

QUALITIES = (1.0, 2.0, 3.0, 4.0)


@dataclass(frozen=True)
class Answer:
    """What one task says of one file. Everything but the bytes comes from the kind of its answers.

    Attributes:
        kind: the kind's name.
        bytes: what a decoder reads for it: the file up to the end of its base layer, or for ``fine`` and tasks that
            read it the whole file.
        bpp: the same in bits per pixel.
        said: the answer as JSON.
        text: the answer in a line; empty where the picture says it.
        picture: the answer as a person would look at it: drawn on the photograph, or the decoded picture. None where
            `text` says as much.
        psnr: of a decoded picture, in dB against the original, infinite if they are equal; None of other answers.
    """

    kind: str
    bytes: int
    bpp: float
    said: Mapping[str, JsonValue]
    text: str
    picture: Image.Image | None
    psnr: float | None


@dataclass(frozen=True)
class Step:
    """One picture at one quality.

    Attributes:
        quality: what it was encoded with.
        file: the written ``.icm`` file.
        bytes: its size.
        base_bytes: its size up to the end of the base layer, which is all that most tasks need.
        bpp: bits per pixel of the whole file.
        base_bpp: bits per pixel up to the end of the base layer.
        answers: what each task says, by name; ``fine`` is the enhanced picture.
        jpeg: JPEG within the whole file's bytes, None where it cannot be that small.
        encode_seconds: picture in memory -> bytes.
        decode_seconds: bytes -> the predictions of all tasks that are asked, and the fine picture.
    """

    quality: float
    file: Path
    bytes: int
    base_bytes: int
    bpp: float
    base_bpp: float
    answers: Mapping[str, Answer]
    jpeg: Jpeg | None
    encode_seconds: float
    decode_seconds: float

    @property
    def psnr(self) -> dict[str, float]:
        """PSNR in dB by task, of those that decode to a picture."""
        return {name: answer.psnr for name, answer in self.answers.items() if answer.psnr is not None}

    @property
    def texts(self) -> dict[str, str]:
        """What is said in words, by task, of those that say something."""
        return {name: answer.text for name, answer in self.answers.items() if answer.text}

    @property
    def pictures(self) -> dict[str, Image.Image]:
        """What can be looked at, by task."""
        return {name: answer.picture for name, answer in self.answers.items() if answer.picture is not None}


@dataclass(frozen=True)
class Sample:
    """One photograph at several qualities.

    Attributes:
        path: its file.
        picture: RGB.
        steps: one a quality.
        left: the tasks that were not asked, and what they were trained on.
    """

    path: Path
    picture: Image.Image
    steps: Sequence[Step]
    left: Mapping[str, TrainedOn] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file's name without suffix."""
        return self.path.stem

    @property
    def middle(self) -> Step:
        """The step that stands for all where there is room for one."""
        return self.steps[len(self.steps) // 2]

    @property
    def speaking(self) -> list[str]:
        """The tasks that say something in words at some quality."""
        return list(dict.fromkeys(name for step in self.steps for name in step.texts))


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

    @property
    def layered(self) -> bool:
        """Whether the files have an enhancement layer behind their base layer."""
        return any(step.base_bytes < step.bytes for sample in self.samples for step in sample.steps)


def qualities_of(pipe: Pipeline) -> list[float]:
    """1, 2, 3 and 4, as far as the pipeline has them."""
    low, high = pipe.codec.quality_range
    return [quality for quality in QUALITIES if low <= quality <= high] or [low]


def warm_up(pipe: Pipeline) -> None:
    """Encode and decode once, so that the first measured time holds no one-time work."""
    pipe.decode(pipe.encode(Image.new("RGB", (64, 64), "grey"), quality=qualities_of(pipe)[0]))


def collect(pipe: Pipeline, given: Given, folder: Path) -> Sample:
    """Encode a photograph to ``<stem>.q<quality>.icm`` files in a folder and decode it from them.

    Tasks that were trained on pictures of other things are not asked.

    Raises:
        InputError: the photograph cannot be read, or the folder not written.
    """
    picture = open_picture(given.path)
    asked = asked_of(pipe, given.shows)

    def step(quality: float) -> Step:
        return _step(pipe, picture, quality, folder / f"{given.path.stem}.q{quality:g}.icm", asked.tasks)

    return Sample(given.path, picture, [step(quality) for quality in qualities_of(pipe)], asked.left)


def _step(pipe: Pipeline, picture: Image.Image, quality: float, file: Path, tasks: Sequence[str]) -> Step:
    start = time.perf_counter()
    blob = pipe.encode(picture, quality=quality)
    encoded = time.perf_counter()
    write_atomically(file, blob)
    blob = read_file(file)
    restart = time.perf_counter()
    decoded = pipe.decode(blob, tasks)
    finished = time.perf_counter()

    pixels = picture.width * picture.height
    base_bytes = read(blob).base_bytes
    return Step(
        quality=quality,
        file=file,
        bytes=len(blob),
        base_bytes=base_bytes,
        bpp=8 * len(blob) / pixels,
        base_bpp=8 * base_bytes / pixels,
        answers={
            name: _answer(pipe, name, prediction, picture, len(blob) if pipe.reads_fine(name) else base_bytes)
            for name, prediction in decoded.items()
        },
        jpeg=jpeg_within(picture, len(blob)),
        encode_seconds=encoded - start,
        decode_seconds=finished - restart,
    )


def _answer(pipe: Pipeline, name: str, prediction: Prediction, picture: Image.Image, needed: int) -> Answer:
    kind = pipe.kind(name)
    shown, distance = None, None
    if kind.is_picture:
        shown = to_picture(prediction.output)
        distance = psnr(picture, shown)
    elif not kind.in_words and (drawn := kind.draw(prediction, picture)) is not None:
        shown = to_rgb(drawn)
    return Answer(
        kind=prediction.kind,
        bytes=needed,
        bpp=8 * needed / (picture.width * picture.height),
        said=kind.answer(prediction),
        text=kind.describe(prediction),
        picture=shown,
        psnr=distance,
    )
