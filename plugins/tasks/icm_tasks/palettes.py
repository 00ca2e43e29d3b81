"""Class names and colours of the segmentation data sets that the framework knows, and colours for any other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

Colour = tuple[int, int, int]

CAMVID: dict[str, Colour] = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "column_pole": (192, 192, 128),
    "road": (128, 64, 128),
    "sidewalk": (0, 0, 192),
    "tree": (128, 128, 0),
    "sign_symbol": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
"""The 11 classes of CamVid that are scored, in training order, with their colours (R, G, B in 0...255)."""

CITYSCAPES: dict[str, Colour] = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}
"""The 19 training classes of Cityscapes, in training order, with their colours."""

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


def default_labels(classes: int) -> tuple[str, ...]:
    """Names of the known data set with that many classes, else ``class 0``, ``class 1``, ...

    >>> default_labels(11)[:3], default_labels(2)
    (('sky', 'building', 'column_pole'), ('class 0', 'class 1'))
    """
    for known in (CAMVID, CITYSCAPES):
        if len(known) == classes:
            return tuple(known)
    return tuple(f"class {index}" for index in range(classes))


def colours(labels: Sequence[str]) -> tuple[Colour, ...]:
    """One colour per class: the data set's own where the names are its names, else generated and all different."""
    for known in (CAMVID, CITYSCAPES):
        if tuple(labels) == tuple(known):
            return tuple(known.values())
    return tuple(_generated(index) for index in range(len(labels)))


def indexed_picture(classes: Tensor, labels: Sequence[str]) -> Image.Image:
    """A class map (H, W) with values in 0...254 as a palette ("P") picture, whose pixels are the class indices."""
    picture = Image.fromarray(classes.to("cpu", torch.uint8).numpy())
    picture.putpalette([channel for colour in colours(labels) for channel in colour])
    return picture


def _generated(index: int) -> Colour:
    """The seven base colours first, then by turns darker and lighter shades of them."""
    base = _OKABE_ITO[index % len(_OKABE_ITO)]
    turn = index // len(_OKABE_ITO)
    target = 255 if turn % 2 == 0 else 0
    weight = (turn + 1) // 2 / _SHADES
    red, green, blue = (round(channel + (target - channel) * weight) for channel in base)
    return red, green, blue
