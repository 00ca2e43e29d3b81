"""Control hashes: four bytes that say what a layer decodes to, for those who want to see it proved."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor

from icm_core.bitstream.container import CONTROL_BYTES, Layer
from icm_core.errors import BitstreamError

_AT_ONCE = 2**20


def control_hash(tensors: Iterable[Tensor]) -> bytes:
    """First bytes of the SHA-256 of decoded values: shapes, then numbers as little-endian float32.

    Fixed-point numbers are exact in float32 (`icm_core.coding.fixed`), so equal hashes mean equal integers.
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        # Adding zero makes one of the two zeros that floats have.
        digest.update(f"{tuple(tensor.shape)}\n".encode())
        numbers = tensor.detach().reshape(-1)
        for start in range(0, len(numbers), _AT_ONCE):
            values = numbers[start : start + _AT_ONCE].to("cpu", torch.float32) + 0.0
            digest.update(values.numpy().astype("<f4").tobytes())
    return digest.digest()[:CONTROL_BYTES]


def check_control(layer: Layer, found: bytes) -> None:
    """Compare what a layer decoded to with the hash that it carries.

    Raises:
        BitstreamError: it carries none, or another one.
    """
    if not layer.control:
        raise BitstreamError(f"the {layer.kind} layer carries no control hash; encode with --control to have one")
    if layer.control != found:
        raise BitstreamError(
            f"the {layer.kind} layer does not decode to what was coded: its control hash is {layer.control.hex()}, "
            f"and the decoded symbols have {found.hex()}"
        )
