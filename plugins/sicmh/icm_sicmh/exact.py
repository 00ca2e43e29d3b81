"""Keeps a module's integer twin for as long as its weights stay as they are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from torch import Tensor, nn
from typing_extensions import Self

Integers = TypeVar("Integers")


class ExactTwin(nn.Module, Generic[Integers]):
    """A module whose coding path also exists in integers, built when first needed.

    The twin is dropped whenever the weights may change: loading, moving, casting, training.
    """

    _exact: Integers | None = None

    @property
    def exact(self) -> Integers:
        """The integer networks of the current weights."""
        if self._exact is None:
            self._exact = self._build_exact()
        return self._exact

    @abstractmethod
    def _build_exact(self) -> Integers: ...

    def train(self, mode: bool = True) -> Self:
        """Training may change the weights, so its beginning and its end forget the twin."""
        self._exact = None
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._exact = None
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def _load_from_state_dict(self, *args: Any) -> None:
        self._exact = None
        super()._load_from_state_dict(*args)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_exact": None}
