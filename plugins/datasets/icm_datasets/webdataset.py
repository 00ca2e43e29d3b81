"""Data sets in WebDataset shards: tar files of pictures and targets, for what outgrows a file system.

Shards are ``<split>-000000.tar``, ``<split>-000001.tar``, ... or any ``.tar`` files in ``<split>/``; they are read
in the order of their names. Of each sample, one picture (``jpg``, ``jpeg``, ``png`` or ``webp``) and the target of
the data set's kind are read; members with other endings are left alone, and nothing is ever unpickled.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from icm_core.errors import InputError
from icm_core.interfaces import ComponentParams, DataSet, DataSetParams, Sample
from icm_core.pictures import read_class_map, read_picture
from icm_datasets import synsets
from icm_datasets.layout import entries, files_in, require_folder, shown
from icm_datasets.reading import check_classes, check_same_size, picture_tensor
from icm_datasets.shards import Member, read_member, read_samples

_PICTURES = ("jpg", "jpeg", "png", "webp")
_NOTHING = Member(0, 0)


class Shards(DataSet):
    """Samples of all shards of a split, by number.

    Construction reads the headers of all members, but no picture; a picture is then one seek and one read. Keys
    are ``<shard>/<key in the shard>``, such as ``train-000000/000017``.

    Attributes:
        ending: of a sample's target, None if there is none.
    """

    ending: ClassVar[str | None]

    def __init__(self, params: ComponentParams, root: Path, split: str) -> None:
        super().__init__(params, root, split)
        self._shards = _shards(root, split, self.name)
        places, keys = [], []
        for number, shard in enumerate(self._shards):
            for key, members in read_samples(shard):
                picture, target = self._chosen(members, f"the sample {key!r} of {shard}")
                places.append((number, *picture, *target))
                keys.append(f"{shard.name.removesuffix('.tar')}/{key}".encode(errors="backslashreplace"))
        if not places:
            raise InputError(f"{self.name} found no samples in {shown([str(shard) for shard in self._shards])}")
        # Arrays, because worker processes share them; a list of a million objects would be copied into each.
        self._places = np.array(places, dtype=np.int64)
        self._keys = np.array(keys)

    def _chosen(self, members: dict[str, Member], what: str) -> tuple[Member, Member]:
        """The members of a sample that are read."""
        pictures = [ending for ending in _PICTURES if ending in members]
        if len(pictures) != 1:
            raise InputError(
                f"{what} has {len(pictures)} pictures ({', '.join(_PICTURES)}) among its members "
                f"{shown(sorted(members))}; it should have one"
            )
        if self.ending is None:
            return members[pictures[0]], _NOTHING
        if self.ending not in members:
            raise InputError(
                f"{what} has no member {self.ending!r}, which {self.name} reads, but {shown(sorted(members))}"
            )
        return members[pictures[0]], members[self.ending]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int) -> Sample:
        shard_number, start, size, target_start, target_size = (int(value) for value in self._places[number])
        shard, key = self._shards[shard_number], self._keys[number].decode()
        name = f"the picture of {key} in {shard}"
        picture = picture_tensor(read_picture(read_member(shard, Member(start, size), name), name))
        if self.ending is None:
            return Sample(key, picture, None)
        name = f"{self.ending} of {key} in {shard}"
        data = read_member(shard, Member(target_start, target_size), name)
        return Sample(key, picture, self.target(data, picture, name))

    @abstractmethod
    def target(self, data: bytes, picture: Tensor, name: str) -> Tensor | None:
        """What the target's bytes say; `InputError` with `name` if they say nothing of use."""


class WebDatasetParams(DataSetParams):
    """Parameters of `WebDataset`."""

    classes: Literal["imagenet"] | tuple[str, ...] = Field(
        (), description="names of the classes in order; imagenet: the 1000 of ILSVRC; none: any number is a class"
    )


class WebDataset(Shards):
    """Classification: a picture and ``cls``, the class as decimal digits."""

    name: ClassVar[str] = "datasets.webdataset"
    kind: ClassVar[str] = "classification"
    ending: ClassVar[str | None] = "cls"

    class Params(WebDatasetParams):
        """See `WebDatasetParams`."""

    params: WebDatasetParams

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, as far as the parameters tell them."""
        return synsets.names() if self.params.classes == "imagenet" else self.params.classes

    def target(self, data: bytes, picture: Tensor, name: str) -> Tensor:  # noqa: ARG002
        """The class, () int64."""
        digits = data.strip()
        if not digits.isdigit() or len(digits) > 9:
            raise InputError(f"{name} holds {data[:20]!r}; it should be a class in decimal digits")
        if self.labels and int(digits) >= len(self.labels):
            raise InputError(f"{name} holds the class {int(digits)}; the classes are 0 to {len(self.labels) - 1}")
        return torch.tensor(int(digits))


class WebDatasetMapsParams(DataSetParams):
    """Parameters of `WebDatasetMaps`."""

    classes: tuple[str, ...] = Field(
        (), max_length=255, description="names of the classes in order; none: any value is a class"
    )
    ignore: int | None = Field(255, ge=0, le=255, description="value in class maps that counts nowhere; null: none")

    @field_validator("classes")
    @classmethod
    def _named_once(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len({*classes}) < len(classes):
            raise ValueError("it should name each class once")
        return classes


class WebDatasetMaps(Shards):
    """Segmentation: a picture and ``seg.png``, a class map of one byte a pixel."""

    name: ClassVar[str] = "datasets.webdataset_maps"
    kind: ClassVar[str] = "segmentation"
    ending: ClassVar[str | None] = "seg.png"

    class Params(WebDatasetMapsParams):
        """See `WebDatasetMapsParams`."""

    params: WebDatasetMapsParams

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, as far as the parameters tell them."""
        return self.params.classes

    @property
    def ignore_index(self) -> int | None:
        """The parameter ``ignore``."""
        return self.params.ignore

    def target(self, data: bytes, picture: Tensor, name: str) -> Tensor:
        """The class map, (H, W) uint8."""
        class_map = read_class_map(data, name)
        check_same_size(picture, class_map, "beside it", name)
        if self.labels:
            check_classes(class_map, len(self.labels), self.ignore_index, name)
        return class_map


class WebDatasetPictures(Shards):
    """Pictures without targets."""

    name: ClassVar[str] = "datasets.webdataset_pictures"
    kind: ClassVar[str] = "pictures"
    ending: ClassVar[str | None] = None

    def target(self, data: bytes, picture: Tensor, name: str) -> None:
        """None: there is none."""


def _shards(root: Path, split: str, who: str) -> list[Path]:
    """The shards of a split, sorted by name."""
    require_folder(root, who)
    found = [root / name for name in files_in(root, [".tar"]) if name.startswith(f"{split}-")]
    if not found and (root / split).is_dir():
        found = [root / split / name for name in files_in(root / split, [".tar"])]
    if not found:
        raise InputError(
            f"{who} expects {split}-000000.tar, ... in {root}, or .tar files in {root / split}, and found "
            f"{shown(entries(root))}"
        )
    return found
