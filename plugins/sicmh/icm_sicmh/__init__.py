"""SICMH (Zhang, Liu, Peng, 2024) as plugins: codec, fusion adapters, coarse head, residual enhancement."""

from __future__ import annotations

from pathlib import Path

from icm_core.interfaces import Codec, Enhancement, SideInfoAdapter, TaskHead
from icm_core.plugins.hookspecs import hookimpl
from icm_sicmh.adapters import MultiScale, OneScale, TwoScale
from icm_sicmh.coarse import Coarse
from icm_sicmh.coarse_to_fine import CoarseToFine
from icm_sicmh.codec import Hyperprior
from icm_sicmh.residual import Residual
from icm_sicmh.residual_context import ContextResidual


@hookimpl
def icm_codecs() -> list[type[Codec]]:
    """SICMH's codec, and the one that it comes from."""
    return [Hyperprior, CoarseToFine]


@hookimpl
def icm_adapters() -> list[type[SideInfoAdapter]]:
    """Fig. 19 (a), (b), (c)."""
    return [OneScale, TwoScale, MultiScale]


@hookimpl
def icm_heads() -> list[type[TaskHead]]:
    """The coarse picture."""
    return [Coarse]


@hookimpl
def icm_enhancements() -> list[type[Enhancement]]:
    """The residual layer, and the same with a context."""
    return [Residual, ContextResidual]


@hookimpl
def icm_specs() -> list[Path]:
    """sicmh-small, sicmh-paper, and what they are compared with."""
    return sorted(Path(__file__).with_name("specs").glob("*.json"))


@hookimpl
def icm_default_pipelines() -> list[str]:
    """What commands use where no pipeline is named."""
    return ["sicmh-small"]
