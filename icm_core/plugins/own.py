"""The core's own plugin: what it brings comes through the same hooks as anybody's."""

from __future__ import annotations

from icm_core.adapters import DecodedPicture
from icm_core.interfaces import SideInfoAdapter, TaskKind
from icm_core.kinds import Classification, Reconstruction, Regression, Segmentation
from icm_core.plugins.hookspecs import hookimpl

icm_interface = 2


@hookimpl
def icm_kinds() -> list[type[TaskKind]]:
    """Classes, class maps, pictures, values."""
    return [Classification, Segmentation, Reconstruction, Regression]


@hookimpl
def icm_adapters() -> list[type[SideInfoAdapter]]:
    """Decoded pictures as features."""
    return [DecodedPicture]
