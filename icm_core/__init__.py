"""Image coding for machines: pictures to scalable bitstreams, and bitstreams to predictions and pictures.

::

    import icm_core

    pipe = icm_core.load("sicmh-small")
    blob = pipe.encode(image, quality=3)
    out = pipe.decode(blob, tasks=["segmentation"])
"""

from __future__ import annotations

import importlib
from importlib import metadata as _metadata
from typing import TYPE_CHECKING

from icm_core.errors import BitstreamError, IcmError, InputError, SpecError, TrainingError, WeightsError
from icm_core.quality import Quality

if TYPE_CHECKING:
    from icm_core.interfaces import (
        Codec,
        Component,
        ComponentParams,
        DataSet,
        Enhancement,
        Sample,
        SideInfoAdapter,
        TaskHead,
        TaskKind,
    )
    from icm_core.pipeline.build import build
    from icm_core.pipeline.decoded import Decoded
    from icm_core.pipeline.load import load
    from icm_core.pipeline.pipeline import Pipeline
    from icm_core.pipeline.weights import stored_state
    from icm_core.plugins.datasets import open_dataset
    from icm_core.plugins.hookspecs import hookimpl
    from icm_core.plugins.registry import INTERFACE_VERSION, Registry, build_registry
    from icm_core.spec.extends import read_spec
    from icm_core.spec.model import PipelineSpec, parse_spec
    from icm_core.spec.schema import json_schema
    from icm_core.types import CodecOutput, Features, Level, Prediction, SideInfo, SideInfoLayout

try:
    __version__ = _metadata.version("icm-framework")
except _metadata.PackageNotFoundError:  # run from a source folder that is not installed
    __version__ = "0+unknown"

# What imports torch is imported when it is first asked for: the command line answers --help at once.
_HOMES = {
    "pipeline.build": ("build",),
    "pipeline.decoded": ("Decoded",),
    "plugins.hookspecs": ("hookimpl",),
    "interfaces": (
        "Codec",
        "Component",
        "ComponentParams",
        "DataSet",
        "Enhancement",
        "Sample",
        "SideInfoAdapter",
        "TaskHead",
        "TaskKind",
    ),
    "pipeline.load": ("load",),
    "pipeline.pipeline": ("Pipeline",),
    "pipeline.weights": ("stored_state",),
    "plugins.datasets": ("open_dataset",),
    "plugins.registry": ("INTERFACE_VERSION", "Registry", "build_registry"),
    "spec.schema": ("json_schema",),
    "spec.extends": ("read_spec",),
    "spec.model": ("PipelineSpec", "parse_spec"),
    "types": ("CodecOutput", "Features", "Level", "Prediction", "SideInfo", "SideInfoLayout"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "INTERFACE_VERSION",
    "BitstreamError",
    "Codec",
    "CodecOutput",
    "Component",
    "ComponentParams",
    "DataSet",
    "Decoded",
    "Enhancement",
    "Features",
    "IcmError",
    "InputError",
    "Level",
    "Pipeline",
    "PipelineSpec",
    "Prediction",
    "Quality",
    "Registry",
    "Sample",
    "SideInfo",
    "SideInfoAdapter",
    "SideInfoLayout",
    "SpecError",
    "TaskHead",
    "TaskKind",
    "TrainingError",
    "WeightsError",
    "__version__",
    "build",
    "build_registry",
    "hookimpl",
    "json_schema",
    "load",
    "open_dataset",
    "parse_spec",
    "read_spec",
    "stored_state",
]
