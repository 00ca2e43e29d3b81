"""Edges of roads as polylines: a kind of answers, a head and a data set for icm."""

from __future__ import annotations

from pathlib import Path

from icm_core import hookimpl
from icm_core.interfaces import DataSet, TaskHead, TaskKind
from icm_lanes.borders import Borders
from icm_lanes.crossings import Crossings
from icm_lanes.polylines import Polylines

__all__ = ["Borders", "Crossings", "Polylines"]

icm_interface = 2
"""The version of icm's contracts that this was written for."""


@hookimpl
def icm_kinds() -> list[type[TaskKind]]:
    """The kind."""
    return [Polylines]


@hookimpl
def icm_heads() -> list[type[TaskHead]]:
    """The head."""
    return [Crossings]


@hookimpl
def icm_datasets() -> list[type[DataSet]]:
    """The data set."""
    return [Borders]


@hookimpl
def icm_specs() -> list[Path]:
    """sicmh-small with a task that finds edges of roads."""
    return [Path(__file__).with_name("icm-lanes.json")]


@hookimpl
def icm_recipes() -> list[Path]:
    """How the new task is trained on CamVid."""
    return [Path(__file__).with_name("lanes-camvid.json")]
