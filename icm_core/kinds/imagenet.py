"""The 1000 classes of ILSVRC (ImageNet-1k), from the lists that timm brings along."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

COUNT = 1000


@cache
def synsets() -> tuple[str, ...]:
    """WordNet ids (``n01440764``, ...) in the order of the classes, which is also their sorted order."""
    return tuple(_lines("imagenet_synsets.txt"))


@cache
def names() -> tuple[str, ...]:
    """English names in the order of the classes."""
    lemmas = dict(line.split("\t") for line in _lines("imagenet_synset_to_lemma.txt"))
    return tuple(lemmas[synset] for synset in synsets())


def _lines(file: str) -> list[str]:
    # Read as a file: importing timm for it would take seconds.
    spec = importlib.util.find_spec("timm")
    assert spec is not None and spec.origin is not None  # it is required
    return Path(spec.origin).with_name("data").joinpath("_info", file).read_text(encoding="utf-8").splitlines()
