"""Fingerprints: four bytes that name exactly what decoding a layer of a file depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from icm_core.container import FINGERPRINT_BYTES
from icm_core.interfaces import Codec, Enhancement


def base_fingerprint(codec: Codec) -> bytes:
    """Of the base layer: the coding path of the codec, and nothing of adapters and heads."""
    return hashlib.sha256(codec.coding_state()).digest()[:FINGERPRINT_BYTES]


def enhancement_fingerprint(codec: Codec, over: nn.Module, enhancement: Enhancement) -> bytes:
    """Of the enhancement layer: the base layer's, the branch whose picture is refined, and the enhancement.

    Args:
        codec: the codec.
        over: adapter and head of the task that the enhancement refines.
        enhancement: the enhancement.
    """
    digest = hashlib.sha256(codec.coding_state())
    for module in (over, enhancement):
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(_raw(tensor))
    digest.update(enhancement.coding_state())
    return digest.digest()[:FINGERPRINT_BYTES]


def _raw(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


class Memo:
    """A value computed from tensors, kept for as long as none of them was replaced or written to.

    PyTorch counts writes to a tensor, so an optimizer's step or a loaded state is noticed. The tensors are kept,
    because another one could otherwise come to lie at the same address.
    """

    def __init__(self) -> None:
        self._key: tuple[tuple[Tensor, int, int], ...] = ()
        self._value: bytes | None = None

    def get(self, modules: Iterable[nn.Module], compute: Callable[[], bytes]) -> bytes:
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


def _writes(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version
