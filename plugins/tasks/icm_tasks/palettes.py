"""Class names and colours of the segmentation data sets that the framework knows."""

from __future__ import annotations

from collections.abc import Sequence

from icm_core.types import Colour

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


def default_labels(classes: int) -> tuple[str, ...]:
    """Names of the known data set with that many classes, else ``class 0``, ``class 1``, ...

    >>> default_labels(11)[:3], default_labels(2)
    (('sky', 'building', 'column_pole'), ('class 0', 'class 1'))
    """
    for known in (CAMVID, CITYSCAPES):
        if len(known) == classes:
            return tuple(known)
    return tuple(f"class {index}" for index in range(classes))


def known_colours(labels: Sequence[str]) -> tuple[Colour, ...]:
    """The colours of the known data set whose classes these are; none where no known one has these names."""
    for known in (CAMVID, CITYSCAPES):
        if tuple(labels) == tuple(known):
            return tuple(known.values())
    return ()
