"""What a head around a network takes and gives back: constants, refused inputs, masks of any type."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from icm_core.types import Features, Level
from icm_core.wrap import IMAGENET_MEAN, IMAGENET_STD, Input, ModuleHead


def test_means_and_deviations_of_imagenet_are_those_of_timm() -> None:
    assert (IMAGENET_MEAN, IMAGENET_STD) == (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)


@pytest.mark.parametrize("wrong", [{"std": (1.0,)}, {"std": (0.5, 0.5, 0.5, 0.5)}, {"mean": (0.5, 0.5)}])
def test_means_and_deviations_are_of_three_channels(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="both have three values"):
        Input(**wrong)


class Masks(ModuleHead):
    """The bright half of a picture twice as wide as high, as one thing."""

    name = "test.masks"
    kind = "instances"
    labels = ("bright",)
    wants = Input(size=(20, 20))

    def network(self) -> nn.Module:
        return nn.Identity()

    def read(self, answer: Tensor, fitted: object) -> list[dict[str, Tensor]]:
        return [{"masks": (one.mean(0) > 0.5)[None]} for one in answer]


def test_masks_of_truth_values_in_three_dimensions_are_moved_too() -> None:
    picture = torch.zeros(1, 3, 20, 40)
    picture[..., 16:] = 1
    head = Masks(Masks.Params(), {"image": Level(3, 1)})
    (found,) = head(Features({"image": picture}, (20, 40)))
    expected = (torch.arange(40) >= 16).float().expand(1, 1, 20, 40)
    assert found["masks"].shape == (1, 1, 20, 40)
    assert torch.equal((found["masks"] > 0.5).float(), expected)


class Colours(ModuleHead):
    """A network with weights."""

    name = "test.colours"
    kind = "segmentation"
    labels = ("dark", "bright")

    def network(self) -> nn.Module:
        return nn.Conv2d(3, 2, 1)


def test_weights_under_the_heads_names_are_taken_although_others_beside_them_have_the_networks() -> None:
    head = Colours(Colours.Params(), {"image": Level(3, 1)})
    own = head.net.state_dict()
    assert set(head.adopt(own)) == {"net.weight", "net.bias"}
    both = {**own, **head.state_dict()}
    assert head.adopt(both) is both
