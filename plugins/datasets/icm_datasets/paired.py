"""Base of data sets whose pictures each have a class map in a file of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

from torch import Tensor

from icm_core.errors import InputError
from icm_core.interfaces import ComponentParams, DataSet, Sample
from icm_datasets.reading import check_same_size, read_map, read_rgb


class Pair(NamedTuple):
    """A picture's key, its file and the file of its class map."""

    key: str
    picture: Path
    class_map: Path


class Paired(DataSet):
    """Segmentation from pairs of files; subclasses find the pairs and turn file values into classes."""

    kind: ClassVar[str] = "segmentation"

    def __init__(self, params: ComponentParams, root: Path, split: str) -> None:
        super().__init__(params, root, split)
        self._pairs = self.pairs()

    @abstractmethod
    def pairs(self) -> list[Pair]:
        """All pairs of the split, in order; `InputError` if the layout is another one."""

    @abstractmethod
    def finished(self, picture: Tensor, class_map: Tensor, pair: Pair) -> tuple[Tensor, Tensor]:
        """Picture (3, H, W) and class map (H, W) as they are handed out, from what the files hold.

        Raises:
            InputError: the values or the size are none of this data set; the message names the file.
        """

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, number: int) -> Sample:
        pair = self._pairs[number]
        picture, class_map = read_rgb(pair.picture), read_map(pair.class_map)
        check_same_size(picture, class_map, pair.picture, pair.class_map)
        picture, class_map = self.finished(picture, class_map, pair)
        return Sample(pair.key, picture, class_map)


def check_paired(pictures: Mapping[str, Path], maps: Mapping[str, Path], folder: Path, who: str) -> None:
    """Raise `InputError` unless every picture has a class map and every class map a picture.

    Args:
        pictures: files by what they have in common with their class map's name.
        maps: class maps, likewise.
        folder: where the class maps are.
        who: name of the data set.
    """
    if lonely := sorted(set(pictures) - set(maps)):
        raise InputError(
            f"{who} found no annotation in {folder} for {pictures[lonely[0]]}{_others(lonely)}; "
            f"it found {len(pictures)} pictures and {len(maps)} annotations"
        )
    if lonely := sorted(set(maps) - set(pictures)):
        raise InputError(
            f"{who} found no picture for the annotation {maps[lonely[0]]}{_others(lonely)}; "
            f"it found {len(pictures)} pictures and {len(maps)} annotations"
        )


def _others(lonely: list[str]) -> str:
    return f" and {len(lonely) - 1} more" if len(lonely) > 1 else ""
