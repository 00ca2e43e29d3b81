"""Contract `DataSet`: numbered pictures with their targets, from a folder that the user names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from icm_core.interfaces.component import ComponentParams
from icm_core.nests import Nest
from icm_core.types import Legend

PICTURES = "pictures"
"""Kind of data sets without targets."""


@dataclass(frozen=True)
class Sample:
    """One picture with its target.

    Attributes:
        key: name of the picture inside its data set, the same on every machine, such as ``val/0016E5_07959``.
        picture: (3, H, W) uint8, RGB.
        target: a nest of tensors, as the data set's kind has it. Classification: a class, () int64. Segmentation: a
            class map, (H, W) uint8. Regression: values, (K,) float32. None where the kind is ``"pictures"``.
    """

    key: str
    picture: Tensor
    target: Nest | None


class DataSet(ABC):
    """Pictures of one split, by number and in a fixed order; for training and for measurements.

    A subclass sets `name` (``"<plugin>.<data set>"``, lower case) and `kind`, and may define a nested ``Params``.
    Construction looks at the folder and finds out how many pictures there are; it decodes none of them.

    Args:
        params: the validated ``Params`` of the subclass.
        root: folder of the data set.
        split: which part of it, such as ``"train"`` or ``"val"``.

    Raises:
        InputError: the folder is missing or laid out otherwise; the message says what was expected and found.
    """

    name: ClassVar[str]
    kind: ClassVar[str]
    """Name of a registered kind, or ``"pictures"`` for pictures without targets; where parameters choose the targets a
    property."""

    class Params(ComponentParams):
        """No parameters."""

    def __init__(self, params: ComponentParams, root: Path, split: str) -> None:
        self.params = params
        self.root = root
        self.split = split

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes or values, in order; empty where there are none."""
        return ()

    @property
    def ignore_index(self) -> float | None:
        """Value in targets that counts nowhere, None where everything counts."""
        return None

    @property
    def unit(self) -> str:
        """Unit of the targets' values, such as ``"m"``; empty where they have none."""
        return ""

    @property
    def legend(self) -> Legend:
        """What the numbers in targets mean."""
        return Legend(self.labels, (), (), self.unit, self.ignore_index)

    @abstractmethod
    def __len__(self) -> int:
        """Number of pictures."""

    @abstractmethod
    def __getitem__(self, number: int) -> Sample:
        """A picture, from 0; the same at every call.

        Raises:
            InputError: the picture or its target cannot be read; the message names the file.
        """


def __getattr__(name: str) -> object:
    if name == "DataKind":
        raise ImportError(
            "icm_core.interfaces.dataset.DataKind belongs to interface 1 of icm; a kind is a string that names a "
            "registered kind now: kind = 'segmentation' (docs/extending.md, From 1 to 2)"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
