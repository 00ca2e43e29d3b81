"""Data set `Folders`: pictures in folders named by class, as torchvision's ImageFolder has them."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from icm_core.interfaces import DataSetParams
from icm_datasets import synsets
from icm_datasets.classified import Classified, class_folders, in_class_folders
from icm_datasets.layout import require_folder

_TRAIN = "train"


class FoldersParams(DataSetParams):
    """Parameters of `Folders`."""

    classes: Literal["folders", "imagenet"] | tuple[str, ...] = Field(
        "folders",
        description="folders: numbered in the sorted order of their names (those of train, if there is a train); "
        "imagenet: folders are WordNet ids, numbered 0 to 999 as in ILSVRC; or the folder names in order",
    )

    @field_validator("classes")
    @classmethod
    def _named_once(cls, classes: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(classes, tuple) and (len(classes) < 2 or len({*classes}) < len(classes)):
            raise ValueError("it should be at least two folder names, each once")
        return classes


class Folders(Classified):
    """Pictures in ``<split>/<class>/``, however deep; the class is the folder's.

    The numbers of the classes follow from the folders of ``train`` where there is one, so that a split in which
    some class does not occur has the same numbers. With ``"classes": "imagenet"``, a subset of ImageNet keeps
    the numbers of all 1000 classes.
    """

    name: ClassVar[str] = "datasets.folders"

    class Params(FoldersParams):
        """See `FoldersParams`."""

    params: FoldersParams

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the folders, or ImageNet's names of its classes."""
        return synsets.names() if self.params.classes == "imagenet" else self._names

    def found(self) -> tuple[Path, dict[str, int]]:
        """The class of each picture in the split's class folders."""
        folder = require_folder(self.root / self.split, self.name)
        here = class_folders(folder, self.name)
        if self.params.classes == "imagenet":
            self._names = synsets.synsets()
        elif self.params.classes == "folders":
            train = self.root / _TRAIN
            self._names = tuple(class_folders(train, self.name) if train.is_dir() else here)
        else:
            self._names = self.params.classes
        numbers = {name: number for number, name in enumerate(self._names)}
        return folder, in_class_folders(folder, here, numbers, self.name)
