"""Drawing things on pictures: boxes, masks and points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from icm_core.kinds import label, text_size
from icm_core.types import Colour

_OPACITY = 0.5
_CROWDED, _SMALLEST = 12, 9


def line_width(picture: Image.Image) -> int:
    """Width in pixels of lines that can be seen on a picture of this size."""
    return max(2, round(min(picture.size) / 160))


def with_boxes(
    picture: Image.Image, boxes: Sequence[Sequence[float]], captions: Sequence[str], colours: Sequence[Colour]
) -> Image.Image:
    """The picture with boxes and their captions, the first ones on top.

    Captions do not cover each other: one for which there is no place at its box is left out.

    Args:
        picture: RGB.
        boxes: left, top, right, bottom in pixels.
        captions: a line for each.
        colours: of lines and captions.
    """
    drawn = picture.convert("RGB").copy()
    draw, width = ImageDraw.Draw(drawn), line_width(drawn)
    rows = [*zip(boxes, captions, colours, strict=True)]
    for (x0, y0, x1, y1), _, colour in reversed(rows):
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=width)
    size = text_size(drawn) if len(rows) <= _CROWDED else max(_SMALLEST, round(0.7 * text_size(drawn)))
    font = ImageFont.load_default(size)
    taken: list[tuple[float, float, float, float]] = []
    for (x0, y0, x1, y1), caption, colour in rows:
        wide, high = draw.textlength(caption, font) + size // 2, 1.5 * size
        above, inside = y0 - high, y1 - high
        for left, top in ((x0, above), (x0, y0), (x1 - wide, above), (x0, y1), (x0, inside), (x1 - wide, y1)):
            x, y = max(0, min(left, drawn.width - wide)), max(0, min(top, drawn.height - high))
            if not any(x < right and a < x + wide and y < bottom and b < y + high for a, b, right, bottom in taken):
                taken.append((x, y, x + wide, y + high))
                label(drawn, (x, y), caption, colour, size)
                break
    return drawn


def with_masks(picture: Image.Image, masks: NDArray[np.bool_], colours: Sequence[Colour]) -> Image.Image:
    """The picture with masks (N, H, W) laid over it and their borders drawn, the first ones on top."""
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32).copy()
    for mask, colour in [*zip(masks, colours, strict=True)][::-1]:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not rows.size:
            continue
        part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        tint = np.array(colour, dtype=np.float32)
        shares = (_OPACITY * mask[part] + (1 - _OPACITY) * _border(mask[part]))[..., None]
        pixels[part] += shares * (tint - pixels[part])
    return Image.fromarray(pixels.round().astype(np.uint8))


def _border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of a mask that have a neighbour outside of it, or lie at its edge."""
    inner = np.pad(mask, 1)
    inside = inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    border: NDArray[np.bool_] = mask & ~inside
    return border


def with_points(
    picture: Image.Image, things: Sequence[Sequence[tuple[float, float]]], colours: Sequence[Colour]
) -> Image.Image:
    """The picture with the points of some things as dots, each thing in its colour.

    Args:
        picture: RGB.
        things: the points x, y in pixels of each.
        colours: one for each.
    """
    drawn = picture.convert("RGB").copy()
    draw, radius = ImageDraw.Draw(drawn), 1.5 * line_width(drawn)
    for points, colour in [*zip(things, colours, strict=True)][::-1]:
        for x, y in points:
            draw.ellipse(
                (x - radius, y - radius, x + radius, y + radius),
                fill=colour,
                outline=(255, 255, 255),
                width=max(1, round(radius / 3)),
            )
    return drawn
