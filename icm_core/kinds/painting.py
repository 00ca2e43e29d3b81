"""Drawing answers on pictures: colours of classes, overlays, captions, legends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from icm_core.types import Colour, Legend

OPACITY = 0.6

# Okabe & Ito's set, which people with any colour vision tell apart, without its black.
_OKABE_ITO: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
_SHADES = 20
_ROWS_AT_ONCE = 1024
_PAPER, _INK = (255, 255, 255), (25, 28, 33)


@dataclass(frozen=True)
class Swatch:
    """One class of a class map.

    Attributes:
        label: its name.
        index: its number.
        share: of the picture's pixels, 0 to 1.
        colour: what it is drawn in.
    """

    label: str
    index: int
    share: float
    colour: Colour


def colour_of(index: int, legend: Legend) -> Colour:
    """The colour of a class or thing: the legend's own, else a made-up one; different for neighbouring numbers."""
    if 0 <= index < len(legend.colours):
        return legend.colours[index]
    base = _OKABE_ITO[index % len(_OKABE_ITO)]
    turn = index // len(_OKABE_ITO)
    # The seven base colours first, then by turns darker and lighter shades of them.
    target = 255 if turn % 2 == 0 else 0
    weight = min(1.0, (turn + 1) // 2 / _SHADES)
    red, green, blue = (round(channel + (target - channel) * weight) for channel in base)
    return red, green, blue


def indexed_picture(classes: Tensor, legend: Legend) -> Image.Image:
    """A class map (H, W) with values in 0...255 as a palette ("P") picture, whose pixels are the class numbers."""
    picture = Image.fromarray(classes.to("cpu", torch.uint8).numpy())
    count = min(256, max(len(legend.labels), int(classes.max()) + 1 if classes.numel() else 1))
    picture.putpalette([channel for index in range(count) for channel in colour_of(index, legend)])
    return picture


def overlay(picture: Image.Image, drawn: Image.Image, opacity: float = OPACITY) -> Image.Image:
    """A picture with another one of its size laid over it."""
    return Image.blend(picture.convert("RGB"), drawn.convert("RGB"), opacity)


def swatches(classes: Tensor, legend: Legend) -> list[Swatch]:
    """The classes of a class map (H, W) by area, largest first."""
    total = torch.zeros(0, dtype=torch.int64)
    for strip in torch.split(classes.cpu(), _ROWS_AT_ONCE):
        counts = torch.bincount(strip.flatten().long(), minlength=len(total))
        counts[: len(total)] += total
        total = counts
    found = [
        Swatch(legend.label(index), index, count / classes.numel(), colour_of(index, legend))
        for index, count in enumerate(total.tolist())
        if count
    ]
    return sorted(found, key=lambda swatch: -swatch.share)


def text_size(picture: Image.Image) -> int:
    """Height in pixels of text that can be read on a picture of this size."""
    return max(11, min(32, round(min(picture.size) / 24)))


def captioned(picture: Image.Image, lines: Sequence[str]) -> Image.Image:
    """The picture with lines of text in its upper left corner, on a ground that keeps them readable."""
    drawn = picture.convert("RGB").copy()
    size = text_size(drawn)
    top = size // 3
    for line in lines:
        label(drawn, (size // 3, top), line, _INK, size)
        top += round(size * 1.5)
    return drawn


def label(picture: Image.Image, place: tuple[float, float], text: str, colour: Colour, size: int = 0) -> None:
    """Write a label on a picture, in place, kept inside of it: text on a box of a colour.

    Args:
        picture: RGB.
        place: left upper corner (x, y) of the box in pixels.
        text: one line.
        colour: of the box; the text is black or white, whichever reads better.
        size: height of the text; 0 for what suits the picture.
    """
    draw, size = ImageDraw.Draw(picture), size or text_size(picture)
    font = ImageFont.load_default(size)
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    width, height = right - left + size // 2, bottom - top + size // 2
    x = max(0.0, min(place[0], picture.width - width))
    y = max(0.0, min(place[1], picture.height - height))
    draw.rectangle((x, y, x + width, y + height), fill=colour)
    bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
    draw.text((x + size // 4 - left, y + size // 4 - top), text, fill=_INK if bright else _PAPER, font=font)


def with_legend(picture: Image.Image, found: Sequence[Swatch]) -> Image.Image:
    """The picture with a strip below that names the colours of its largest classes, as far as there is room."""
    size = text_size(picture)
    font = ImageFont.load_default(size)
    strip = round(1.8 * size)
    drawn = Image.new("RGB", (picture.width, picture.height + strip), _PAPER)
    drawn.paste(picture, (0, 0))
    draw = ImageDraw.Draw(drawn)
    left, top = size // 3, picture.height + round(0.4 * size)
    for swatch in found:
        text = f"{swatch.label} {swatch.share:.0%}"
        width = round(1.4 * size + draw.textlength(text, font))
        if left + width > picture.width or swatch.share < 0.01:
            break
        draw.rectangle((left, top, left + size, top + size), fill=swatch.colour)
        draw.text((left + 1.3 * size, top + size / 2), text, fill=_INK, font=font, anchor="lm")
        left += width + size // 2
    return drawn
