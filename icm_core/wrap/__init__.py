"""Networks and models of other libraries as components: any network a head, a CompressAI-style model a codec."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from icm_core.wrap.detector import DetectorHead
from icm_core.wrap.fitting import Fit, Fitted, Size, fit_into
from icm_core.wrap.head import IMAGENET_MEAN, IMAGENET_STD, Input, ModuleHead

if TYPE_CHECKING:
    from icm_core.wrap.codec import ModelCodec

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "DetectorHead",
    "Fit",
    "Fitted",
    "Input",
    "ModelCodec",
    "ModuleHead",
    "Size",
    "fit_into",
]


def __getattr__(name: str) -> object:
    if name != "ModelCodec":  # it imports CompressAI, which is slow
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("icm_core.wrap.codec").ModelCodec
