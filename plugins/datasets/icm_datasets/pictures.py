"""Data set `Pictures`: any folder of pictures, without targets."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from icm_core.interfaces import ComponentParams, DataSet, Sample
from icm_datasets.layout import files_below, keys, no_pictures, require_folder
from icm_datasets.reading import read_rgb

_WHOLE = ("", "all")


class Pictures(DataSet):
    """All pictures in a folder and the folders in it.

    The split is a folder in it; ``"all"`` or ``""`` stands for the whole. Keys are paths from the data set's
    folder on, without the ending, so that a picture has one key whatever the split.
    """

    name: ClassVar[str] = "datasets.pictures"
    kind: ClassVar[str] = "pictures"

    def __init__(self, params: ComponentParams, root: Path, split: str) -> None:
        super().__init__(params, root, split)
        inner = "" if split in _WHOLE else split
        folder = require_folder(root / inner, self.name)
        files = files_below(folder)
        if not files:
            raise no_pictures(folder, self.name)
        start = f"{inner}/" if inner else ""
        self._files = [start + name for name in files]
        self._keys = keys(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> Sample:
        return Sample(self._keys[number], read_rgb(self.root / self._files[number]), None)
