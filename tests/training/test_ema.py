"""The running mean of weights, number by number."""

from __future__ import annotations

import torch
from torch import nn

from icm_training.ema import Ema


def values(tensors: dict[str, torch.Tensor]) -> dict[str, list[float]]:
    return {name: tensor.tolist() for name, tensor in tensors.items()}


def moved(parameter: nn.Parameter, *numbers: float) -> None:
    with torch.no_grad():
        parameter.copy_(torch.tensor(numbers))


def test_means_begin_with_the_weights_and_keep_a_share_of_themselves_at_every_step() -> None:
    weight, bias = nn.Parameter(torch.tensor([1.0, -2.0])), nn.Parameter(torch.tensor([4.0]))
    ema = Ema(["weight", "bias"], [weight, bias], 0.75)
    moved(weight, 3.0, 2.0)
    assert values(ema.state()) == {"weight": [1.0, -2.0], "bias": [4.0]}
    ema.update()
    assert values(ema.state()) == {"weight": [1.5, -1.0], "bias": [4.0]}
    moved(bias, 0.0)
    ema.update()
    assert values(ema.state()) == {"weight": [1.875, -0.25], "bias": [3.0]}
    # The weights that train are left alone until they are given the means.
    assert (weight.tolist(), bias.tolist()) == ([3.0, 2.0], [0.0])
    ema.apply()
    assert (weight.tolist(), bias.tolist()) == ([1.875, -0.25], [3.0])
    assert values(ema.state()) == {"weight": [1.875, -0.25], "bias": [3.0]}


def test_means_that_are_taken_up_again_go_on_from_there_and_leave_weights_and_source_alone() -> None:
    weight, bias = nn.Parameter(torch.tensor([8.0, 8.0])), nn.Parameter(torch.tensor([-1.0]))
    ema = Ema(["weight", "bias"], [weight, bias], 0.5)
    stored = {"bias": torch.tensor([3.0]), "weight": torch.tensor([0.0, 4.0]), "other": torch.zeros(1)}
    ema.restore(stored)
    assert (weight.tolist(), bias.tolist()) == ([8.0, 8.0], [-1.0])
    ema.update()
    assert values(ema.state()) == {"weight": [4.0, 6.0], "bias": [1.0]}
    assert values(stored) == {"bias": [3.0], "weight": [0.0, 4.0], "other": [0.0]}
