"""Values computed from weights, kept for as long as the weights stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from torch import Tensor, nn

Value = TypeVar("Value")


class Memo(Generic[Value]):
    """A value computed from tensors, kept for as long as none of them was replaced or written to.

    PyTorch counts writes to a tensor, so an optimizer's step or a loaded state is noticed. The tensors are kept,
    because another one could otherwise come to lie at the same address. Key and value are replaced in one step, so that
    threads may share it.
    """

    def __init__(self) -> None:
        self._kept: tuple[tuple[tuple[Tensor, int, int], ...], Value] | None = None

    def get(self, modules: Iterable[nn.Module], compute: Callable[[], Value]) -> Value:
        """The value for these modules' parameters and buffers."""
        tensors = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
        key = tuple((tensor, tensor.data_ptr(), _writes(tensor)) for tensor in tensors)
        kept = self._kept
        if (
            kept is None
            or len(key) != len(kept[0])
            or any(new[0] is not old[0] or new[1:] != old[1:] for new, old in zip(key, kept[0], strict=True))
        ):
            kept = self._kept = key, compute()
        return kept[1]

    def clear(self) -> None:
        """Forget the value."""
        self._kept = None

    def __deepcopy__(self, memo: dict[int, object]) -> Memo[Value]:
        return Memo()

    def __reduce__(self) -> tuple[type[Memo[Value]], tuple[()]]:
        return Memo, ()


def _writes(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version
