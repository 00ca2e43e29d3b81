"""Which shipped pipeline wrote a file: found by the fingerprints that the file carries, without loading weights.

And what a loaded pipeline is, to the last weight.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from icm_core.bitstream.container import Container
from icm_core.bitstream.fingerprint import base_fingerprint
from icm_core.errors import SpecError, WeightsError
from icm_core.pipeline.pipeline import Pipeline
from icm_core.pipeline.shipped import Shipped, find, writer_of
from icm_core.pipeline.weights import BASE, ENHANCEMENT, metadata
from icm_core.plugins.registry import Registry
from icm_core.spec.extends import Composed, compose
from icm_core.spec.model import PipelineSpec
from icm_core.spec.places import CODEC
from icm_core.spec.places import ENHANCEMENT as REFINES
from icm_core.spec.resolve import resolve


@dataclass(frozen=True)
class Looked:
    """The shipped pipelines of an installation.

    Attributes:
        shipped: all that can be read.
        files: the files that this was read from.
        whole: whether all could be read.
    """

    shipped: tuple[Shipped, ...]
    files: frozenset[Path]
    whole: bool


class Fingerprints:
    """The fingerprints of every shipped pipeline; each spec and file is read once, when the first is asked for.

    Args:
        registry: whose specs are searched. Codecs without weights, such as the external ones, have theirs computed.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @cached_property
    def looked(self) -> Looked:
        """All that can be read, and where it stands; a damaged pipeline is no answer, and nobody's business here."""
        found, files, names = [], set(), self._registry.specs.names
        for name in names:
            try:
                composed = compose(self._registry.specs.get(name), self._registry)
                found.append(_looked_at(name, composed, self._registry))
            except (SpecError, WeightsError):
                continue
            inherited = (source.file for source in composed.inherited)
            files |= {*composed.origins.values(), *composed.weights, *inherited, *composed.spec.files.values()}
        return Looked(tuple(found), frozenset(files), len(found) == len(names))

    @property
    def shipped(self) -> tuple[Shipped, ...]:
        """All that can be read."""
        return self.looked.shipped

    def of(self, file: Container) -> str | None:
        """Name of the pipeline that wrote a file, None if it is none of these."""
        return writer_of(file, self.shipped)

    def find(self, base: bytes, enhancement: bytes | None = None) -> str | None:
        """Name of the pipeline that decodes layers with these fingerprints; see `icm_core.pipeline.shipped.find`."""
        return find(self.shipped, base, enhancement)


def weights_digest(pipe: Pipeline) -> str:
    """Names a pipeline's spec and everything that was loaded into it: 16 hexadecimal digits of a SHA-256.

    What its tasks were trained on is left out: the weights are what came of it.
    """
    spec = pipe.spec.to_json()
    for task in spec["tasks"].values():
        task.pop("trained_on", None)
    found = hashlib.sha256(json.dumps(spec, sort_keys=True).encode())
    for name, tensor in sorted(pipe.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


def _looked_at(name: str, composed: Composed, registry: Registry) -> Shipped:
    own = [metadata(file) for file in composed.weights]
    older = [(metadata(source.file), source.parts) for source in composed.inherited]
    bases = [*own, *(entry for entry, parts in older if CODEC in parts)]
    fine = [*own, *(entry for entry, parts in older if {CODEC, REFINES} <= parts)]
    found = _values(bases, BASE)
    if not bases and (computed := _stateless(composed.spec, registry)) is not None:
        found |= {computed.hex()}
    return Shipped(name, bool(composed.inherited), frozenset(found), frozenset(_values(fine, ENHANCEMENT)))


def _values(entries: list[dict[str, str]], key: str) -> set[str]:
    return {entry[key] for entry in entries if key in entry}


def _stateless(spec: PipelineSpec, registry: Registry) -> bytes | None:
    """Fingerprint of a pipeline whose codec has no weights, None if it has some."""
    found = resolve(spec, registry).codec
    with torch.device("meta"):
        codec = found.cls(found.params)
    return None if codec.state_dict() else base_fingerprint(codec)
