"""Which pipeline reads a file: the one that was asked for, or the one whose fingerprint the file carries."""

from __future__ import annotations

from icm_core import load
from icm_core.bitstream.container import Container
from icm_core.errors import BitstreamError
from icm_core.pipeline.identify import Fingerprints
from icm_core.pipeline.pipeline import Pipeline
from icm_core.plugins.registry import build_registry


class Pipelines:
    """Pipelines by fingerprint, each loaded once.

    Args:
        model: a pipeline's name or spec file that reads every file; None to look each file's up.
        device: as in `icm_core.load`.
        precision: as in `icm_core.load`.
    """

    def __init__(self, model: str | None, device: str, precision: str) -> None:
        self._device = device
        self._precision = precision
        self._registry = build_registry()
        self._fingerprints = Fingerprints(self._registry)
        self._loaded: dict[str, Pipeline] = {}
        self._model = model
        if model is not None:
            self._load(model)

    def of(self, container: Container) -> Pipeline:
        """The pipeline that reads a file; `BitstreamError` if none of the installed ones does."""
        if self._model is not None:
            return self._load(self._model)
        name = self._fingerprints.of(container)
        if name is None:
            raise BitstreamError(
                f"no installed pipeline has the fingerprint {container.base.fingerprint.hex()} of this file; "
                "name its spec file with -m"
            )
        return self._load(name)

    def _load(self, model: str) -> Pipeline:
        if model not in self._loaded:
            self._loaded[model] = load(model, device=self._device, precision=self._precision, registry=self._registry)
        return self._loaded[model]
