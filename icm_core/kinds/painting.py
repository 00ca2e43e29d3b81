"""A label map as an overlay on its picture, with the colours that it uses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from icm_core.types import Prediction

OPACITY = 0.6


@dataclass(frozen=True)
class Swatch:
    """One class of a label map.

    Attributes:
        label: its name.
        share: of the picture's pixels, 0 to 1.
        colour: (red, green, blue), 0 to 255 each.
    """

    label: str
    share: float
    colour: tuple[int, int, int]


def overlay(picture: Image.Image, labels: Image.Image) -> Image.Image:
    """The label map laid over the picture."""
    return Image.blend(picture, labels.convert("RGB"), OPACITY)


def swatches(prediction: Prediction, drawn: Image.Image) -> list[Swatch]:
    """The classes of a label map by area, largest first; colours are read off the drawing."""
    indices = prediction.output[0].argmax(0).cpu().numpy()
    pixels = np.asarray(drawn.convert("RGB"))
    found = []
    for index, count in zip(*np.unique(indices, return_counts=True), strict=True):
        row, column = np.argwhere(indices == index)[0]
        red, green, blue = pixels[row, column].tolist()
        label = prediction.labels[index] if index < len(prediction.labels) else str(index)
        found.append(Swatch(label, float(count) / indices.size, (red, green, blue)))
    return sorted(found, key=lambda swatch: -swatch.share)
