"""Counting objects: a head and a data set for icm."""

from __future__ import annotations

from pathlib import Path

from icm_core import hookimpl
from icm_core.interfaces import DataSet, TaskHead
from icm_count.density import Density
from icm_count.objects import Objects

__all__ = ["Density", "Objects"]

icm_interface = 2
"""The version of icm's contracts that this was written for."""


@hookimpl
def icm_heads() -> list[type[TaskHead]]:
    """The head."""
    return [Density]


@hookimpl
def icm_datasets() -> list[type[DataSet]]:
    """The data set."""
    return [Objects]


@hookimpl
def icm_specs() -> list[Path]:
    """sicmh-small with a task that counts."""
    return [Path(__file__).with_name("icm-count.json")]
