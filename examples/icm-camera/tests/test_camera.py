"""The exact layers against sums in Python's integers, streams and whole numbers against those that icm writes."""

from __future__ import annotations

import importlib.util
import struct
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from icm_camera import Camera
from icm_camera.camera import _Gain
from icm_camera.coder import Stream, Tables, _extension
from icm_camera.exact import Network

from icm_core import Quality
from icm_core.coding import CdfTables, StreamEncoder
from icm_sicmh import Hyperprior
from icm_sicmh.gain import GainUnit

LIMIT = 2**23 - 1
MAX_SYMBOL = 2**14


def test_the_range_coder_is_found_without_the_package_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "compressai"]:
        monkeypatch.delitem(sys.modules, name)
    assert hasattr(_extension(), "BufferedRansEncoder")
    assert "compressai" not in sys.modules  # it would import PyTorch
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="the range coder is missing: pip install --no-deps compressai"):
        _extension()


def test_rows_of_tables_are_as_long_as_is_said() -> None:
    cdf = np.array([[0, 9, 65536, 0], [0, 5, 7, 65536]], np.int32)
    tables = Tables(cdf, np.array([3, 4], np.int32), np.array([-1, 2], np.int32))
    assert tables.rows == [[0, 9, 65536], [0, 5, 7, 65536]]
    assert (tables.sizes, tables.offsets) == ([3, 4], [-1, 2])


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
    assert stream._count == count  # how many are missing; the coder dies of a stream that is too short
    tables = CdfTables.from_tensor(*(torch.from_numpy(one).int() for one in (cdf, size, first)))
    icm.push(torch.from_numpy(symbols), torch.from_numpy(rows), tables)
    assert stream.finish() == icm.finish()


@pytest.mark.parametrize("far", [1, 2**30])
def test_gains_are_icm_s_to_the_last_bit(far: int) -> None:
    unit = GainUnit(6, 3, 2.0, 8.0).requires_grad_(False)
    torch.nn.init.uniform_(unit.log2_gain, -2, 4, generator=torch.Generator().manual_seed(0))
    unit.freeze()
    about = {"fraction_bits": 12, "inverse_bits": 20, "limit": LIMIT, "most": MAX_SYMBOL}
    generator = np.random.default_rng(0)
    latent, mean = (generator.integers(-(2**14), 2**14, (2, 6, 3, 5)) for _ in range(2))
    latent[0, :, 0] *= far
    for index in (16, 23, 48):
        theirs, ours = unit.row(Quality(index)), _Gain(unit.table[index - 16].numpy().astype(np.int64), about)
        for part in (slice(0, 6), slice(1, 3), slice(4, 6)):
            gain, expected = ours.part(part), theirs.part(part)
            assert np.array_equal(gain.log2, expected.log2.numpy())
            its, around = torch.from_numpy(latent[:, part]), torch.from_numpy(mean[:, part])
            symbols = expected.quantize(its, around, MAX_SYMBOL)
            found = gain.quantized(latent[:, part], mean[:, part])
            assert np.array_equal(found, symbols.numpy())
            assert (np.abs(found).max() == MAX_SYMBOL) == (far > 1)
            assert np.array_equal(gain.restored(found, mean[:, part]), expected.dequantize(symbols, around).numpy())


def test_halves_are_rounded_upwards() -> None:
    table = np.array([[2048], [2**21], [-4096]])  # a gain of 1/2, its inverse and its logarithm
    gain = _Gain(table, {"fraction_bits": 12, "inverse_bits": 20, "limit": LIMIT, "most": MAX_SYMBOL})
    latent = np.array([4095, 4093, -4097, -4099]).reshape(1, 1, 1, 4)
    # Halves of them are 2047.5, 2046.5, -2048.5 and -2049.5 in steps of 1/4096; a symbol begins at 2048 and -2048.
    assert gain.quantized(latent, np.zeros_like(latent)).ravel().tolist() == [1, 0, 0, -1]
    mean = np.array([1, -1, 3, 4]).reshape(1, 1, 1, 4)
    assert gain.restored(np.zeros_like(mean), mean).ravel().tolist() == [2, 0, 4, 4]


@pytest.fixture(scope="module")
def codec() -> Hyperprior:
    """A codec of toy widths whose context has something to say."""
    torch.manual_seed(0)
    made = Hyperprior(
        Hyperprior.Params(width=12, h1_channels=24, h2_channels=8, groups=4, context_channels=8, qualities=3)
    )
    made.eval().requires_grad_(False)
    for network in made.cahcm.networks:
        torch.nn.init.normal_(network[-1].weight, std=0.1)
    for bias in made.density.biases:
        bias.mul_(0.1)
    for gains in (made.gain_h1.log2_gain, made.gain_h2.log2_gain):
        gains.add_(torch.rand(gains.shape) - 0.5)  # channels of their own
    made.freeze_tables()
    return made


@pytest.fixture(scope="module")
def camera(codec: Hyperprior, tmp_path_factory: pytest.TempPathFactory) -> Camera:
    """A camera with that codec's tables, and without a network that sees."""
    folder = tmp_path_factory.mktemp("camera")
    np.savez(folder / "toy.camera.npz", **codec.camera_tables())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxruntime, "InferenceSession", lambda path, options: None)
        return Camera(folder / "toy")


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (3, 1)])
@pytest.mark.parametrize("quality", [1.0, 2.0625, 3.0])
def test_streams_are_those_that_icm_writes_of_the_same_latents(
    codec: Hyperprior, camera: Camera, size: tuple[int, int], quality: float
) -> None:
    generator, (height, width) = torch.Generator().manual_seed(1), size
    h1 = 3 * torch.randn(1, 24, 2 * height, 2 * width, generator=generator)
    h2 = 4 * torch.randn(1, 8, height, width, generator=generator)
    h1[0, 2] *= 1000  # beyond the rows of tables
    h1[0, 3:5] *= 1e15  # and beyond what products of 64 bits hold, were it not for the limit of latents
    h2[0, 1] *= 1e15
    (stream,), _ = codec.encode_latents(h1, h2, Quality.of(quality))
    assert camera._coded(h1.numpy(), h2.numpy(), Quality.of(quality)) == stream


def test_latents_are_rounded_to_even_and_held(camera: Camera) -> None:
    x = np.array([0.5, 1.5, -0.5, 2.25, 1e9, -1e30]) / 4096
    found = camera._fixed(np.array([*x[:4], 1e9, -1e30], np.float32))
    assert found.tolist() == [0, 2, 0, 2, LIMIT, -LIMIT]


def test_a_network_of_no_layer_hands_on_numbers_of_64_bits() -> None:
    x = np.array([[[[2.0**24 + 1, -(2.0**23)]]]])
    found = Network(b"", LIMIT)(x)
    assert found.dtype == np.float64 and np.array_equal(found, x)
