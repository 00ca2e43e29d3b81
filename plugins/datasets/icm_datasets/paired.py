"""Base of data sets whose pictures each have their target in a file of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar, NamedTuple

from torch import Tensor

from icm_core.errors import InputError
from icm_core.interfaces import ComponentParams, DataSet, Nest, Sample
from icm_datasets.reading import read_rgb


class Pair(NamedTuple):
    """A picture's key, its file and the file of its target."""

    key: str
    picture: Path
    target: Path


class Paired(DataSet):
    """Pairs of files; subclasses find the pairs and read the targets."""

    kind: ClassVar[str] = "segmentation"

    def __init__(self, params: ComponentParams, root: Path, split: str) -> None:
        super().__init__(params, root, split)
        self._pairs = self.pairs()

    @abstractmethod
    def pairs(self) -> list[Pair]:
        """All pairs of the split, in order; `InputError` if the layout is another one."""

    @abstractmethod
    def target(self, pair: Pair, picture: Tensor) -> Nest:
        """The target of a picture (3, H, W), as the kind has it.

        Raises:
            InputError: the file cannot be read, or what it says is nothing for this data set or picture; the message
                names it.
        """

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, number: int) -> Sample:
        pair = self._pairs[number]
        picture = read_rgb(pair.picture)
        return Sample(pair.key, picture, self.target(pair, picture))


def by_stem(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Files of a folder by their names without the ending; `InputError` where two have the same.

    Args:
        folder: the folder.
        names: paths in it, with ``/`` between their parts.
    """
    found: dict[str, Path] = {}
    for name in names:
        stem, path = str(PurePosixPath(name).with_suffix("")), folder / name
        if stem in found:
            raise InputError(f"{path} and {found[stem]} would share one annotation; remove one of them")
        found[stem] = path
    return found


def check_paired(pictures: Mapping[str, Path], maps: Mapping[str, Path], folder: Path, who: str) -> None:
    """Raise `InputError` unless every picture has an annotation and every annotation a picture.

    Args:
        pictures: files by what they have in common with their annotation's name.
        maps: annotations, likewise.
        folder: where the annotations are.
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
