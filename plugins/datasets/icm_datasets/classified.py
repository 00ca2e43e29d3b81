"""Base of data sets whose pictures each belong to a class."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch

from icm_core.errors import InputError
from icm_core.interfaces import ComponentParams, DataSet, Sample
from icm_datasets.layout import entries, files_below, folders_in, keys, shown
from icm_datasets.reading import read_rgb
from icm_registry import nearest


class Classified(DataSet):
    """Classification from picture files; subclasses find the files and their classes.

    Keys are ``<split>/<path inside the split>`` without the ending.
    """

    kind: ClassVar[str] = "classification"

    def __init__(self, params: ComponentParams, root: Path, split: str) -> None:
        super().__init__(params, root, split)
        self._folder, found = self.found()
        self._files = sorted(found)
        self._classes = [found[name] for name in self._files]
        self._keys = keys(self._files)

    @abstractmethod
    def found(self) -> tuple[Path, dict[str, int]]:
        """The folder of the split, and the class of each picture's path in it.

        Raises:
            InputError: the layout is another one.
        """

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> Sample:
        picture = read_rgb(self._folder / self._files[number])
        return Sample(f"{self.split}/{self._keys[number]}", picture, torch.tensor(self._classes[number]))


def class_folders(folder: Path, who: str) -> list[str]:
    """Names of the class folders of a split; `InputError` if there are none."""
    names = folders_in(folder)
    if not names:
        raise InputError(
            f"{who} expects a folder for each class in {folder}, and found none, but {shown(entries(folder))}"
        )
    return names


def in_class_folders(folder: Path, names: list[str], numbers: Mapping[str, int], who: str) -> dict[str, int]:
    """Class of each picture in the class folders `names` of a split.

    Args:
        folder: the split's folder.
        names: its class folders.
        numbers: class of each folder name.
        who: name of the data set.

    Raises:
        InputError: a folder's name stands for no class, or a folder holds no pictures.
    """
    strange = [name for name in names if name not in numbers]
    if strange:
        guess = nearest(strange[0], numbers)
        hint = f"; did you mean {guess!r}?" if guess else ""
        raise InputError(
            f"{who} found the folder {folder / strange[0]}, whose name is none of the {len(numbers)} classes "
            f"({shown(list(numbers))}){hint}"
        )
    found = {}
    for name in names:
        pictures = files_below(folder / name)
        if not pictures:
            raise InputError(
                f"{who} found no pictures in the class folder {folder / name}, but {shown(entries(folder / name))}"
            )
        found.update({f"{name}/{picture}": numbers[name] for picture in pictures})
    return found
