"""Networks and models of other libraries as components: any network a head, a CompressAI-style model a codec."""

from icm_core.wrap.codec import ModelCodec
from icm_core.wrap.detector import DetectorHead
from icm_core.wrap.fitting import Fit, Fitted, Size, fit_into
from icm_core.wrap.head import IMAGENET_MEAN, IMAGENET_STD, Input, ModuleHead

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
