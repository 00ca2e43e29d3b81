"""Data set `Cityscapes`: street scenes with 19 classes (Cordts et al., CVPR 2016), in their official layout."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torchvision import datasets as tv_datasets
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tvf

from icm_core.errors import InputError
from icm_core.interfaces import ComponentParams
from icm_datasets.layout import entries, files_in, folders_in, require_folder, shown
from icm_datasets.paired import Pair, Paired, check_paired

IGNORE = 255
_PICTURE, _MAP = "_leftImg8bit.png", "_gtFine_labelIds.png"

_TRAINED = sorted((found.train_id, found.name) for found in tv_datasets.Cityscapes.classes if 0 <= found.train_id < 255)
CLASSES = tuple(name for _, name in _TRAINED)
"""The 19 classes in the order of their trainIds."""

_KNOWN = max(found.id for found in tv_datasets.Cityscapes.classes)


def _train_ids() -> Tensor:
    """trainId of each labelId, (256,) uint8."""
    table = torch.full((256,), IGNORE, dtype=torch.uint8)
    for found in tv_datasets.Cityscapes.classes:
        if found.id >= 0 and found.train_id != IGNORE:
            table[found.id] = found.train_id
    return table


class CityscapesParams(ComponentParams):
    """Parameters of `Cityscapes`."""

    size: Literal["1024x2048", "512x1024", "256x512"] = Field(
        "1024x2048", description="height x width in pixels of pictures and class maps; larger files are scaled down"
    )


class Cityscapes(Paired):
    """Street scenes, in the official layout.

    ::

        leftImg8bit/<split>/<city>/<scene>_leftImg8bit.png
        gtFine/<split>/<city>/<scene>_gtFine_labelIds.png

    Class maps hold the 19 trainIds, and 255 for what counts nowhere. Pictures are scaled bilinearly with
    antialiasing; of class maps, the pixel nearest to the centre of each new one is taken. Keys are
    ``<split>/<city>/<scene>``.
    """

    name: ClassVar[str] = "datasets.cityscapes"

    class Params(CityscapesParams):
        """See `CityscapesParams`."""

    params: CityscapesParams

    def __init__(self, params: CityscapesParams, root: Path, split: str) -> None:
        super().__init__(params, root, split)
        height, width = params.size.split("x")
        self._size = int(height), int(width)
        self._table = _train_ids()

    @property
    def labels(self) -> tuple[str, ...]:
        """The 19 classes."""
        return CLASSES

    @property
    def ignore_index(self) -> int:
        """255, the trainId of everything that is not scored."""
        return IGNORE

    def pairs(self) -> list[Pair]:
        """Pictures and class maps of one scene."""
        folder = require_folder(self.root / "leftImg8bit" / self.split, self.name)
        annotations = require_folder(self.root / "gtFine" / self.split, self.name)
        pictures, maps = _scenes(folder, _PICTURE), _scenes(annotations, _MAP)
        if not pictures:
            raise InputError(f"{self.name} found no <city>/<scene>{_PICTURE} in {folder}, but {shown(entries(folder))}")
        check_paired(pictures, maps, annotations, self.name)
        return [Pair(f"{self.split}/{scene}", path, maps[scene]) for scene, path in sorted(pictures.items())]

    def finished(self, picture: Tensor, class_map: Tensor, pair: Pair) -> tuple[Tensor, Tensor]:
        """trainIds, and both at the size asked for."""
        if int(class_map.max()) > _KNOWN:
            raise InputError(
                f"{pair.class_map} holds the value {int(class_map.max())}; labelIds are 0 to {_KNOWN} "
                "(a map of trainIds is not converted again)"
            )
        class_map = self._table[class_map.long()]
        height, width = class_map.shape
        if (height, width) == self._size:
            return picture, class_map
        rows, columns = self._size
        if height < rows or height * columns != width * rows:
            raise InputError(
                f"{pair.picture} has {width}x{height} pixels; for {self.params.size} (height x width) a picture is "
                f"{columns}x{rows} or larger, and twice as wide as high"
            )
        picture = tvf.resize(picture, [rows, columns], InterpolationMode.BILINEAR, antialias=True)
        # NEAREST alone would take the upper left pixel of each block, half a new pixel off the picture.
        class_map = tvf.resize(class_map[None], [rows, columns], InterpolationMode.NEAREST_EXACT)[0]
        return picture, class_map


def _scenes(folder: Path, ending: str) -> dict[str, Path]:
    """Files by ``<city>/<scene>``."""
    return {
        f"{city}/{name.removesuffix(ending)}": folder / city / name
        for city in folders_in(folder)
        for name in files_in(folder / city, [ending.lower()])
        if name.endswith(ending)
    }
