"""Keeps a module's integer twin for as long as its weights stay as they are."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Generic, TypeVar

from torch import nn

from icm_core.coding.weight_cache import Memo

Integers = TypeVar("Integers")


class ExactTwin(nn.Module, Generic[Integers]):
    """A module whose coding path also exists in integers, built when first needed and when weights have changed."""

    _memo: Memo[Integers]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._memo = Memo()  # shallow copies share it

    @property
    def exact(self) -> Integers:
        """The integer networks of the current weights."""
        return self._memo.get([self], self._build_exact)

    @abstractmethod
    def _build_exact(self) -> Integers: ...
