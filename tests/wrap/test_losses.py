"""Losses of wrapped networks: what counts nowhere is the head's to say."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from icm_core import InputError
from icm_core.types import Level
from icm_core.wrap import ModuleHead
from icm_core.wrap.losses import LOSSES


class Ignoring(ModuleHead):
    """Classes of pixels, of which 1 counts nowhere."""

    name = "test.ignoring"
    kind = "segmentation"
    labels = ("road", "void", "sky")
    ignore_index = 1

    def network(self) -> nn.Module:
        return nn.Conv2d(3, 3, 1)


def test_pixels_of_the_ignored_class_count_nowhere_whichever_it_is() -> None:
    logits = torch.zeros(1, 3, 1, 4)
    logits[0, 0, 0, 0] = math.log(2)  # classes 2 : 1 : 1, then alike
    target = torch.tensor([[[0, 1, 2, 1]]])
    expected = (math.log(2) + math.log(3)) / 2
    head = Ignoring(Ignoring.Params(), {"image": Level(3, 1)})
    assert head.loss(logits, target).tolist() == pytest.approx([expected])
    assert LOSSES["segmentation"](logits, target, 1).tolist() == pytest.approx([expected])
    # Pixel 1 tells class 1 with 1/3, as pixel 3 does; all four count where no class is ignored.
    all_of_them = (math.log(2) + 3 * math.log(3)) / 4
    assert LOSSES["segmentation"](logits, target, 255).tolist() == pytest.approx([all_of_them])


def test_a_class_that_is_ignored_elsewhere_is_refused() -> None:
    head = Ignoring(Ignoring.Params(), {"image": Level(3, 1)})
    with pytest.raises(InputError, match="the class 255, and the network tells 3"):
        head.loss(torch.zeros(1, 3, 1, 2), torch.tensor([[[0, 255]]]))
    with pytest.raises(InputError, match="the class 3, and the network tells 3"):
        head.loss(torch.zeros(1, 3, 1, 2), torch.tensor([[[0, 3]]]))


def test_of_classification_no_class_counts_nowhere() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
    assert LOSSES["classification"](logits, torch.tensor([1, 0]), 0).tolist() == pytest.approx(
        [math.log(4 / 3), math.log(2)]
    )
    with pytest.raises(InputError, match="the class 255, and the network tells 2"):
        LOSSES["classification"](logits, torch.tensor([1, 255]), 255)
    with pytest.raises(InputError, match="the class 2, and the network tells 2"):
        LOSSES["classification"](logits, torch.tensor([2, 1]), 255)


def test_squared_errors_are_means_of_each_picture() -> None:
    values = torch.tensor([[1.0, 4.0, 1.0], [2.0, 2.0, 2.0]])
    assert LOSSES["regression"](values, torch.tensor([[1.0, 1.0, 4.0], [2.0, 5.0, 2.0]]), 2).tolist() == [6, 3]
    pictures, target = torch.zeros(2, 3, 2, 2), torch.zeros(2, 3, 2, 2)
    pictures[0, 1, 0, 1], pictures[0, 2, 0, 1], pictures[1] = 0.5, 1.0, 0.5
    found = LOSSES["reconstruction"](pictures, target, 255)
    assert found.tolist() == pytest.approx([(0.25 + 1) / 12, 0.25])


def test_a_mean_over_pixels_of_a_picture_of_which_none_counts_is_0() -> None:
    logits = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[[7, 7], [7, 7]], [[7, 2], [7, 7]]])
    found = LOSSES["segmentation"](logits, target, 7)
    assert found.tolist() == pytest.approx([0, -float(logits[1, :, 0, 1].log_softmax(0)[2])])
    assert LOSSES["depth"](torch.ones(1, 1, 2, 2), torch.full((1, 2, 2), math.nan), 7).tolist() == [0]


def test_the_straight_line_of_a_logarithm_begins_at_a_share_of_the_known_distances() -> None:
    """Unknown distances and those of other pictures do not move it."""
    found = torch.tensor([[[[0.02, 4.0, 9.0]]], [[[0.02, 4.0, 9.0]]]])
    true = torch.tensor([[[4.0, 4.0, math.nan]], [[400.0, 400.0, 400.0]]])
    line = math.log(0.04) + (0.02 - 0.04) / 0.04 - math.log(4)  # 0.04 is a hundredth of 4; the other error is 0
    first = line**2 / 2 - 0.5 * (line / 2) ** 2
    errors = [math.log(4) + (0.02 - 4) / 4 - math.log(400), math.log(4 / 400), math.log(9 / 400)]
    second = sum(error**2 for error in errors) / 3 - 0.5 * (sum(errors) / 3) ** 2
    assert LOSSES["depth"](found, true, 255).tolist() == pytest.approx([first, second], rel=1e-5)


def test_a_batch_of_which_no_pixel_counts_has_the_loss_0() -> None:
    assert LOSSES["segmentation"](torch.zeros(2, 3, 2, 2), torch.full((2, 2, 2), 7), 7).tolist() == [0, 0]
