"""Which shipped pipeline wrote a file: found by the fingerprints that the file carries, without loading weights.

And what a loaded pipeline is, to the last weight.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

import torch

from icm_core.bitstream.container import Container
from icm_core.bitstream.fingerprint import base_fingerprint
from icm_core.errors import SpecError, WeightsError
from icm_core.pipeline.pipeline import Pipeline
from icm_core.pipeline.weights import BASE, ENHANCEMENT, metadata
from icm_core.plugins.registry import Registry
from icm_core.spec.extends import compose
from icm_core.spec.model import PipelineSpec
from icm_core.spec.places import CODEC
from icm_core.spec.places import ENHANCEMENT as REFINES
from icm_core.spec.resolve import resolve


@dataclass(frozen=True)
class Shipped:
    """What is known of a shipped pipeline without loading it.

    Attributes:
        name: its name.
        extends: whether its spec extends another.
        bases: fingerprints of its base layers, hexadecimal.
        enhancements: fingerprints of its enhancement layers.
    """

    name: str
    extends: bool
    bases: frozenset[str]
    enhancements: frozenset[str]


class Fingerprints:
    """The fingerprints of every shipped pipeline; each spec and file is read once, when the first is asked for.

    Args:
        registry: whose specs are searched. Codecs without weights, such as the external ones, have theirs computed.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @cached_property
    def shipped(self) -> tuple[Shipped, ...]:
        """All that can be read; a damaged pipeline is no answer, and nobody's business here."""
        found = []
        for name in self._registry.specs.names:
            try:
                found.append(_looked_at(name, self._registry))
            except (SpecError, WeightsError):
                continue
        return tuple(found)

    def of(self, file: Container) -> str | None:
        """Name of the pipeline that wrote a file, None if it is none of these."""
        fine = file.enhancement
        return self.find(file.base.fingerprint, fine.fingerprint if fine else None)

    def find(self, base: bytes, enhancement: bytes | None = None) -> str | None:
        """Name of the pipeline that decodes layers with these fingerprints, None if there is none.

        Args:
            base: fingerprint of a file's base layer.
            enhancement: fingerprint of its enhancement layer. A pipeline that has it too is preferred, because
                several can share a base layer. One that extends no other comes before those that extend it.
        """
        matches = []
        for one in self.shipped:
            if base.hex() in one.bases:
                refines = enhancement is not None and enhancement.hex() in one.enhancements
                matches.append((not refines, one.extends, one.name))
        return min(matches)[-1] if matches else None


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


def _looked_at(name: str, registry: Registry) -> Shipped:
    composed = compose(registry.specs.get(name), registry)
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
