"""Values computed from weights, kept for as long as the weights stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from torch import Tensor, nn

Value = TypeVar("Value")


class Memo(Generic[Value]):
    """A value computed from tensors, kept for as long as none of them was replaced or written to.

    PyTorch counts writes to a tensor, so an optimizer's step or a loaded state is noticed. The tensors are kept,
    because another one could otherwise come to lie at the same address.
    """

    def __init__(self) -> None:
        self._key: tuple[tuple[Tensor, int, int], ...] = ()
        self._value: Value | None = None

    def get(self, modules: Iterable[nn.Module], compute: Callable[[], Value]) -> Value:
        """The value for these modules' parameters and buffers."""
        tensors = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
        key = tuple((tensor, tensor.data_ptr(), _writes(tensor)) for tensor in tensors)
        same = len(key) == len(self._key) and all(
            new[0] is old[0] and new[1:] == old[1:] for new, old in zip(key, self._key, strict=True)
        )
        if self._value is None or not same:
            self._key, self._value = key, compute()
        return self._value

    def clear(self) -> None:
        """Forget the value."""
        self._key, self._value = (), None

    def __deepcopy__(self, memo: dict[int, object]) -> Memo[Value]:
        return Memo()

    def __reduce__(self) -> tuple[type[Memo[Value]], tuple[()]]:
        return Memo, ()


def _writes(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version
