"""Data set `Parts`: pictures with boxes around the connected parts of their class maps."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy import ndimage
from torch import Tensor
from typing_extensions import Self

from icm_core import InputError
from icm_core.files import read_file
from icm_core.interfaces import DataSet, DataSetParams, Sample
from icm_core.pictures import open_picture, read_class_map

_EVERY_NEIGHBOUR = np.ones((3, 3), dtype=int)


class Parts(DataSet):
    """``<root>/<split>/<name>.*`` with class maps ``<root>/<split>annot/<name>.png``, one byte a pixel.

    A box is around all pixels of a connected part: two cars that overlap in the picture have one box together, and a
    car behind a post has two.
    """

    name: ClassVar[str] = "boxes.parts"
    kind: ClassVar[str] = "detection"

    class Params(DataSetParams):
        """Which classes get boxes; the defaults are for CamVid's 11 classes."""

        objects: tuple[str, ...] = Field(("car", "pedestrian", "bicyclist"), min_length=1, description="their names")
        classes: tuple[int, ...] = Field((8, 9, 10), min_length=1, description="their values in the class maps")
        smallest: int = Field(64, ge=1, description="smaller parts, in pixels, get none")

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
        """What gets boxes."""
        return self.params.objects

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self._pairs)

    def __getitem__(self, number: int) -> Sample:
        """A picture with its boxes."""
        path, of_classes = self._pairs[number]
        pixels = torch.from_numpy(np.array(open_picture(path), dtype=np.uint8)).permute(2, 0, 1).contiguous()
        classes = read_class_map(read_file(of_classes), str(of_classes))
        if classes.shape != pixels.shape[1:]:
            raise InputError(
                f"{of_classes}: the class map is {classes.shape[1]}x{classes.shape[0]} pixels, "
                f"its picture {pixels.shape[2]}x{pixels.shape[1]}"
            )
        key = path.relative_to(self.root).with_suffix("").as_posix()
        return Sample(key, pixels, self._things(classes.numpy()))

    def _things(self, classes: NDArray[np.uint8]) -> dict[str, Tensor]:
        """Boxes (N, 4) float32, left, top, right and bottom, and labels (N,) int64."""
        boxes, labels = [], []
        for label, value in enumerate(self.params.classes):
            parts, count = ndimage.label(classes == value, _EVERY_NEIGHBOUR)
            sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
            for size, (rows, columns) in zip(sizes, ndimage.find_objects(parts), strict=True):
                if size >= self.params.smallest:
                    boxes.append([columns.start, rows.start, columns.stop, rows.stop])
                    labels.append(label)
        return {
            "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            "labels": torch.tensor(labels, dtype=torch.int64),
        }
