"""Networks that make pictures, and the one that judges them: sizes, and what they do not see."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icm_core import SpecError
from icm_core.types import Features, Level, SideInfo, SideInfoLayout
from icm_related.gan import Discriminator
from icm_related.synthesis import Synthesis


def made(cls: Any, *more: Any, **params: Any) -> Any:
    return cls(cls.Params(**params), *more)


def test_a_discriminator_sees_no_padding() -> None:
    head = made(Discriminator, {"image": Level(3, 1)}, width=4, layers=2).eval()
    x = torch.rand(2, 3, 64, 80, generator=torch.Generator().manual_seed(1))
    padded, plain = (head(Features({"image": one}, (50, 70))) for one in (x, x[..., :50, :70]))
    assert torch.equal(padded, plain)


def test_each_layer_of_a_discriminator_has_twice_the_channels_of_the_one_before() -> None:
    head = made(Discriminator, {"image": Level(3, 1)}, width=4, layers=4)
    widths = [layer.out_channels for layer in head.layers if isinstance(layer, nn.Conv2d)]
    assert widths == [4, 8, 16, 32, 1]


def test_each_scale_of_a_generator_of_pictures_has_half_the_channels_and_at_least_8() -> None:
    network = made(Synthesis, SideInfoLayout((Level(4, 1),), 8), channels=64)
    widths = [[layer.out_channels for layer in block.modules() if isinstance(layer, nn.Conv2d)]
              for block in network.blocks]  # fmt: skip
    assert widths == [[64, 64], [32, 32], [16, 16], [8, 8], [8, 8]]


def test_a_label_map_of_three_classes_is_no_picture() -> None:
    network = made(Synthesis, SideInfoLayout((Level(3, 1), Level(3, 8)), 8), channels=16)
    for parameter in network.last.parameters():
        nn.init.zeros_(parameter)
    label_map, small = torch.zeros(1, 3, 32, 48), torch.rand(1, 3, 4, 6)
    label_map[:, 1] = 1
    image = network(SideInfo((label_map, small), (32, 48))).maps["image"]
    assert torch.equal(image, F.interpolate(small, scale_factor=8, mode="bicubic"))


def test_what_is_coarser_than_1_16_comes_in_there_too() -> None:
    torch.manual_seed(0)
    network = made(Synthesis, SideInfoLayout((Level(4, 1), Level(6, 32)), 8), channels=16)
    label_map = torch.rand(1, 4, 64, 96)
    seen: list[Tensor] = []
    network.blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    coarse = torch.rand(1, 6, 2, 3)
    network(SideInfo((label_map, coarse), (64, 96)))
    assert torch.equal(seen[0][:, 4:], coarse.repeat_interleave(2, 2).repeat_interleave(2, 3))


@pytest.mark.parametrize("stride", [3, 12, 24])
def test_strides_that_are_no_powers_of_two_are_refused(stride: int) -> None:
    with pytest.raises(SpecError, match=f"powers of two, and the codec gives .*stride={stride}"):
        made(Synthesis, SideInfoLayout((Level(4, 1), Level(5, stride)), 8))


def test_a_label_map_coarser_than_1_16_is_refused() -> None:
    made(Synthesis, SideInfoLayout((Level(4, 16),), 8), channels=16)
    with pytest.raises(SpecError, match="reads a label map at 1/16 or finer"):
        made(Synthesis, SideInfoLayout((Level(4, 32),), 8), channels=16)
