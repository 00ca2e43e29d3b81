"""Data set `Objects`: pictures with the numbers of objects in their class maps."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from pydantic import Field, model_validator
from scipy import ndimage
from typing_extensions import Self

from icm_core import InputError
from icm_core.interfaces import DataSet, DataSetParams, Sample
from icm_core.pictures import open_picture

_EVERY_NEIGHBOUR = np.ones((3, 3), dtype=int)


class Objects(DataSet):
    """``<root>/<split>/<name>.*`` with class maps ``<root>/<split>annot/<name>.png``, one byte a pixel."""

    name: ClassVar[str] = "count.objects"
    kind: ClassVar[str] = "regression"

    class Params(DataSetParams):
        """Which classes are counted; the defaults are for CamVid's 11 classes."""

        objects: tuple[str, ...] = Field(("car", "pedestrian", "bicyclist"), min_length=1, description="their names")
        classes: tuple[int, ...] = Field((8, 9, 10), min_length=1, description="their values in the class maps")
        smallest: int = Field(64, ge=1, description="smaller parts, in pixels, are no objects")

        @model_validator(mode="after")
        def _as_many(self) -> Self:
            if len(self.objects) != len(self.classes):
                raise ValueError(f"objects has {len(self.objects)} names for {len(self.classes)} classes")
            return self

    params: Params

    def __init__(self, params: Params, root: Path, split: str) -> None:
        super().__init__(params, root, split)
        pictures, maps = root / split, root / f"{split}annot"
        for folder in (pictures, maps):
            if not folder.is_dir():
                raise InputError(f"{folder}: no such folder; expected pictures in {pictures} and class maps in {maps}")
        self._pairs = [(path, maps / f"{path.stem}.png") for path in sorted(pictures.iterdir()) if path.is_file()]
        absent = [path for _, path in self._pairs if not path.is_file()]
        if absent or not self._pairs:
            raise InputError(f"{absent[0] if absent else pictures}: no class map for a picture, or no picture at all")

    @property
    def labels(self) -> tuple[str, ...]:
        """What is counted."""
        return self.params.objects

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self._pairs)

    def __getitem__(self, number: int) -> Sample:
        """A picture with its counts."""
        path, of_classes = self._pairs[number]
        pixels = np.array(open_picture(path), dtype=np.uint8)
        key = path.relative_to(self.root).with_suffix("").as_posix()
        return Sample(
            key, torch.from_numpy(pixels).permute(2, 0, 1).contiguous(), torch.tensor(self._counts(of_classes))
        )

    def _counts(self, path: Path) -> list[float]:
        try:
            with Image.open(path) as image:
                classes = np.array(image)
        except OSError as error:
            raise InputError(f"{path}: not a class map that can be read: {error}") from error
        if classes.ndim != 2:
            raise InputError(f"{path}: a class map has one byte a pixel, and this has {classes.shape[2:]} channels")
        counts = []
        for value in self.params.classes:
            parts, found = ndimage.label(classes == value, _EVERY_NEIGHBOUR)
            sizes = np.bincount(parts.ravel(), minlength=found + 1)[1:]
            counts.append(float((sizes >= self.params.smallest).sum()))
        return counts
