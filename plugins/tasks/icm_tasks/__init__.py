"""Task heads that ship with the framework, image classification and semantic segmentation, and kinds of answers."""

from __future__ import annotations

from icm_core.interfaces import TaskHead, TaskKind
from icm_core.plugins.hookspecs import hookimpl
from icm_tasks.kinds import Depth, Detection, Embedding, Instances, Keypoints
from icm_tasks.modified_trseg import ModifiedTrSeg
from icm_tasks.onnx_files import Onnx
from icm_tasks.pyramid import Pyramid
from icm_tasks.torchvision_detector import TorchvisionDetector
from icm_tasks.transformers_models import Transformers
from icm_tasks.trseg import TrSeg
from icm_tasks.vit import ViT

__all__ = [
    "ModifiedTrSeg",
    "Onnx",
    "Pyramid",
    "TorchvisionDetector",
    "TrSeg",
    "Transformers",
    "ViT",
    "icm_heads",
    "icm_kinds",
]

icm_interface = 2


@hookimpl
def icm_heads() -> list[type[TaskHead]]:
    """The heads of this plugin."""
    return [ViT, TrSeg, ModifiedTrSeg, Pyramid, TorchvisionDetector, Transformers, Onnx]


@hookimpl
def icm_kinds() -> list[type[TaskKind]]:
    """Boxes, masks, keypoints, distances, embeddings."""
    return [Detection, Instances, Keypoints, Depth, Embedding]
