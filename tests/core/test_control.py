"""Control hashes: optional, counted, and a decoder that goes wrong is found out by them."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import struct

import pytest
import torch

from icm_core import BitstreamError, Pipeline
from icm_core.bitstream.container import Layer, LayerKind, read, write
from icm_core.bitstream.control_hash import check_control, control_hash


@pytest.fixture
def coded(pipeline: Pipeline, picture: torch.Tensor) -> bytes:
    return pipeline.encode(picture, 2, control=True, enhancement=False)


def test_a_control_hash_costs_four_bytes_and_is_counted(
    pipeline: Pipeline, picture: torch.Tensor, coded: bytes
) -> None:
    plain = pipeline.encode(picture, 2, enhancement=False)
    assert len(coded) == len(plain) + 4
    assert read(coded).overhead == read(plain).overhead + 4 == 26
    assert read(coded).base_bytes == len(coded)
    assert read(plain).base.control == b""


def test_decoding_says_which_layers_were_verified(pipeline: Pipeline, coded: bytes) -> None:
    assert pipeline.decode(coded, verify=True).verified == (LayerKind.BASE,)
    assert pipeline.decode(coded).verified == ()


def test_files_with_and_without_hash_decode_alike(pipeline: Pipeline, picture: torch.Tensor, coded: bytes) -> None:
    plain = pipeline.encode(picture, 2, enhancement=False)
    assert torch.equal(pipeline.decode(coded)["coarse"].output, pipeline.decode(plain)["coarse"].output)


def test_another_hash_than_the_symbols_have_is_named(pipeline: Pipeline, coded: bytes) -> None:
    file = read(coded)
    wrong = dataclasses.replace(file.base, control=b"\1\2\3\4")
    blob = write(dataclasses.replace(file, layers=(wrong,)))
    own = file.base.control.hex()
    with pytest.raises(BitstreamError, match=f"its control hash is 01020304, and the decoded symbols have {own}"):
        pipeline.decode(blob, verify=True)
    assert pipeline.decode(blob)["coarse"].output.shape[-2:] == (37, 53)


def test_a_file_without_hash_cannot_be_verified(pipeline: Pipeline, picture: torch.Tensor) -> None:
    with pytest.raises(BitstreamError, match="the base layer carries no control hash; encode with --control"):
        pipeline.decode(pipeline.encode(picture), verify=True)


def test_an_enhancement_without_exact_latent_is_left_unverified(pipeline: Pipeline, picture: torch.Tensor) -> None:
    blob = pipeline.encode(picture, control=True)
    assert read(blob).enhancement is not None and read(blob).enhancement.control == b""
    assert pipeline.decode(blob, ["fine"], verify=True).verified == (LayerKind.BASE,)


def test_a_hash_depends_on_every_number_and_on_shapes() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    other = x.clone()
    other[1, 2] += 2.0**-12
    hashes = [control_hash([t]) for t in (x, other, x.reshape(3, 2), x.flip(0))]
    assert len(set(hashes)) == 4 and all(len(one) == 4 for one in hashes)
    assert control_hash([x.t().contiguous().t()]) == hashes[0]
    assert control_hash([x, other]) != control_hash([other, x])


def test_both_zeros_of_floats_are_the_number_zero() -> None:
    assert control_hash([torch.tensor([-0.0, 1.0])]) == control_hash([torch.tensor([0.0, 1.0])])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int64])
def test_the_type_of_the_numbers_does_not_count(dtype: torch.dtype) -> None:
    x = torch.tensor([[1.0, -2.0], [96.0, 0.0]])
    assert control_hash([x.to(dtype)]) == control_hash([x]) == control_hash([x.clone().requires_grad_()])


def test_a_hash_is_sha256_of_shapes_and_of_little_endian_float32() -> None:
    content = b"(2, 1)\n" + struct.pack("<2f", 1.5, -2.0) + b"(1,)\n" + struct.pack("<f", 0.0)
    found = control_hash([torch.tensor([[1.5], [-2.0]], dtype=torch.float64), torch.tensor([0])])
    assert found == hashlib.sha256(content).digest()[:4]


@pytest.mark.parametrize("shape", [(), (3, 2**19 + 1), (2**20 + 2, 1)], ids=str)
def test_tensors_of_any_size_are_hashed_to_their_end(shape: tuple[int, ...]) -> None:
    numbers = torch.arange(math.prod(shape)).reshape(shape) % 4093
    content = f"{shape}\n".encode() + numbers.numpy().astype("<f4").tobytes()
    assert control_hash([numbers]) == hashlib.sha256(content).digest()[:4]


def test_every_flipped_bit_of_a_file_with_hashes_is_noticed(pipeline: Pipeline, picture: torch.Tensor) -> None:
    plain = read(pipeline.encode(picture[:, :8, :8]))
    layers = [dataclasses.replace(layer, control=b"abcd") for layer in plain.layers]
    for kept in ([layers[0], layers[1]], [plain.layers[0], layers[1]], [layers[0], plain.layers[1]], layers[:1]):
        blob = write(dataclasses.replace(plain, layers=tuple(kept)))
        for bit in range(8 * len(blob)):
            flipped = bytearray(blob)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises(BitstreamError):
                read(bytes(flipped))


@pytest.mark.parametrize("own", [b"\1\2\3\4", b"\0\0\0\0", b"\1\2\0\0", b"\0\0\3\4"])
def test_a_hash_is_compared_to_its_last_byte(own: bytes) -> None:
    layer = Layer(LayerKind.ENHANCEMENT, b"abcd", b"payload", own)
    check_control(layer, own)
    for place in range(4):
        found = bytearray(own)
        found[place] ^= 5
        with pytest.raises(BitstreamError, match=rf"the enhancement layer .* is {own.hex()}, .* have {found.hex()}$"):
            check_control(layer, bytes(found))


def test_numbers_count_in_the_shape_that_they_have() -> None:
    x = torch.arange(6.0)
    assert len({control_hash([x.reshape(shape)]) for shape in ((6,), (1, 6), (6, 1), (2, 3), (3, 2))}) == 5
    assert control_hash([x[:2], x[2:]]) != control_hash([x[:4], x[4:]])
    assert control_hash([torch.zeros(0, 3)]) != control_hash([torch.zeros(3, 0)]) != control_hash([])
