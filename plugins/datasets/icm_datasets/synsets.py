"""The 1000 classes of ILSVRC (ImageNet-1k), from the lists that timm brings along."""

from __future__ import annotations

from functools import cache

from timm.data.imagenet_info import ImageNetInfo

COUNT = 1000


@cache
def synsets() -> tuple[str, ...]:
    """WordNet ids (``n01440764``, ...) in the order of the classes, which is also their sorted order."""
    info = ImageNetInfo("imagenet-1k")
    return tuple(info.index_to_label_name(index) for index in range(COUNT))


@cache
def numbers() -> dict[str, int]:
    """Class of each WordNet id."""
    return {synset: index for index, synset in enumerate(synsets())}


@cache
def names() -> tuple[str, ...]:
    """English names in the order of the classes."""
    info = ImageNetInfo("imagenet-1k")
    return tuple(info.index_to_description(index) for index in range(COUNT))
