"""Data set `Cityscapes`: street scenes with 19 classes (Cordts et al., CVPR 2016), in their official layout."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from icm_core.errors import InputError
from icm_core.interfaces import ComponentParams
from icm_datasets.layout import entries, files_in, folders_in, require_folder, shown
from icm_datasets.paired import Pair, Paired, check_paired
from icm_datasets.reading import read_map_of

IGNORE = 255
_PICTURE, _MAP = "_leftImg8bit.png", "_gtFine_labelIds.png"

# By labelId, for those that are scored; the trainIds follow their order.
_SCORED = {
    7: "road",
    8: "sidewalk",
    11: "building",
    12: "wall",
    13: "fence",
    17: "pole",
    19: "traffic light",
    20: "traffic sign",
    21: "vegetation",
    22: "terrain",
    23: "sky",
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
CLASSES = tuple(_SCORED.values())
"""The 19 classes in the order of their trainIds."""

_KNOWN = max(_SCORED)


def _train_ids() -> Tensor:
    """trainId of each labelId, (256,) uint8."""
    table = torch.full((256,), IGNORE, dtype=torch.uint8)
    for train_id, label_id in enumerate(_SCORED):
        table[label_id] = train_id
    return table


class Cityscapes(Paired):
    """Street scenes, in the official layout.

    ::

        leftImg8bit/<split>/<city>/<scene>_leftImg8bit.png
        gtFine/<split>/<city>/<scene>_gtFine_labelIds.png

    Class maps hold the 19 trainIds, and 255 for what counts nowhere. Keys are ``<split>/<city>/<scene>``.
    """

    name: ClassVar[str] = "datasets.cityscapes"

    def __init__(self, params: ComponentParams, root: Path, split: str) -> None:
        super().__init__(params, root, split)
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

    def target(self, pair: Pair, picture: Tensor) -> Tensor:
        """The class map in trainIds."""
        ids = read_map_of(picture, pair.picture, pair.target, 0, None)
        if int(ids.max()) > _KNOWN:
            raise InputError(
                f"{pair.target} holds the value {int(ids.max())}; labelIds are 0 to {_KNOWN} "
                "(a map of trainIds is not converted again)"
            )
        return self._table[ids.long()]


def _scenes(folder: Path, ending: str) -> dict[str, Path]:
    """Files by ``<city>/<scene>``."""
    return {
        f"{city}/{name.removesuffix(ending)}": folder / city / name
        for city in folders_in(folder)
        for name in files_in(folder / city, [ending.lower()])
        if name.endswith(ending)
    }
