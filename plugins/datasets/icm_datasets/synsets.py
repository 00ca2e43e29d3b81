"""Numbers of the 1000 classes of ILSVRC (ImageNet-1k)."""

from __future__ import annotations

from functools import cache

from icm_core.kinds.imagenet import COUNT, names, synsets

__all__ = ["COUNT", "names", "numbers", "synsets"]


@cache
def numbers() -> dict[str, int]:
    """Class of each WordNet id."""
    return {synset: index for index, synset in enumerate(synsets())}
