"""The exact networks in NumPy: the same whole numbers as icm's, which are the same in any order of sums."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Layer = Callable[[Array], Array]
SLOPE_BITS = 16


class Network:
    """An integer network from the bytes that `icm_core.coding.IntegerNetwork.state` gives.

    Args:
        state: the bytes.
        limit: largest magnitude of a number between two layers.
    """

    def __init__(self, state: bytes, limit: int) -> None:
        self.layers: list[Layer] = []
        at = 0
        while at < len(state):
            kind = state[at : at + 4].rstrip(b"\0").decode()
            if kind == "conv":
                outputs, inputs, kernel, shift, stride, padding = struct.unpack_from(">IIIIII", state, at + 4)
                at += 28
                count = outputs * inputs * kernel * kernel
                numbers = np.frombuffer(state, ">i8", count + outputs, at).astype(np.float64)
                at += 8 * (count + outputs)
                weight = numbers[:count].reshape(outputs, inputs, kernel, kernel)
                self.layers.append(_convolution(weight, numbers[count:], shift, stride, padding, limit))
            else:
                (number,) = struct.unpack_from(">I", state, at + 4)
                at += 8
                self.layers.append(_other(kind, number))

    def __call__(self, x: Array) -> Array:
        """Fixed-point numbers (B, C, h, w), as float64, through all layers."""
        for layer in self.layers:
            x = layer(x)
        return x


def _convolution(weight: Array, bias: Array, shift: int, stride: int, padding: int, limit: int) -> Layer:
    kernel = weight.shape[2]
    taps = weight.reshape(len(weight), -1).T  # (C k k, out)

    def run(x: Array) -> Array:
        padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
        seen = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (2, 3))[:, :, ::stride, ::stride]
        batch, _, height, width = seen.shape[:4]
        total = seen.transpose(0, 2, 3, 1, 4, 5).reshape(-1, len(taps)) @ taps + bias
        scaled = np.clip(np.floor(total * 2.0**-shift + 0.5), -limit, limit)
        return scaled.reshape(batch, height, width, -1).transpose(0, 3, 1, 2)

    return run


def _other(kind: str, number: int) -> Layer:
    if kind == "relu":
        return lambda x: np.maximum(x, np.floor(x * (number * 2.0**-SLOPE_BITS)))
    if kind == "flat":
        return lambda x: x.reshape(len(x), -1, 1, 1)
    if kind == "open":
        return lambda x: _opened(x, number)
    if kind == "pack":
        return lambda x: _packed(x, number)
    raise ValueError(f"a network has a layer {kind!r}, which this package does not know; it is too old")


def _opened(x: Array, factor: int) -> Array:
    """Channels into places, as PixelShuffle."""
    batch, channels, height, width = x.shape
    split = x.reshape(batch, channels // factor**2, factor, factor, height, width)
    return split.transpose(0, 1, 4, 2, 5, 3).reshape(batch, -1, height * factor, width * factor)


def _packed(x: Array, factor: int) -> Array:
    """Places into channels, as PixelUnshuffle."""
    batch, channels, height, width = x.shape
    split = x.reshape(batch, channels, height // factor, factor, width // factor, factor)
    return split.transpose(0, 1, 3, 5, 2, 4).reshape(batch, -1, height // factor, width // factor)
