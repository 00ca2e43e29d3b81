"""Cases of data sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from icm_core.interfaces import DataSet, TaskKind
from icm_core.interfaces.dataset import PICTURES
from icm_core.plugins.datasets import build_dataset
from icm_core.testing.cases.base import ParameterisedCase
from icm_core.testing.cases.kinds import find_kind


@dataclass(frozen=True)
class DataSetCase(ParameterisedCase):
    """A data set.

    Args:
        root: a folder laid out as it expects; a small one is enough.
        split: which part of it.
        most: no more pictures than this are read.
        kind: the kind of its targets, where it is not installed.
    """

    contract: ClassVar[type[Any]] = DataSet

    root: Path = field(kw_only=True)
    split: str = field(default="train", kw_only=True)
    most: int = field(default=20, kw_only=True)
    kind: TaskKind | type[TaskKind] | None = field(default=None, kw_only=True)

    def build(self) -> Any:
        """The data set, as it is opened."""
        return build_dataset(self.cls, self.settings(), self.root, self.split, self._kind_of)

    def asking(self, name: object) -> TaskKind | None:
        """The kind of its targets by what the data set says; None for pictures without targets."""
        return None if name == PICTURES else self._kind_of(name)

    def _kind_of(self, name: object) -> TaskKind:
        return find_kind(name, self.kind, self.name)
