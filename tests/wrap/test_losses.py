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
