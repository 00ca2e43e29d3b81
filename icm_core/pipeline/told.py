"""What is said of a decoded file, in numbers, in words and as pictures: for `icm decode`, services and pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PIL import Image
from pydantic import JsonValue

from icm_core.pipeline.decoded import Decoded
from icm_core.pipeline.pipeline import Pipeline


@dataclass(frozen=True)
class Told:
    """One task's answer, as its kind tells it.

    Attributes:
        row: its ``kind``, what the kind answers with, such as ``top`` (classes) or ``boxes``, and a line of ``text``.
        picture: the answer where it is a picture by itself: a decoded picture, a label map with its palette.
        drawing: the answer drawn on the decoded picture.
    """

    row: dict[str, JsonValue]
    picture: Image.Image | None
    drawing: Image.Image | None


def told(pipe: Pipeline, decoded: Decoded, *, draw: bool = False, pictures: bool = True) -> dict[str, Told]:
    """What each task says of one file.

    Args:
        pipe: the pipeline that decoded it.
        decoded: what it decoded.
        draw: if True, every answer is drawn on the decoded picture; otherwise those that are no picture by themselves
            and no words either, such as boxes.
        pictures: if False, there are none: numbers and words alone.
    """
    return dict(telling(pipe, decoded, draw=draw, pictures=pictures))


def telling(
    pipe: Pipeline, decoded: Decoded, *, draw: bool = False, pictures: bool = True
) -> Iterator[tuple[str, Told]]:
    """As `told`, one task after the other: pictures of a large file need not all be there at once."""
    ground: Image.Image | None = None

    def canvas() -> Image.Image:
        nonlocal ground
        ground = ground or pipe.canvas(decoded)
        return ground

    for name in decoded:
        yield name, _told(pipe, decoded, name, draw, canvas if pictures else None)


def _told(pipe: Pipeline, decoded: Decoded, name: str, draw: bool, canvas: Callable[[], Image.Image] | None) -> Told:
    kind, prediction = pipe.kind(name), decoded[name]
    row = {"kind": prediction.kind, **kind.answer(prediction), "text": kind.describe(prediction)}
    if canvas is None:
        return Told(row, None, None)
    picture = kind.raster(prediction)
    drawn = not kind.is_picture and (draw or (picture is None and not kind.in_words))
    return Told(row, picture, kind.draw(prediction, canvas()) if drawn else None)
