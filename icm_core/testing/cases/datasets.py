"""Cases of data sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from icm_core.interfaces import DataSet
from icm_core.testing.cases.base import Case


@dataclass(frozen=True)
class DataSetCase(Case):
    """A data set.

    Args:
        root: a folder laid out as it expects; a small one is enough.
        split: which part of it.
        most: no more pictures than this are read.
    """

    contract: ClassVar[type[Any]] = DataSet

    root: Path = field(kw_only=True)
    split: str = field(default="train", kw_only=True)
    most: int = field(default=20, kw_only=True)

    def build(self) -> Any:
        """The data set."""
        return self.cls(self.settings(), self.root, self.split)
