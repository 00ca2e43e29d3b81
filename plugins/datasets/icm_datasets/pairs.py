"""Data set `Pairs`: a folder of pictures, and one of class maps or maps of distances with the same names."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from icm_core.errors import InputError
from icm_core.interfaces import ComponentParams, DataSetParams
from icm_datasets import cityscapes
from icm_datasets.layout import PICTURES, entries, shown
from icm_datasets.paired import Pair, Paired, check_paired
from icm_datasets.patterns import SPLIT, Pattern, matching
from icm_datasets.reading import read_map_of, read_steps_of

MAPS = (".png", ".tif", ".tiff", ".bmp", ".webp")
"""Endings of maps: formats that keep values as they are."""

_OF = {"classes": ("classes", "ignore"), "depth": ("scale", "unit", "invalid")}
"""Parameters that are about one of the targets alone."""


class PairsParams(DataSetParams):
    """Parameters of `Pairs`."""

    targets: Literal["classes", "depth"] = Field(
        "classes", description="classes: a class for every pixel; depth: a distance for every pixel"
    )
    pictures: Pattern = Field(
        SPLIT,
        description="folder of the pictures in the data set's folder; {split} stands for the split, and '*' in the "
        "last part, such as '{split}/*_rgb', for what a picture's name has in common with its map's",
    )
    maps: Pattern = Field(description="folder of the maps, such as '{split}_labels' or 'maps/{split}/*_mask.png'")
    classes: Literal["cityscapes"] | tuple[str, ...] = Field(
        (), max_length=255, description="names of the classes in order; cityscapes: its 19; none: any value is a class"
    )
    ignore: int | None = Field(255, ge=0, le=255, description="value in class maps that counts nowhere; null: none")
    scale: float | None = Field(
        None,
        ge=1e-9,
        le=1e6,
        description="distance that one step of a map stands for, such as 0.001 where maps hold millimetres",
    )
    unit: str = Field("m", max_length=20, description="unit of the distances")
    invalid: int | None = Field(
        0,
        ge=0,
        le=65535,
        description="value in maps of distances where there is none; 0, which is no distance, never is",
    )

    @model_validator(mode="after")
    def _of_the_targets(self) -> PairsParams:
        if isinstance(self.classes, tuple) and len({*self.classes}) < len(self.classes):
            raise ValueError("classes should name each class once")
        for targets, fields in _OF.items():
            if targets != self.targets and (strange := sorted({*fields} & self.model_fields_set)):
                raise ValueError(f"{strange[0]} is for targets {targets!r}, and these are {self.targets!r}")
        if self.targets == "depth" and self.scale is None:
            raise ValueError("scale is needed for depth: the distance that one step stands for, such as 0.001")
        return self


class Pairs(Paired):
    """Pictures, and maps of the same size and with the same names: a class or a distance for every pixel.

    Class maps are files of one byte a pixel (PNG, grey or palette), maps of distances of one or two. Where there is no
    distance, the target has NaN. Keys are ``<split>/<path in the folder of pictures>`` without the ending.
    """

    name: ClassVar[str] = "datasets.pairs"

    class Params(PairsParams):
        """See `PairsParams`."""

    def __init__(self, params: ComponentParams, root: Path, split: str) -> None:
        self._laid = self.laid_out(params)
        super().__init__(params, root, split)

    def laid_out(self, params: ComponentParams) -> PairsParams:
        """Where the files are and what they mean."""
        assert isinstance(params, PairsParams)
        return params

    @property
    def kind(self) -> str:  # type: ignore[override]
        """``segmentation`` or ``depth``."""
        return "depth" if self._laid.targets == "depth" else "segmentation"

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, as far as the parameters tell them."""
        return cityscapes.CLASSES if self._laid.classes == "cityscapes" else self._laid.classes

    @property
    def ignore_index(self) -> int | None:
        """The class that counts nowhere; none among distances, where it is NaN."""
        return None if self._laid.targets == "depth" else self._laid.ignore

    @property
    def unit(self) -> str:
        """Unit of the distances."""
        return self._laid.unit if self._laid.targets == "depth" else ""

    def pairs(self) -> list[Pair]:
        """Pictures and maps of one name."""
        folder, pictures = matching(self._laid.pictures, self.root, self.split, PICTURES, self.name)
        annotations, maps = matching(self._laid.maps, self.root, self.split, MAPS, self.name)
        if not pictures:
            raise InputError(
                f"{self.name} found no pictures ({', '.join(PICTURES)}) that match {self._laid.pictures!r} in "
                f"{folder}, but {shown(entries(folder))}"
            )
        check_paired(pictures, maps, annotations, self.name)
        return [Pair(f"{self.split}/{name}", path, maps[name]) for name, path in sorted(pictures.items())]

    def target(self, pair: Pair, picture: Tensor) -> Tensor:
        """The class map (H, W) uint8, or the distances (H, W) float32, NaN where there is none."""
        how = self._laid
        if how.scale is None:
            return read_map_of(picture, pair.picture, pair.target, len(self.labels), how.ignore)
        steps = read_steps_of(picture, pair.picture, pair.target)
        none = steps == 0 if how.invalid is None else (steps == 0) | (steps == how.invalid)
        return torch.where(none, torch.nan, (steps.double() * how.scale).float())


class NYU(Pairs):
    """Rooms with distances, NYU-Depth v2 (Silberman et al., ECCV 2012) as pictures and maps of one byte a pixel.

    ``<split>/`` has the pictures, ``<split>_depth/`` the maps, whose 255 steps reach to 10 metres; 0 is none.
    """

    name: ClassVar[str] = "datasets.nyu"

    class Params(DataSetParams):
        """No parameters but the size."""

    def laid_out(self, params: ComponentParams) -> PairsParams:
        """The folders and the scale above."""
        del params
        return PairsParams.model_validate({"targets": "depth", "maps": f"{SPLIT}_depth", "scale": 10 / 255})
