"""Networks whose weights stay those of a file."""

from __future__ import annotations

import copy
import pickle

import torch
from torch import nn

from icm_tasks.frozen import freeze, with_a_place


class Placed(nn.Module):
    """Asks its parameters where it is, as networks of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False))

    @property
    def device(self) -> torch.device:
        return next(parameter.device for parameter in self.parameters())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x).to(self.device)


def networks() -> tuple[Placed, Placed]:
    torch.manual_seed(0)
    net = Placed()
    net(torch.rand(8, 3, 9, 9))  # for statistics that are not 0 and 1
    net.eval()
    frozen = copy.deepcopy(net)
    freeze(frozen)
    with_a_place(frozen)
    return net, frozen


def test_a_frozen_network_computes_the_same_and_has_no_state() -> None:
    net, frozen = networks()
    x = torch.rand(2, 3, 9, 9)
    assert torch.equal(frozen(x), net(x))
    assert not frozen.state_dict() and not list(frozen.named_parameters())
    assert nn.ModuleList([frozen]).load_state_dict({}, strict=True) is not None


def test_an_empty_state_loads_though_normalisations_count_batches() -> None:
    # Of states from files, which have no version, PyTorch's normalisations fill in a count that then is unexpected.
    _, frozen = networks()
    holder = nn.Module()
    holder.net, holder.other = frozen, nn.Linear(1, 1)
    missing, unexpected = holder.load_state_dict({"other.weight": torch.ones(1, 1), "other.bias": torch.ones(1)})
    assert (missing, unexpected) == ([], [])


def test_a_frozen_network_can_be_moved_copied_and_pickled() -> None:
    net, frozen = networks()
    x = torch.rand(2, 3, 9, 9)
    for other in (copy.deepcopy(frozen), pickle.loads(pickle.dumps(frozen))):
        assert torch.equal(other(x), net(x)) and other.device == torch.device("cpu")
        assert next(other.parameters()) is next(other.buffers())
    assert frozen.to("meta").device == torch.device("meta")


def test_each_part_of_a_frozen_network_finds_its_own_weights() -> None:
    outer = Placed()
    outer.part = Placed()
    freeze(outer)
    with_a_place(outer)
    assert {id(one) for one in outer.part.parameters()} == {id(one) for one in outer.part.buffers()}
    assert len([*outer.parameters()]) == 2 * len([*outer.part.parameters()])
    assert [*outer.parameters(recurse=False)] == []
    assert [*outer.layers.parameters()] == []  # asks nothing, and so is told nothing
