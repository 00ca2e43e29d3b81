"""What is known of a shipped pipeline without loading it, and which of several wrote a file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from icm_core.bitstream.container import Container


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


def writer_of(file: Container, shipped: Iterable[Shipped]) -> str | None:
    """Name of the pipeline that wrote a file, None if it is none of these."""
    fine = file.enhancement
    return find(shipped, file.base.fingerprint, fine.fingerprint if fine else None)


def find(shipped: Iterable[Shipped], base: bytes, enhancement: bytes | None = None) -> str | None:
    """Name of the pipeline that decodes layers with these fingerprints, None if there is none.

    Args:
        shipped: the pipelines that are asked.
        base: fingerprint of a file's base layer.
        enhancement: fingerprint of its enhancement layer. A pipeline that has it too is preferred, because
            several can share a base layer. One that extends no other comes before those that extend it.
    """
    matches = []
    for one in shipped:
        if base.hex() in one.bases:
            refines = enhancement is not None and enhancement.hex() in one.enhancements
            matches.append((not refines, one.extends, one.name))
    return min(matches)[-1] if matches else None
