"""Devices by name, and the arithmetic of float32 on them."""

from __future__ import annotations

import re

import torch

from icm_core.errors import InputError


def pick_device(name: str) -> torch.device:
    """A device by its name on the command line; on a CUDA device float32 is float32 from then on.

    Raises:
        InputError: there is no such name, or this machine does not have the device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    match = re.fullmatch(r"cpu|cuda(:(?P<index>\d{1,3}))?", name)
    if match is None:
        raise InputError(f"device {name!r} is unknown; it is auto, cpu, cuda or cuda:<n>")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name != "cpu" and int(match["index"] or 0) >= count:
        have = f"cuda:0 to cuda:{count - 1}" if count > 1 else "cuda:0" if count else "no CUDA device"
        raise InputError(f"device {name!r} is not available; this machine has {have}")
    if name != "cpu":
        refuse_tf32()
    return torch.device(name)


def refuse_tf32() -> None:
    """Products of float32 keep their 24 bits, in matrices and in convolutions.

    By default PyTorch lets cuDNN's convolutions round their factors to TF32, 11 bits, and products of matrices not.
    We want neither: in ``fp32`` every device computes the same up to the order of sums, and ``bf16`` is the fast
    precision, on every card that has TF32.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
