"""Finding objects: a detector and a data set with boxes for icm."""

from __future__ import annotations

from pathlib import Path

from icm_boxes.grid import Grid
from icm_boxes.parts import Parts
from icm_core import hookimpl
from icm_core.interfaces import DataSet, TaskHead

__all__ = ["Grid", "Parts"]

icm_interface = 2
"""The version of icm's contracts that this was written for."""


@hookimpl
def icm_heads() -> list[type[TaskHead]]:
    """The detector."""
    return [Grid]


@hookimpl
def icm_datasets() -> list[type[DataSet]]:
    """The data set."""
    return [Parts]


@hookimpl
def icm_specs() -> list[Path]:
    """sicmh-small with a task that finds objects."""
    return [Path(__file__).with_name("icm-boxes.json")]


@hookimpl
def icm_recipes() -> list[Path]:
    """How the new task is trained on CamVid."""
    return [Path(__file__).with_name("boxes-camvid.json")]
