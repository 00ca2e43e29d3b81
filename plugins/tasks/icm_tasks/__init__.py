"""Task heads that ship with the framework: image classification and semantic segmentation."""

from __future__ import annotations

from icm_core.interfaces import TaskHead
from icm_core.plugins.hookspecs import hookimpl
from icm_tasks.modified_trseg import ModifiedTrSeg
from icm_tasks.trseg import TrSeg
from icm_tasks.vit import ViT

__all__ = ["ModifiedTrSeg", "TrSeg", "ViT", "icm_heads"]


@hookimpl
def icm_heads() -> list[type[TaskHead]]:
    """The heads of this plugin."""
    return [ViT, TrSeg, ModifiedTrSeg]
