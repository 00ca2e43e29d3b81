"""Fingerprints: four bytes that name exactly what decoding a layer of a file depends on."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from icm_core.bitstream.container import FINGERPRINT_BYTES
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
