"""Where figures come from: weights, versions, device, command."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

import torch

from icm_core import __version__
from icm_core.pipeline.pipeline import Pipeline
from icm_core.plugins.registry import Registry
from icm_evaluation.options import Options
from icm_evaluation.plan import Setting

_LIBRARIES = ("torch", "torchmetrics", "timm", "compressai", "pillow", "numpy")


def device_name(pipe: Pipeline) -> str:
    """Where it runs, for people."""
    if pipe.device.type == "cuda":
        return torch.cuda.get_device_name(pipe.device)
    return f"{platform.machine()} {pipe.device.type.upper()}, 1 thread a picture"


def versions(registry: Registry) -> dict[str, str]:
    """Versions of this program, of the libraries that figures may depend on, and of every installed plugin."""
    found = {"icm": __version__, "python": platform.python_version()}
    found |= {library: metadata.version(library) for library in _LIBRARIES}
    for plugin in registry.plugins:
        found.setdefault(plugin.owner.distribution, plugin.owner.version)
    return found


def command_of(options: Options, settings: Sequence[Setting]) -> str:
    """What to type for the same figures, with folders left out: they are of one machine."""
    words = ["icm", "evaluate", Path(options.model).name, "--data", f"{options.data_name}:FOLDER"]
    if options.params:
        words += ["--data-params", options.params]
    words += ["--split", options.split, "-q", _list(setting.quality for setting in settings)]
    if settings[0].enhancement is not None:
        words += ["--enhancement-quality", _list(setting.enhancement for setting in settings)]
    if options.tasks is not None:
        words += ["--tasks", ",".join(options.tasks)]
    if options.limit is not None:
        words += ["--limit", str(options.limit)]
    if options.encoder is not None:
        words += ["--encoder", options.encoder]
    if options.effort:
        words += ["--effort", str(options.effort)]
    if options.search_for is not None:
        words += ["--for", ",".join(options.search_for)]
    if options.precision != "fp32":
        words += ["--precision", options.precision]
    return shlex.join(words)


def _list(values: Iterable[float | None]) -> str:
    """Numbers with commas between them, each once."""
    return ",".join(f"{value:g}" for value in dict.fromkeys(values))
