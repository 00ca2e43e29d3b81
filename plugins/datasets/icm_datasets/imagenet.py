"""Data set `ImageNet`: ImageNet-1k as of ILSVRC 2012 (Russakovsky et al., IJCV 2015), in its usual layouts."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from icm_core.errors import InputError
from icm_datasets import synsets
from icm_datasets.answers import ANSWERS, find_answers
from icm_datasets.classified import Classified, class_folders, in_class_folders
from icm_datasets.layout import PICTURES, files_in, folders_in, no_pictures, require_folder, shown

_KAGGLE = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")


class ImageNet(Classified):
    """ImageNet-1k, whole.

    Pictures are in ``<split>/<WordNet id>/``, or flat in ``<split>/`` with their classes in a file beside it, as
    ``val`` is handed out; see `icm_datasets.answers`. In the arrangement of Kaggle the splits are in
    ``ILSVRC/Data/CLS-LOC/``.
    """

    name: ClassVar[str] = "datasets.imagenet"

    @property
    def labels(self) -> tuple[str, ...]:
        """ImageNet's names of its 1000 classes."""
        return synsets.names()

    def found(self) -> tuple[Path, dict[str, int]]:
        """The class of each picture of the split."""
        above = next((self.root / inner for inner in _KAGGLE if (self.root / inner).is_dir()), self.root)
        folder = require_folder(above / self.split, self.name)
        if folders_in(folder):
            return folder, self._in_folders(folder)
        files = files_in(folder, PICTURES)
        if not files:
            raise no_pictures(folder, self.name)
        return folder, self._answered(folder, files)

    def _in_folders(self, folder: Path) -> dict[str, int]:
        here = class_folders(folder, self.name)
        found = in_class_folders(folder, here, synsets.numbers(), self.name)
        if missing := sorted(set(synsets.synsets()) - set(here)):
            raise InputError(
                f"{self.name} expects a folder for each of the {synsets.COUNT} classes in {folder} and found "
                f"{len(here)}; missing: {shown(missing)} (a subset is read by datasets.folders with "
                '"classes": "imagenet")'
            )
        return found

    def _answered(self, folder: Path, files: list[str]) -> dict[str, int]:
        """Classes of pictures that lie flat in their folder."""
        file, answers = find_answers(self.root, self.split)
        if file is None:
            raise InputError(
                f"{self.name} found {len(files)} pictures in {folder} without class folders, and none of the files "
                f"that tell their classes in {self.root}: {', '.join(ANSWERS).format(split=self.split)}"
            )
        by_stem = {Path(name).stem: name for name in files}
        unanswered, absent = sorted(set(by_stem) - set(answers)), sorted(set(answers) - set(by_stem))
        if unanswered or absent:
            what = f"no class for {shown(unanswered)}" if unanswered else f"a class for {shown(absent)}"
            where = "" if unanswered else f", which {folder} does not hold"
            raise InputError(
                f"{file} has {what}{where}: it tells {len(answers)} classes, and there are {len(files)} pictures"
            )
        return {name: answers[stem] for stem, name in by_stem.items()}
