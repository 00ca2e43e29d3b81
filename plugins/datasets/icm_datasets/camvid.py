"""Data set `CamVid`: road scenes with 11 classes (Brostow et al., 2009), as SegNet's authors arranged them."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from icm_datasets.layout import PICTURES, files_in, no_pictures, require_folder
from icm_datasets.paired import Pair, Paired, by_stem, check_paired
from icm_datasets.reading import read_map_of

CLASSES = (
    "sky",
    "building",
    "column_pole",
    "road",
    "sidewalk",
    "tree",
    "sign_symbol",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
IGNORE = 11


class CamVid(Paired):
    """Road scenes: ``<split>/`` with pictures, ``<split>annot/`` with class maps (PNG) of the same names.

    Class maps hold 0...10, and 11 for what counts nowhere. Keys are ``<split>/<name>``.
    """

    name: ClassVar[str] = "datasets.camvid"

    @property
    def labels(self) -> tuple[str, ...]:
        """The 11 classes."""
        return CLASSES

    @property
    def ignore_index(self) -> int:
        """11, which the annotations call void."""
        return IGNORE

    def pairs(self) -> list[Pair]:
        """Pictures and class maps of one name."""
        folder = require_folder(self.root / self.split, self.name)
        annotations = require_folder(self.root / f"{self.split}annot", self.name)
        pictures = by_stem(folder, files_in(folder, PICTURES))
        if not pictures:
            raise no_pictures(folder, self.name)
        maps = by_stem(annotations, files_in(annotations, [".png"]))
        check_paired(pictures, maps, annotations, self.name)
        return [Pair(f"{self.split}/{stem}", path, maps[stem]) for stem, path in sorted(pictures.items())]

    def target(self, pair: Pair, picture: Tensor) -> Tensor:
        """The class map, as it is in the file."""
        return read_map_of(picture, pair.picture, pair.target, len(CLASSES), IGNORE)
