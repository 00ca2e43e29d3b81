"""Data set `VOC`: things with boxes or class maps, in the layout of Pascal VOC (Everingham et al., IJCV 2010)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator
from torch import Tensor

from icm_core.errors import InputError
from icm_core.files import read_file
from icm_core.interfaces import DataSetParams, Nest
from icm_datasets.layout import PICTURES, files_in, folders_in, require_folder, shown
from icm_datasets.paired import Pair, Paired, by_stem
from icm_datasets.reading import read_map_of
from icm_datasets.voc_xml import read_things
from icm_registry import nearest

CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
BACKGROUND = "background"
IGNORE = 255
_PICTURES = "JPEGImages"
_OF = {"boxes": ("Main", "Annotations", ".xml"), "maps": ("Segmentation", "SegmentationClass", ".png")}


class VOCParams(DataSetParams):
    """Parameters of `VOC`."""

    targets: Literal["boxes", "maps"] = Field(
        "boxes", description="boxes: kind detection; maps: kind segmentation, with the background as class 0"
    )
    classes: tuple[str, ...] = Field(
        CLASSES, min_length=1, max_length=254, description="names of the classes in order; by default VOC's 20"
    )

    @field_validator("classes")
    @classmethod
    def _named_once(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len({*classes}) < len(classes):
            raise ValueError("it should name each class once")
        return classes


class VOC(Paired):
    """Things in pictures, in the official layout.

    ::

        JPEGImages/<name>.jpg
        ImageSets/Main/<split>.txt           Annotations/<name>.xml              targets: boxes
        ImageSets/Segmentation/<split>.txt   SegmentationClass/<name>.png        targets: maps

    The folder is the one that holds these, or one above it, such as that of ``VOCdevkit/VOC2012``. What an annotation
    calls difficult is a crowd of COCO's: it counts neither as found nor as wrong. Class maps hold 0 for the background,
    then the classes, and 255 for what counts nowhere. Pictures are in the order of their names; keys are
    ``<split>/<name>``.
    """

    name: ClassVar[str] = "datasets.voc"

    class Params(VOCParams):
        """See `VOCParams`."""

    params: VOCParams

    @property
    def kind(self) -> str:  # type: ignore[override]
        """``detection`` or ``segmentation``."""
        return "detection" if self.params.targets == "boxes" else "segmentation"

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in maps behind the background."""
        return self.params.classes if self.params.targets == "boxes" else (BACKGROUND, *self.params.classes)

    @property
    def ignore_index(self) -> int | None:
        """255 in maps, which is drawn around things."""
        return None if self.params.targets == "boxes" else IGNORE

    def pairs(self) -> list[Pair]:
        """What the split's list names, with annotations."""
        home = _home(self.root, self.name)
        sets, inner, ending = _OF[self.params.targets]
        listed = _listed(home / "ImageSets" / sets, self.split, self.name)
        folder, annotations = require_folder(home / _PICTURES, self.name), require_folder(home / inner, self.name)
        pictures = by_stem(folder, files_in(folder, PICTURES))
        targets = by_stem(annotations, files_in(annotations, [ending]))
        for what, found, where in (("pictures", pictures, folder), ("annotations", targets, annotations)):
            if missing := [name for name in listed if name not in found]:
                raise InputError(
                    f"{self.name} found no {what} in {where} for {len(missing)} of the {len(listed)} names in "
                    f"ImageSets/{sets}/{self.split}.txt: {shown(missing)}"
                )
        return [Pair(f"{self.split}/{name}", pictures[name], targets[name]) for name in listed]

    def target(self, pair: Pair, picture: Tensor) -> Nest:
        """Boxes, or the class map (H, W) uint8."""
        if self.params.targets == "maps":
            return read_map_of(picture, pair.picture, pair.target, len(self.labels), IGNORE)
        numbers = {name: number for number, name in enumerate(self.labels)}
        return read_things(pair.target, (picture.shape[-2], picture.shape[-1]), numbers)


def _home(root: Path, who: str) -> Path:
    """The folder that holds `JPEGImages`: the data set's own, or the only one of a year below it."""
    require_folder(root, who)
    if (root / _PICTURES).is_dir():
        return root
    kits = [inner for inner in (root, root / "VOCdevkit") if inner.is_dir()]
    found = [kit / name for kit in kits for name in folders_in(kit) if (kit / name / _PICTURES).is_dir()]
    if len(found) > 1:
        raise InputError(
            f"{who} found {shown([str(path) for path in found])} in {root}; give the folder of one of them"
        )
    return found[0] if found else require_folder(root / _PICTURES, who).parent


def _listed(folder: Path, split: str, who: str) -> list[str]:
    """The names in a split's list, sorted."""
    require_folder(folder, who)
    path = folder / f"{split}.txt"
    if not path.is_file():
        # A class has lists of its own, which say of each picture of a split whether it is in it.
        names = [name.removesuffix(".txt") for name in files_in(folder, [".txt"]) if "_" not in name]
        guess = nearest(split, names)
        hint = f"; did you mean {guess!r}?" if guess else ""
        raise InputError(f"{who} expects the list {path}, and found lists of the splits {shown(names)}{hint}")
    try:
        lines = read_file(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file (UTF-8)") from error
    found = [words[0] for line in lines if (words := line.split())]
    if not found:
        raise InputError(f"{path} names no picture")
    if len({*found}) < len(found):
        twice = next(name for number, name in enumerate(found) if name in found[:number])
        raise InputError(f"{path} names the picture {twice!r} twice")
    return sorted(found)
