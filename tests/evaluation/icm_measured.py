"""A plugin of data sets, each a folder of PNG files, and of pipelines to measure on them."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from icm_core import hookimpl
from icm_core.errors import InputError
from icm_core.interfaces import ComponentParams, DataSet, Sample, TaskHead
from icm_core.types import Features


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


class Brightness(_Folder):
    """Mean levels of two of the channels, in another order than the head has them."""

    name: ClassVar[str] = "measured.brightness"
    kind = "regression"
    labels = ("blue", "red")

    class Params(ComponentParams):
        """What the values are in."""

        unit: str = Field("levels", description="their unit")

    params: Params

    @property
    def unit(self) -> str:
        return self.params.unit

    def target(self, path: Path) -> Tensor:
        return pixels(path).float().mean((0, 1))[[2, 0]]


class Means(TaskHead):
    """Mean levels of the channels, and nothing more of the picture."""

    name: ClassVar[str] = "measured.means"
    kind = "regression"
    labels = ("red", "green", "blue")
    unit = "levels"

    def forward(self, features: Features) -> Tensor:
        return 255 * features.cropped("image").mean((2, 3))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).abs().mean(1)


def pixels(path: Path) -> Tensor:
    """A file's pixels, uint8."""
    try:
        with Image.open(path) as image:
            return torch.from_numpy(np.array(image))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error


@hookimpl
def icm_datasets() -> list[type[DataSet]]:
    return [Plain, Maps, Named, Brightness]


@hookimpl
def icm_heads() -> list[type[TaskHead]]:
    return [Means]


@hookimpl
def icm_specs() -> list[Path]:
    return [Path(__file__).with_name(f"{name}.json") for name in ("scalable", "single")]
