"""Data set `Maps`: pictures with a distance for every pixel, from pictures of distances."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from icm_core import InputError
from icm_core.files import read_file
from icm_core.interfaces import DataSet, DataSetParams, Sample
from icm_core.pictures import open_picture, read_grey_map


class Maps(DataSet):
    """``<root>/<split>/<name>.*`` with distances ``<root>/<split>_depth/<name>.png``, 8 or 16 bits, 0 for none."""

    name: ClassVar[str] = "depth.maps"
    kind: ClassVar[str] = "depth"

    class Params(DataSetParams):
        """What the numbers mean; the default has 10 metres in 255 steps."""

        metres: float = Field(10 / 255, gt=0, description="metres that one step stands for")

    params: Params

    def __init__(self, params: Params, root: Path, split: str) -> None:
        super().__init__(params, root, split)
        pictures, maps = root / split, root / f"{split}_depth"
        for folder in (pictures, maps):
            if not folder.is_dir():
                raise InputError(f"{folder}: no such folder; expected pictures in {pictures} and distances in {maps}")
        self._pairs = [(path, maps / f"{path.stem}.png") for path in sorted(pictures.iterdir()) if path.is_file()]
        absent = [path for _, path in self._pairs if not path.is_file()]
        if absent or not self._pairs:
            raise InputError(f"{absent[0] if absent else pictures}: no distances for a picture, or no picture at all")

    @property
    def unit(self) -> str:
        """Metres."""
        return "m"

    @property
    def ignore_index(self) -> float:
        """0: a pixel without a distance."""
        return 0.0

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self._pairs)

    def __getitem__(self, number: int) -> Sample:
        """A picture with its distances, (H, W) float32 in metres."""
        path, of_distances = self._pairs[number]
        pixels = torch.from_numpy(np.array(open_picture(path), dtype=np.uint8)).permute(2, 0, 1).contiguous()
        metres = self.params.metres * read_grey_map(read_file(of_distances), str(of_distances)).float()
        if metres.shape != pixels.shape[1:]:
            raise InputError(
                f"{of_distances}: there are {metres.shape[1]}x{metres.shape[0]} distances, and the picture has "
                f"{pixels.shape[2]}x{pixels.shape[1]} pixels"
            )
        return Sample(path.relative_to(self.root).with_suffix("").as_posix(), pixels, metres)
