"""Pictures to the content of ``.icm`` files with a base layer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from icm_camera.coder import Stream, Tables
from icm_camera.exact import Array, Network
from icm_core.bitstream import Container, Layer, LayerKind, write
from icm_core.quality import Quality

VERSION = 1
NEIGHBOURHOOD = 5
GAUSSIANS, PER_OCTAVE, SMALLEST = 80, 8, 0.11
"""Rows of the table of Gaussians, rows an octave, scale of the first: constants of the format."""

Whole = NDArray[np.int64]


class Camera:
    """The encoder of a pipeline with SICMH's codec.

    Args:
        exported: what ``icm export --onnx`` wrote, up to the first dot: ``"exported/sicmh-small"``.
        threads: of onnxruntime.

    Raises:
        ValueError: the tables are of another version.
    """

    def __init__(self, exported: str | Path, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._encoder = onnxruntime.InferenceSession(f"{exported}.encoder.onnx", options)
        with np.load(f"{exported}.camera.npz", allow_pickle=False) as file:
            tables: Mapping[str, NDArray[Any]] = dict(file)
        self.about = json.loads(tables["about"].tobytes())
        if self.about["version"] != VERSION:
            raise ValueError(f"the tables are of version {self.about['version']}; this package reads {VERSION}")
        self._bits, self._limit = self.about["fraction_bits"], self.about["limit"]
        networks = {key: value.tobytes() for key, value in tables.items() if key.startswith("network.")}
        self._decoder_h2 = Network(networks["network.decoder_h2"], self._limit)
        self._prediction = Network(networks["network.prediction"], self._limit)
        self._groups = [Network(networks[f"network.group.{k}"], self._limit) for k in range(self.about["groups"])]
        self._gains = tables["gain_h1"].astype(np.int64), tables["gain_h2"].astype(np.int64)
        self._h2 = tables["h2_cdf"], tables["h2_first"]
        self._gaussian = Tables(tables["gaussian_cdf"], tables["gaussian_size"], tables["gaussian_first"])

    def encode(self, pixels: NDArray[np.uint8], quality: float = 3.0) -> bytes:
        """The file of a picture (H, W, 3), RGB; as ``icm encode --base-only``.

        Raises:
            ValueError: the picture or the quality cannot be used.
        """
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise ValueError(f"a picture is (H, W, 3) of uint8, not {pixels.shape} of {pixels.dtype}")
        if not 1 <= quality <= self.about["qualities"]:
            raise ValueError(f"quality {quality:g} is out of range; it runs from 1 to {self.about['qualities']}")
        height, width = pixels.shape[:2]
        step = self.about["stride"]
        padded = np.pad(pixels, ((0, -height % step), (0, -width % step), (0, 0)), mode="edge")
        x = padded.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
        h1, h2 = self._encoder.run(None, {"picture": x})
        payload = self._coded(h1, h2, Quality.of(quality))
        layer = Layer(LayerKind.BASE, bytes.fromhex(self.about["fingerprint"]), payload)
        return write(Container(height, width, Quality.of(quality), (layer,), truncated=False))

    def _coded(self, h1: NDArray[np.float32], h2: NDArray[np.float32], quality: Quality) -> bytes:
        first, second = (_Gain(table[quality.index], self.about) for table in self._gains)
        stream = Stream()
        cdf, offset = (table[quality.index] for table in self._h2)
        zero = np.zeros(h2.shape, np.int64)
        symbols = second.quantized(self._fixed(h2), zero)
        channels = np.broadcast_to(np.arange(h2.shape[1])[None, :, None, None], h2.shape)
        stream.push(symbols, channels, Tables(cdf, np.full(len(cdf), cdf.shape[1], np.int32), offset))
        h2p = self._predicted(self._decoder_h2(second.restored(symbols, zero).astype(np.float64)))
        mean, scale = np.split(h2p, 2, axis=1)
        latent, decoded = self._fixed(h1), list[Array]()
        size = h1.shape[1] // len(self._groups)
        for k, network in enumerate(self._groups):
            own = slice(k * size, (k + 1) * size)
            change, wider = np.split(network(np.concatenate([h2p, *decoded], 1)), 2, axis=1)
            middle = (mean[:, own] + change).astype(np.int64)
            gain = first.part(own)
            symbols = gain.quantized(latent[:, own], middle)
            decoded.append(gain.restored(symbols, middle).astype(np.float64))
            stream.push(symbols, self._rows((scale[:, own] + wider).astype(np.int64), gain.log2), self._gaussian)
        return stream.finish()

    def _fixed(self, x: NDArray[np.float32]) -> Whole:
        scaled = np.rint(x.astype(np.float64) * 2.0**self._bits)
        return np.clip(scaled, -self._limit, self._limit).astype(np.int64)

    def _predicted(self, x: Array) -> Array:
        """The Prediction Model on the 5x5 patch around each place, a row of places at a time."""
        margin = NEIGHBOURHOOD // 2
        padded = np.pad(x, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
        seen = np.lib.stride_tricks.sliding_window_view(padded[0], (NEIGHBOURHOOD, NEIGHBOURHOOD), (1, 2))
        rows = [self._prediction(seen[:, row].transpose(1, 0, 2, 3))[:, :, 0, 0].T for row in range(x.shape[2])]
        return np.stack(rows, 1)[None]

    def _rows(self, log2_scale: Whole, log2_gain: Whole) -> Whole:
        """Rows of the table of Gaussians."""
        start = round(-np.log2(SMALLEST) * PER_OCTAVE * 2**self._bits) + (1 << (self._bits - 1))
        return np.clip(((log2_scale + log2_gain) * PER_OCTAVE + start) >> self._bits, 0, GAUSSIANS - 1)


class _Gain:
    """Quantisation at one quality, in whole numbers; table (3, C)."""

    def __init__(self, table: Whole, about: Mapping[str, int]) -> None:
        self._table, self._about = table, about
        self._gain, self._inverse, self.log2 = table[:, None, :, None, None]
        self._bits = about["fraction_bits"]

    def part(self, channels: slice) -> _Gain:
        """The gains of some channels."""
        return _Gain(self._table[:, channels], self._about)

    def quantized(self, latent: Whole, mean: Whole) -> Whole:
        """Symbols of a latent around a mean."""
        difference = _scaled(latent, self._gain, self._bits) - _scaled(mean, self._gain, self._bits)
        return np.clip((difference + (1 << (self._bits - 1))) >> self._bits, -self._about["most"], self._about["most"])

    def restored(self, symbols: Whole, mean: Whole) -> Whole:
        """The latent that both sides go on with."""
        gained = (symbols << self._bits) + _scaled(mean, self._gain, self._bits)
        found = _scaled(gained, self._inverse, self._about["inverse_bits"])
        return np.clip(found, -self._about["limit"], self._about["limit"])


def _scaled(number: Whole, factor: Whole, bits: int) -> Whole:
    """round(number * factor / 2**bits), halves upwards."""
    return (number * factor + (1 << (bits - 1))) >> bits
