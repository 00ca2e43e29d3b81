"""The whole plugin surface: each hook returns a list of classes, never instances.

A plugin is an importable module named by an entry point of the group ``icm.plugins``; it implements the
hooks it has something for and leaves out the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pluggy

from icm_core.interfaces import Codec, DataSet, Enhancement, SideInfoAdapter, TaskHead, TaskKind
from icm_core.training import Loss

PROJECT = "icm"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def icm_kinds() -> list[type[TaskKind]]:  # type: ignore[empty-body]
    """Kinds of answers: what targets and answers are, how they are moved, drawn, compared and measured."""


@hookspec
def icm_codecs() -> list[type[Codec]]:  # type: ignore[empty-body]
    """Codecs: picture -> base-layer bytes -> side information."""


@hookspec
def icm_adapters() -> list[type[SideInfoAdapter]]:  # type: ignore[empty-body]
    """Adapters: side information -> features of a task network."""


@hookspec
def icm_heads() -> list[type[TaskHead]]:  # type: ignore[empty-body]
    """Task heads: features -> prediction."""


@hookspec
def icm_enhancements() -> list[type[Enhancement]]:  # type: ignore[empty-body]
    """Enhancements: base reconstruction + more bytes -> refined picture."""


@hookspec
def icm_datasets() -> list[type[DataSet]]:  # type: ignore[empty-body]
    """Data sets: numbered pictures with their targets."""


@hookspec
def icm_losses() -> list[type[Loss]]:  # type: ignore[empty-body]
    """Losses: terms of what a training stage minimises."""


@hookspec
def icm_specs() -> list[Path]:  # type: ignore[empty-body]
    """Pipeline specs that ship with the plugin, as paths of JSON files; loadable by their file's stem."""


@hookspec
def icm_recipes() -> list[Path]:  # type: ignore[empty-body]
    """Training recipes that ship with the plugin, as paths of JSON files; known by their file's stem."""


@hookspec
def icm_default_pipelines() -> list[str]:  # type: ignore[empty-body]
    """Names of pipelines that commands use where a user names none; there should be one in an installation."""


@hookspec
def icm_schemas() -> list[tuple[str, Callable[[Any], dict[str, Any]]]]:  # type: ignore[empty-body]
    """Further JSON Schemas that ``icm schema NAME`` prints: a name, and a function from an
    installation's `Registry` to the schema."""
