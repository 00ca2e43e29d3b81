"""Contract `DataSet`: numbered pictures with their targets, from a folder that the user names."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, WithJsonSchema
from torch import Tensor

from icm_core.errors import InputError
from icm_core.interfaces.component import ComponentParams
from icm_core.nests import Nest
from icm_core.types import Legend

PICTURES = "pictures"
"""Kind of data sets without targets."""

_MOST = 65535
_HEIGHT_BY_WIDTH = r"^[1-9][0-9]*x[1-9][0-9]*$"
_SIDE = {"type": "integer", "minimum": 1, "maximum": _MOST}


def _checked_size(value: object) -> object:
    """A size as a number, or a pair of numbers that pydantic makes a tuple of; `ValueError` says what it should be."""
    found: Any = value
    if isinstance(value, str) and re.fullmatch(_HEIGHT_BY_WIDTH, value):
        found = tuple(map(int, value.split("x")))
    sides = found if isinstance(found, (list, tuple)) and len(found) == 2 else (found,)
    if value is None or all(type(side) is int and 1 <= side <= _MOST for side in sides):
        return found
    raise ValueError(
        "it should be the length of the shorter side in pixels, such as 384, or height and width, such as [256, 512] "
        f'or "256x512"; each is 1 to {_MOST}'
    )


Size = Annotated[
    int | tuple[int, int] | None,
    BeforeValidator(_checked_size),
    WithJsonSchema(
        {
            "anyOf": [
                _SIDE,
                {"type": "array", "prefixItems": [_SIDE, _SIDE], "minItems": 2, "maxItems": 2},
                {"type": "string", "pattern": _HEIGHT_BY_WIDTH},
                {"type": "null"},
            ]
        }
    ),
]
"""The shorter side of a picture in pixels, or its height and width, or None for the size it has."""


class DataSetParams(ComponentParams):
    """Base of the ``Params`` of data sets whose pictures can be had in another size.

    The data set itself does nothing about it: where it is opened (`icm_core.open_dataset`, recipes), picture and target
    are resized by their kind.
    """

    size: Size = Field(
        None,
        description="size that pictures are resized to, and targets with them: the shorter side in pixels, such as "
        "384, or height and width, such as [256, 512]; null: they stay as they are",
    )


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

    A subclass sets `name` (``"<plugin>.<data set>"``, lower case) and `kind`, and may define a nested ``Params``, from
    `DataSetParams` so that its pictures can be resized. Construction looks at the folder and finds out how many
    pictures there are; it decodes none of them.

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

    class Params(DataSetParams):
        """No parameters but the size."""

    def __init__(self, params: ComponentParams, root: Path, split: str) -> None:
        if isinstance(params, DataSetParams) and params.size is not None:
            # Read at its own size without a word, it would be measured at another one than its user believes.
            raise InputError(
                f"{self.name} is built with the size {params.size}, and pictures are resized where a data set is "
                "opened; use icm_core.open_dataset"
            )
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
