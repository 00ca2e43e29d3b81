"""The core's own plugin: the kinds that it brings come through the same hook as anybody's."""

from __future__ import annotations

from icm_core.interfaces import TaskKind
from icm_core.kinds import Classification, Reconstruction, Regression, Segmentation
from icm_core.plugins.hookspecs import hookimpl

icm_interface = 2


@hookimpl
def icm_kinds() -> list[type[TaskKind]]:
    """Classes, class maps, pictures, values."""
    return [Classification, Segmentation, Reconstruction, Regression]
