"""A plugin of data sets, each a folder of PNG files, and of pipelines to measure on them."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from icm_core import hookimpl
from icm_core.errors import InputError
from icm_core.interfaces import ComponentParams, DataSet, Sample


class _Folder(DataSet):
    """``<root>/<split>/*.png``."""

    def __init__(self, params: ComponentParams, root: Path, split: str) -> None:
        super().__init__(params, root, split)
        self.paths = sorted((root / split).glob("*.png"))
        if not self.paths:
            raise InputError(f"{root / split} has no PNG file")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> Sample:
        path = self.paths[number]
        return Sample(f"{self.split}/{path.stem}", pixels(path).permute(2, 0, 1), self.target(path))

    def target(self, path: Path) -> Tensor | None:
        return None


class Plain(_Folder):
    """Pictures alone."""

    name: ClassVar[str] = "measured.plain"
    kind = "pictures"


class Maps(_Folder):
    """A class map beside each picture, in ``<split>annot``; 255 does not count."""

    name: ClassVar[str] = "measured.maps"
    kind = "segmentation"
    ignore_index = 255

    def target(self, path: Path) -> Tensor:
        return pixels(self.root / f"{self.split}annot" / path.name)


class Named(_Folder):
    """The class is the number that the file's name ends with; three classes of the head's seven, by name."""

    name: ClassVar[str] = "measured.named"
    kind = "classification"
    labels = ("class 5", "class 0", "class 3")

    def target(self, path: Path) -> Tensor:
        return torch.tensor(int(path.stem[-1]))


def pixels(path: Path) -> Tensor:
    """A file's pixels, uint8."""
    try:
        with Image.open(path) as image:
            return torch.from_numpy(np.array(image))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error


@hookimpl
def icm_datasets() -> list[type[DataSet]]:
    return [Plain, Maps, Named]


@hookimpl
def icm_specs() -> list[Path]:
    return [Path(__file__).with_name(f"{name}.json") for name in ("scalable", "single")]
