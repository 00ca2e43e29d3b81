"""Keeps a module's integer twin for as long as its weights stay as they are."""

from __future__ import annotations

from abc import abstractmethod
from typing import Generic, TypeVar

from torch import nn

from icm_core.coding.weight_cache import Memo

Integers = TypeVar("Integers")


class ExactTwin(nn.Module, Generic[Integers]):
    """A module whose coding path also exists in integers, built when first needed and when weights have changed."""

    _memo: Memo[Integers]

    @property
    def exact(self) -> Integers:
        """The integer networks of the current weights."""
        memo = self.__dict__.setdefault("_memo", Memo())
        twin: Integers = memo.get([self], self._build_exact)
        return twin

    @abstractmethod
    def _build_exact(self) -> Integers: ...
