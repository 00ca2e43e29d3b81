"""Distances of everything in a picture: a head and a data set for icm."""

from __future__ import annotations

from pathlib import Path

from icm_core import hookimpl
from icm_core.interfaces import DataSet, TaskHead
from icm_depth.maps import Maps
from icm_depth.pyramid import Pyramid

__all__ = ["Maps", "Pyramid"]

icm_interface = 2
"""The version of icm's contracts that this was written for."""


@hookimpl
def icm_heads() -> list[type[TaskHead]]:
    """The head."""
    return [Pyramid]


@hookimpl
def icm_datasets() -> list[type[DataSet]]:
    """The data set."""
    return [Maps]


@hookimpl
def icm_specs() -> list[Path]:
    """sicmh-small with a task that tells distances."""
    return [Path(__file__).with_name("icm-depth.json")]


@hookimpl
def icm_recipes() -> list[Path]:
    """How the new task is trained on NYU Depth v2."""
    return [Path(__file__).with_name("depth-nyu.json")]
