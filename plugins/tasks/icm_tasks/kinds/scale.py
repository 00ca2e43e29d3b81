"""Colours of a scale of distances; equal ratios are equal steps, so that what is near is not all of one colour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from icm_core.kinds import text_size

# Every sixteenth of matplotlib's "viridis" (CC0), in which equal steps look equal, in grey and to the colour-blind too.
_ANCHORS = np.array(
    [
        (68, 1, 84),
        (72, 24, 106),
        (71, 45, 123),
        (66, 64, 134),
        (59, 82, 139),
        (51, 99, 141),
        (44, 114, 142),
        (38, 130, 142),
        (33, 145, 140),
        (31, 160, 136),
        (40, 174, 128),
        (63, 188, 115),
        (94, 201, 98),
        (132, 212, 75),
        (173, 220, 48),
        (216, 226, 25),
        (253, 231, 37),
    ],
    dtype=np.float64,
)
_OPACITY = 0.75
_PAPER, _INK = (255, 255, 255), (25, 28, 33)


def colours(shares: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colours (..., 3) of shares of the scale; 0 is yellow and bright, which eyes take for near, 1 dark and violet."""
    places = np.linspace(0, 1, len(_ANCHORS))
    channels = [np.interp(1 - shares, places, _ANCHORS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def coloured(
    values: NDArray[np.float32], known: NDArray[np.bool_], limits: tuple[float, float], picture: Image.Image
) -> Image.Image:
    """A picture in grey under the colours of distances.

    Args:
        values: (H, W).
        known: where there is a distance, which is above 0; elsewhere the picture's grey stays.
        limits: distances of the ends of the scale; those beyond have the colour of the end.
        picture: of that size.
    """
    grey = np.asarray(picture.convert("L").convert("RGB"), dtype=np.float64)
    low, high = limits
    shares = np.clip(np.log(np.where(known, values, low) / low) / max(np.log(high / low), 1e-12), 0, 1)
    mixed = _OPACITY * colours(shares) + (1 - _OPACITY) * grey
    return Image.fromarray(np.where(known[..., None], mixed, grey).round().astype(np.uint8))


def with_scale(picture: Image.Image, limits: tuple[float, float], unit: str) -> Image.Image:
    """The picture with a strip below: the scale from its nearest to its farthest distance, and what is half way."""
    size = text_size(picture)
    font = ImageFont.load_default(size)
    bar, margin = size, size // 2
    strip = bar + round(1.5 * size) + margin
    drawn = Image.new("RGB", (picture.width, picture.height + strip), _PAPER)
    drawn.paste(picture, (0, 0))
    width = max(1, picture.width - 2 * margin)
    ramp = colours(np.broadcast_to(np.linspace(0, 1, width), (bar, width)))
    top = picture.height + margin
    drawn.paste(Image.fromarray(ramp), (margin, top))
    draw = ImageDraw.Draw(drawn)
    low, high = limits
    for value, left, anchor in (
        (low, margin, "la"),
        ((low * high) ** 0.5, picture.width / 2, "ma"),
        (high, picture.width - margin, "ra"),
    ):
        text = f"{value:.3g}{f' {unit}' if unit else ''}"
        draw.text((left, top + bar + size // 6), text, fill=_INK, font=font, anchor=anchor)
    return drawn
