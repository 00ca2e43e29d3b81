"""The digest of what decoding depends on."""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Callable

import pytest
import torch
from torch import nn

from icm_core.coding import IntegerNetwork, serialize


def test_the_same_parts_give_the_same_digest() -> None:
    parts = ("name", b"\0\1", torch.arange(6).reshape(2, 3))
    assert serialize(*parts) == serialize(*parts)


def test_it_is_sha256_of_each_part_behind_its_length_in_big_endian() -> None:
    expected = hashlib.sha256()
    for part in (b"icm", b"\xff", struct.pack(">qq", 1, -1)):
        expected.update(struct.pack(">Q", len(part)) + part)
    assert serialize("icm", b"\xff", torch.tensor([1, -1], dtype=torch.int32)) == expected.digest()


def test_borders_between_parts_count() -> None:
    found = {serialize("ab", "c"), serialize("a", "bc"), serialize("abc"), serialize("abc", "")}
    assert len(found) == 4


def test_integer_types_do_not_count() -> None:
    table = torch.tensor([[3, -4]])
    assert serialize(table.int()) == serialize(table) == serialize(table.double())


def test_layouts_in_memory_do_not_count() -> None:
    table = torch.arange(16).reshape(1, 4, 2, 2)
    assert serialize(table) == serialize(table.contiguous(memory_format=torch.channels_last))


def conv() -> nn.Conv2d:
    layer = nn.Conv2d(2, 2, 3, padding=1)
    nn.init.constant_(layer.weight, 0.5)
    nn.init.constant_(layer.bias, 0.25)
    return layer


def changed(change: Callable[[nn.Conv2d], object]) -> nn.Conv2d:
    layer = conv()
    with torch.no_grad():
        change(layer)
    return layer


VARIANTS: dict[str, nn.Module] = {
    "conv": conv(),
    "other weight": changed(lambda layer: layer.weight[0, 0, 0, 0].add_(0.01)),
    "other bias": changed(lambda layer: layer.bias[0].add_(0.01)),
    "other padding": changed(lambda layer: setattr(layer, "padding", (0, 0))),
    "other stride": changed(lambda layer: setattr(layer, "stride", (2, 2))),
    "half the weights and bias": changed(lambda layer: (layer.weight.mul_(0.5), layer.bias.mul_(0.5))),
    "relu": nn.ReLU(),
    "leaky relu": nn.LeakyReLU(0.2),
    "leakier relu": nn.LeakyReLU(0.3),
    "shuffle": nn.PixelShuffle(2),
    "unshuffle": nn.PixelUnshuffle(2),
    "shuffle 3": nn.PixelShuffle(3),
    "flatten": nn.Flatten(),
    "two": nn.Sequential(conv(), nn.ReLU()),
    "two, the other way round": nn.Sequential(nn.ReLU(), conv()),
}


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(VARIANTS, 2)))
def test_networks_that_compute_different_things_differ(one: str, other: str) -> None:
    assert IntegerNetwork("a", VARIANTS[one]).state() != IntegerNetwork("a", VARIANTS[other]).state()


def test_what_a_network_is_called_does_not_count() -> None:
    assert IntegerNetwork("a", conv()).state() == IntegerNetwork("b", nn.Sequential(conv())).state()
