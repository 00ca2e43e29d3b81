"""Data set `Borders`: pictures with the edges of their roads, from class maps."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage
from torch import Tensor

from icm_core import InputError
from icm_core.files import read_file
from icm_core.interfaces import DataSet, DataSetParams, Sample
from icm_core.pictures import open_picture, read_class_map
from icm_lanes.geometry import joined


class Borders(DataSet):
    """``<root>/<split>/<name>.*`` with class maps ``<root>/<split>annot/<name>.png``, one byte a pixel.

    The road is the largest connected part of its class. In every few rows, its first and its last pixel are points of
    the left and of the right edge. There is none where the road reaches the picture's border, and none beside classes
    that stand in front of it. Where an edge has no point or leaps aside, it ends, and another line begins.
    """

    name: ClassVar[str] = "lanes.borders"
    kind: ClassVar[str] = "lanes.polylines"

    class Params(DataSetParams):
        """What the road is, and how its edges are followed; the defaults are for CamVid's 11 classes."""

        road: int = Field(3, ge=0, le=255, description="the road's value in the class maps")
        hiding: tuple[int, ...] = Field(
            (8, 9, 10), description="values of what stands in front of the road: cars, people"
        )
        step: int = Field(8, ge=1, description="pixels from row to row")
        leap: float = Field(0.1, gt=0, le=1, description="share of the width by which an edge may move from row to row")
        shortest: int = Field(3, ge=2, description="edges of fewer points are left out")

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
        """One class: mirrored, a left edge is a right one."""
        return ("road edge",)

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self._pairs)

    def __getitem__(self, number: int) -> Sample:
        """A picture with the edges of its road."""
        path, of_classes = self._pairs[number]
        pixels = torch.from_numpy(np.array(open_picture(path), dtype=np.uint8)).permute(2, 0, 1).contiguous()
        classes = read_class_map(read_file(of_classes), str(of_classes))
        if classes.shape != pixels.shape[1:]:
            raise InputError(
                f"{of_classes}: the class map is {classes.shape[1]}x{classes.shape[0]} pixels, "
                f"its picture {pixels.shape[2]}x{pixels.shape[1]}"
            )
        lines = self._edges(classes.numpy())
        points, numbers = joined(lines)
        target = {"points": points, "lines": numbers, "labels": torch.zeros(len(lines), dtype=torch.int64)}
        return Sample(path.relative_to(self.root).with_suffix("").as_posix(), pixels, target)

    def _edges(self, classes: NDArray[np.uint8]) -> list[Tensor]:
        """The left edges from the lowest row upwards, then the right ones."""
        road = largest(classes == self.params.road)
        height, width = road.shape
        left: list[tuple[float, float] | None] = []
        right: list[tuple[float, float] | None] = []
        for y in range(height - 1 - self.params.step // 2, -1, -self.params.step):
            columns = road[y].nonzero()[0]
            first, last = (int(columns[0]), int(columns[-1])) if len(columns) else (0, width - 1)
            left.append((first - 0.5, y) if first > 0 and self._seen(classes[y, first - 1]) else None)
            right.append((last + 0.5, y) if last < width - 1 and self._seen(classes[y, last + 1]) else None)
        return [line for edge in (left, right) for line in self._lines(edge, width)]

    def _seen(self, beside: np.uint8) -> bool:
        return int(beside) not in self.params.hiding

    def _lines(self, edge: list[tuple[float, float] | None], width: int) -> list[Tensor]:
        """An edge cut where it has no point or leaps aside."""
        parts: list[list[tuple[float, float]]] = [[]]
        for point in edge:
            if point is None or (parts[-1] and abs(point[0] - parts[-1][-1][0]) > self.params.leap * width):
                parts.append([])
            if point is not None:
                parts[-1].append(point)
        return [torch.tensor(part) for part in parts if len(part) >= self.params.shortest]


def largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest connected part of a mask, the first of several."""
    parts, count = ndimage.label(mask)
    if not count:
        return mask
    found: NDArray[np.bool_] = parts == 1 + int(np.bincount(parts.ravel())[1:].argmax())
    return found
