"""What a file says of itself, as JSON: for `icm info --json`, `icm decode --json` and services."""

from __future__ import annotations

from typing import TypedDict

from icm_core.bitstream.container import Container


class About(TypedDict):
    """What is known of a file before anything is decoded, and which pipeline reads it."""

    pipeline: str
    height: int
    width: int
    quality: float
    bytes: int
    bpp: float
    truncated: bool


class LayerRow(TypedDict):
    """One layer; ``bytes`` is its payload, ``control`` its control hash or null."""

    kind: str
    quality: float
    bytes: int
    control: str | None


def layer_rows(file: Container) -> list[LayerRow]:
    """A file's layers in order."""
    return [
        LayerRow(
            kind=str(layer.kind),
            quality=(layer.quality or file.quality).value,
            bytes=len(layer.payload),
            control=layer.control.hex() or None,
        )
        for layer in file.layers
    ]


def about(file: Container, size: int, pipeline: str) -> About:
    """What a file says of itself.

    Args:
        file: the file as it was read.
        size: its length in bytes.
        pipeline: name of the pipeline that reads it.
    """
    return About(
        pipeline=pipeline,
        height=file.height,
        width=file.width,
        quality=file.quality.value,
        bytes=size,
        bpp=8 * size / (file.height * file.width),
        truncated=file.truncated,
    )
