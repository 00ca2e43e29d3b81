"""Data set `COCO`: things with boxes, outlines or keypoints, in COCO's format (Lin et al., ECCV 2014)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from icm_core.errors import InputError
from icm_core.interfaces import DataSet, DataSetParams, Sample
from icm_datasets.coco_file import Annotations, Targets, read_annotations
from icm_datasets.layout import entries, files_in, keys, require_folder, shown
from icm_datasets.outlines import mask_of, tools
from icm_datasets.patterns import Pattern, place
from icm_datasets.reading import read_rgb
from icm_registry import nearest

_KINDS: dict[Targets, str] = {"boxes": "detection", "masks": "instances", "keypoints": "keypoints"}
_FILES: dict[Targets, str] = {"boxes": "instances", "masks": "instances", "keypoints": "person_keypoints"}
_YEAR = "2017"
_MOST = 2**31
"""Bytes that the masks of one picture may take."""


class COCOParams(DataSetParams):
    """Parameters of `COCO`."""

    targets: Targets = Field(
        "boxes", description="boxes: kind detection; masks: kind instances, with boxes; keypoints: kind keypoints"
    )
    empty: bool = Field(True, description="if false, pictures without annotations are left out")
    annotations: Pattern | None = Field(
        None,
        description="the annotation file in the data set's folder, such as 'labels/{split}.json'; null: where COCO has "
        "it, annotations/instances_{split}2017.json or instances_{split}.json",
    )
    pictures: Pattern | None = Field(
        None, description="folder of the pictures, such as 'images/{split}'; null: {split}2017 or {split}"
    )


class COCO(DataSet):
    """Things in pictures, from an annotation file in COCO's format.

    Classes are the file's categories in the order of their ids, numbered from 0. Targets are dicts with ``boxes``,
    ``labels``, ``iscrowd``, ``area`` where the file has it, and ``masks`` or ``keypoints``. Boxes are cut at the
    picture's borders. What has no size inside of the picture is left out, and so is an outline without a pixel. A crowd
    without an outline has its box. Keypoints outside of the picture are not labelled. Pictures are in the order of
    their file names; keys are ``<split>/<file name>`` without the ending.
    """

    name: ClassVar[str] = "datasets.coco"

    class Params(COCOParams):
        """See `COCOParams`."""

    params: COCOParams

    def __init__(self, params: COCOParams, root: Path, split: str) -> None:
        super().__init__(params, root, split)
        self._reader: Any = tools(self.name) if params.targets == "masks" else None
        require_folder(root, self.name)
        self._file = self._found_file()
        self._folder = self._found_folder()
        self._all = read_annotations(self._file, params.targets, params.empty)
        names = [self._all.names[number].decode() for number in range(len(self))]
        if not names:
            raise InputError(f"{self.name} found no pictures with annotations in {self._file}")
        self._check_pictures(names)
        self._keys = keys(names)

    @property
    def kind(self) -> str:  # type: ignore[override]
        """``detection``, ``instances`` or ``keypoints``."""
        return _KINDS[self.params.targets]

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes; of keypoints, the names of the points."""
        return self._all.labels

    def __len__(self) -> int:
        return len(self._all.sizes)

    def __getitem__(self, number: int) -> Sample:
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        number %= len(self)
        path = self._folder / self._all.names[number].decode()
        picture = read_rgb(path)
        height, width = self._all.sizes[number].tolist()
        if picture.shape[-2:] != (height, width):
            raise InputError(
                f"{path} has {picture.shape[-1]}x{picture.shape[-2]} pixels, and {self._file} says {width}x{height}"
            )
        return Sample(f"{self.split}/{self._keys[number]}", picture, self._target(number, (height, width)))

    def _target(self, number: int, size: tuple[int, int]) -> dict[str, Tensor]:
        found: Annotations = self._all
        rows = slice(int(found.ends[number]), int(found.ends[number + 1]))
        target = {
            "boxes": torch.from_numpy(found.boxes[rows].copy()),
            "labels": torch.from_numpy(found.classes[rows].copy()),
            "iscrowd": torch.from_numpy(found.crowds[rows].copy()),
        }
        if found.areas is not None:
            target["area"] = torch.from_numpy(found.areas[rows].copy())
        if found.keypoints is not None:
            target["keypoints"] = _placed(torch.from_numpy(found.keypoints[rows].copy()), size)
        if found.outlines is not None:
            masks = self._masks(rows, target["boxes"], size)
            drawn = masks.flatten(1).any(1).bool()  # of bytes, any() gives bytes
            target = {name: value[drawn] for name, value in {**target, "masks": masks}.items()}
        return target

    def _masks(self, rows: slice, boxes: Tensor, size: tuple[int, int]) -> Tensor:
        """The outlines of some annotations as masks, (N, H, W) uint8."""
        assert self._all.outlines is not None
        count = rows.stop - rows.start
        if count * size[0] * size[1] > _MOST:
            raise InputError(f"{self._file} has {count} outlines for a picture of {size[1]}x{size[0]} pixels: too many")
        masks = torch.zeros(count, *size, dtype=torch.uint8)
        for row in range(count):
            text = self._all.outlines[rows.start + row]
            if not text:  # of a crowd
                left, top, right, bottom = boxes[row].round().int().tolist()
                masks[row, top:bottom, left:right] = 1
                continue
            try:
                masks[row] = mask_of(json.loads(text), size, self._reader)
            except ValueError as error:
                where = f"annotations[{self._all.numbers[rows.start + row]}].segmentation"
                raise InputError(f"{self._file}: {where} is no outline: {error}") from error
        return masks

    def _found_file(self) -> Path:
        """The annotation file."""
        if self.params.annotations is not None:
            path = place(self.params.annotations, self.root, self.split)
            if not path.is_file():
                there = entries(require_folder(path.parent, self.name))
                guess = nearest(path.name, there)
                hint = f"; did you mean {guess!r}?" if guess else ""
                raise InputError(f"{self.name} expects the file {path}, and found {shown(there)}{hint}")
            return path
        start = _FILES[self.params.targets]
        names = [f"{start}_{self.split}{_YEAR}.json", f"{start}_{self.split}.json"]
        places = [self.root / inner / name for inner in ("annotations", "") for name in names]
        if (found := next((path for path in places if path.is_file()), None)) is not None:
            return found
        inner = self.root / "annotations"
        there = files_in(inner, [".json"]) if inner.is_dir() else []
        there += files_in(self.root, [".json"])
        guess = nearest(names[1], there) or nearest(names[0], there)
        hint = f"; did you mean {guess!r}?" if guess else ""
        raise InputError(
            f"{self.name} expects annotations/{names[0]} or {names[1]} in {self.root}, and found "
            f"{shown(there or entries(self.root))}{hint}"
        )

    def _found_folder(self) -> Path:
        """The folder of the pictures."""
        if self.params.pictures is not None:
            return require_folder(place(self.params.pictures, self.root, self.split), self.name)
        split = self.split
        if self.params.annotations is None:  # a file of 2017 has its pictures in a folder of 2017
            split = self._file.stem.removeprefix(f"{_FILES[self.params.targets]}_")
        places = [self.root / inner / name for name in (split, self.split) for inner in ("", "images")]
        return require_folder(next((path for path in places if path.is_dir()), places[0]), self.name)

    def _check_pictures(self, names: list[str]) -> None:
        there = {*files_in(self._folder, [""])}
        missing = [name for name in names if name not in there and not (self._folder / name).is_file()]
        if missing:
            raise InputError(
                f"{self._file} names {len(names)} pictures, of which {len(missing)} are not in {self._folder}: "
                f"{shown(missing)}"
            )


def _placed(points: Tensor, size: tuple[int, int]) -> Tensor:
    """Keypoints (N, K, 3), those outside of the picture without a label, as all of that kind have them."""
    x, y, seen = points.unbind(2)
    height, width = size
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (seen > 0)
    return torch.where(inside[..., None], points, 0)
