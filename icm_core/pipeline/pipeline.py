"""A pipeline at work: one codec, several tasks behind it, and an enhancement over one of them."""

from __future__ import annotations

from icm_core.pipeline.decoder import Decoder
from icm_core.pipeline.encoder import Encoder
from icm_core.pipeline.parts import PRECISIONS
from icm_core.pipeline.task import Task

__all__ = ["PRECISIONS", "Pipeline", "Task"]


class Pipeline(Encoder, Decoder):
    """Pictures to files and files to predictions. Get one from `icm_core.load` or `icm_core.build`.

    ::

        x -> codec -> [base bytes] -> codec -> side -> task.adapter -> task.head -> prediction
                                                 `-> tasks[over] -> x_c -> enhancement(x, x_c) -> [enhancement bytes]

    State-dict keys: ``codec.*``, ``tasks.<task>.adapter.*``, ``tasks.<task>.head.*``, ``enhancement.*``.

    Args:
        spec: what it was built from.
        codec: the codec, shared by all tasks.
        tasks: the tasks by name.
        enhancement: refines the picture of the task that ``spec.enhancement.over`` names.
    """
