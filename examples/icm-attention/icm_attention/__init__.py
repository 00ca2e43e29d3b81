"""A fusion adapter with attention, for icm."""

from __future__ import annotations

from pathlib import Path

from icm_attention.cross import Cross
from icm_core import hookimpl
from icm_core.interfaces import SideInfoAdapter

__all__ = ["Cross"]

icm_interface = 2
"""The version of icm's contracts that this was written for."""


@hookimpl
def icm_adapters() -> list[type[SideInfoAdapter]]:
    """The adapter."""
    return [Cross]


@hookimpl
def icm_specs() -> list[Path]:
    """sicmh-small with this adapter."""
    return [Path(__file__).with_name("icm-attention.json")]
