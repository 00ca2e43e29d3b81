"""The exact layers against sums in Python's integers, and streams too short for the coder."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import torch
from icm_camera.coder import Stream, Tables
from icm_camera.exact import Network

from icm_core.coding import CdfTables, StreamEncoder

LIMIT = 2**23 - 1


def convolution(weight: np.ndarray, bias: list[int], shift: int, stride: int, padding: int) -> bytes:
    outputs, inputs, kernel, _ = weight.shape
    head = struct.pack(">4sIIIIII", b"conv", outputs, inputs, kernel, shift, stride, padding)
    return head + np.concatenate([weight.ravel(), bias]).astype(">i8").tobytes()


@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (2, 1), (1, 0)])
def test_a_convolution_is_the_sum_in_whole_numbers(stride: int, padding: int) -> None:
    generator = np.random.default_rng(0)
    weight, bias = generator.integers(-(2**15), 2**15, (2, 3, 3, 3)), [7, -(2**30)]
    x = generator.integers(-LIMIT, LIMIT, (1, 3, 5, 6))
    found = Network(convolution(weight, bias, 17, stride, padding), LIMIT)(x.astype(np.float64))
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    for o, row, column in np.ndindex(found.shape[1:]):
        part = padded[0, :, row * stride : row * stride + 3, column * stride : column * stride + 3]
        total = sum(int(a) * int(b) for a, b in zip(weight[o].ravel(), part.ravel(), strict=True)) + bias[o]
        assert found[0, o, row, column] == max(-LIMIT, min(LIMIT, (total + (1 << 16)) >> 17))


def test_places_become_channels_and_back() -> None:
    x = np.arange(2 * 3 * 4 * 6.0).reshape(2, 3, 4, 6)
    there = Network(struct.pack(">4sI", b"pack", 2), LIMIT)(x)
    assert there.shape == (2, 12, 2, 3) and there[1, 6, 1, 2] == x[1, 1, 3, 4]
    assert np.array_equal(Network(struct.pack(">4sI", b"open", 2), LIMIT)(there), x)


def test_below_zero_a_slope_in_65536ths_is_rounded_down() -> None:
    x = np.array([[[[-7.0, -1, 0, 5, -(2.0**23) + 1]]]])
    found = Network(struct.pack(">4sI", b"relu", 13107), LIMIT)(x)
    assert found.ravel().tolist() == [(-7 * 13107) >> 16, -1, 0, 5, ((1 - 2**23) * 13107) >> 16]
    assert found.ravel()[0] == -2


def test_an_unknown_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="has a layer 'gelu', which this package does not know; it is too old"):
        Network(struct.pack(">4sI", b"gelu", 0), LIMIT)


@pytest.mark.parametrize("count", range(1, 7))
def test_a_stream_of_few_symbols_is_the_one_that_icm_writes(count: int) -> None:
    cdf, size, first = np.array([[0, 30000, 65000, 65536]]), np.array([4]), np.array([-1])
    symbols, rows = np.array([[0, 1, -1, 0, 1, 0][:count]]), np.zeros((1, count), np.int64)
    stream, icm = Stream(), StreamEncoder()
    stream.push(symbols, rows, Tables(cdf, size, first))
    tables = CdfTables.from_tensor(*(torch.from_numpy(one).int() for one in (cdf, size, first)))
    icm.push(torch.from_numpy(symbols), torch.from_numpy(rows), tables)
    assert stream.finish() == icm.finish()
