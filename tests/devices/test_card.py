"""The card that is not there refuses what PyTorch refuses on one that is, and places results where it places them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.nn import functional as F

from icm_core.testing.card import CARD, _placed, card, off_card, on_card, to_card
from icm_core.training import noise_of, uniform_noise

HERE, LINE = torch.arange(12.0).reshape(3, 4), torch.arange(4.0)
"""On the CPU."""

CALLS: dict[str, Callable[[Tensor], object]] = {
    "sum of two places": lambda x: x + HERE,
    "sum, the other way round": lambda x: HERE + x,
    "a single value of the CPU": lambda x: x * torch.tensor(2.0),
    "a number": lambda x: x * 2.0,
    "zeros without a device": lambda x: x + torch.zeros(3, 4),
    "zeros with one": lambda x: x + torch.zeros(3, 4, device=x.device),
    "zeros like": lambda x: x + torch.zeros_like(x),
    "new zeros": lambda x: x + x.new_zeros(3, 4),
    "a tensor of numbers": lambda x: x + torch.tensor([1.0, 2.0, 3.0, 4.0]),
    "a tensor of numbers there": lambda x: x + torch.tensor([1.0, 2.0, 3.0, 4.0], device=x.device),
    "a range": lambda x: x + torch.arange(4),
    "a range there": lambda x: x + torch.arange(4, device=x.device),
    "sum of named arguments": lambda x: torch.add(input=x, other=HERE),
    "sum of named arguments, the other way round": lambda x: torch.add(input=HERE, other=x),
    "concatenation": lambda x: torch.cat([x, HERE]),
    "stack": lambda x: torch.stack([x, x.to(torch.float64).float()]),
    "choice": lambda x: torch.where(x > 2, x, HERE),
    "choice of a mask here": lambda x: torch.where(HERE > 2, x, x),
    "linear": lambda x: F.linear(x, torch.ones(2, 4)),
    "product": lambda x: x @ torch.ones(4, 2),
    "index of the CPU": lambda x: x[torch.tensor([0, 2])],
    "gather": lambda x: x.gather(1, torch.zeros(3, 1, dtype=torch.int64)),
    "index_select": lambda x: x.index_select(0, torch.tensor([0, 2])),
    "copied in": lambda x: x.clone().copy_(HERE),
    "a row set": lambda x: torch.zeros_like(x).__setitem__(0, LINE),
    "indexed rows set": lambda x: torch.zeros_like(x).__setitem__(torch.tensor([0]), LINE[None]),
    "values of the CPU set by a mask": lambda x: x.clone().__setitem__(x > 8, LINE[:3]),
    "values set by a mask": lambda x: x.clone().__setitem__(x > 8, LINE[:3].to(x.device)),
    "a value of the CPU in a row of one": lambda x: x * torch.ones(1),
    "moved here": lambda x: x.cpu() + HERE,
    "moved by name": lambda x: HERE.to("cuda") + x,
    "moved by number": lambda x: HERE.to(0) + x,
    "moved to another": lambda x: HERE.to(x) + x,
    "moved with a type": lambda x: HERE.to(x.device, torch.float64) + x,
    "as the type of another": lambda x: HERE.double().type_as(x) + x,
    "shape of another": lambda x: x[:1].expand_as(HERE),
    "cross entropy": lambda x: F.cross_entropy(x, torch.tensor([0, 1, 2])),
    "cross entropy there": lambda x: F.cross_entropy(x, torch.tensor([0, 1, 2], device=x.device)),
    "layer norm": lambda x: F.layer_norm(x, (4,), torch.ones(4)),
    "largest": lambda x: x.max(1).values,
    "clamp": lambda x: x.clamp(LINE, None),
    "empty like, elsewhere": lambda x: torch.zeros_like(x, device="cpu") + HERE,
    "added in place": lambda x: x.clone().add_(HERE),
}


def outcome(call: Callable[[Tensor], object], x: Tensor) -> object:
    try:
        found = call(x)
    except RuntimeError:
        return "refused"
    return found.device.type if isinstance(found, Tensor) else None


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_devices_meet_as_they_do_in_pytorch(call: Callable[[Tensor], object]) -> None:
    with card():
        found = outcome(call, on_card(HERE.clone()))
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        there = FakeTensor(mode, torch.empty(3, 4, device="meta"), CARD)
        assert found == outcome(call, there)


def test_a_tensor_on_the_card_has_its_values_and_its_gradients() -> None:
    x = on_card(HERE.clone()).requires_grad_()
    with card():
        (x * x).sum().backward()
        assert x.grad is not None and x.grad.device == CARD and x.is_cuda
    assert torch.equal(off_card(x.grad), 2 * HERE)
    assert off_card(x).device.type == "cpu"


def test_what_the_mode_without_values_does_not_know() -> None:
    with card():
        x = on_card(HERE.clone())
        assert (HERE.cuda() + x).device == CARD
        with pytest.raises(RuntimeError, match="same device"):  # PyTorch: indices on the CPU or with what is indexed
            HERE[torch.tensor([0, 2], device=x.device)]


def test_no_array_is_made_of_what_is_on_the_card() -> None:
    with card(), pytest.raises(TypeError, match=r"can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu"):
        on_card(HERE).numpy()
    assert on_card(HERE).cpu().numpy().shape == (3, 4)


def test_a_generator_has_to_be_where_its_numbers_are_wanted() -> None:
    with card():
        there = torch.rand(3, generator=torch.Generator(CARD).manual_seed(1), device=CARD)
        assert there.device == CARD
        with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator but found 'cpu'"):
            torch.rand(3, generator=torch.Generator().manual_seed(1), device=CARD)
    assert torch.equal(off_card(there), torch.rand(3, generator=torch.Generator().manual_seed(1)))


def test_a_generator_of_the_card_makes_no_numbers_of_the_cpu() -> None:
    with card(), pytest.raises(RuntimeError, match="Expected a 'cpu' device type for generator but found 'cuda'"):
        torch.rand(3, generator=torch.Generator(CARD))


def test_what_is_moved_learns_as_it_did_before() -> None:
    net = nn.Linear(4, 4)
    net.weight.requires_grad_(False)
    net.register_buffer("one", torch.zeros(2))
    net.register_buffer("same", net.one)
    to_card(net)
    assert not net.weight.requires_grad
    assert net.bias.requires_grad
    assert net.one is net.same
    with card():
        wanted, plain = on_card(torch.ones(2)).requires_grad_(), on_card(torch.ones(2))
        assert [copy.deepcopy(one).requires_grad for one in (wanted, plain, net.weight, net.bias)] == [
            *(True, False),
            *(False, True),
        ]


def test_what_is_there_already_stays_the_object_that_it_is_and_what_is_moved_does_not() -> None:
    here = torch.ones(2)
    with card():
        there = here.to("cuda")
        assert there.to("cuda") is there
        assert there is not here
        assert there.device == CARD
        assert here.device.type == "cpu"
        assert there.cpu().device.type == "cpu"


def test_modules_move_there_and_back_with_what_they_share() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    net.append(net[0])
    to_card(net)
    with card():
        assert net[0].weight is net[2].weight
        twin = copy.deepcopy(net)
        for each in (net, twin):
            assert all(isinstance(one, nn.Parameter) and one.device == CARD for one in each.parameters())
            assert each[1].running_mean.device == CARD
            each(on_card(HERE)).sum().backward()
            torch.optim.Adam(each.parameters(), 1e-3).step()
        assert all(one.device.type == "cpu" for one in net.cpu().parameters())
        assert all(one.device == CARD for one in net.to("cuda").parameters())


def test_buffers_that_are_in_no_state_move_too() -> None:
    net = nn.Module()
    net.register_buffer("table", torch.ones(2), persistent=False)
    to_card(net)
    with card():
        assert net.get_buffer("table").device == CARD
    assert net.state_dict() == {}


def test_types_are_those_that_are_asked_for_with_the_device() -> None:
    with card():
        for found in (HERE.to(CARD, torch.float64), HERE.to("cuda", torch.float64), HERE.to(0, dtype=torch.float64)):
            assert (found.device, found.dtype) == (CARD, torch.float64)
        copied = on_card(HERE)
        assert copied.to(CARD, torch.float32, False, True) is not copied


def test_a_tensor_says_in_every_way_where_it_is() -> None:
    with card():
        there = on_card(HERE)
        assert (there.device, there.is_cuda, there.is_cpu) == (CARD, True, False)
        assert (HERE.device.type, HERE.is_cuda, HERE.is_cpu) == ("cpu", False, True)
        assert torch.zeros(2, device="cuda:1").device == CARD  # there is one card
        assert torch.zeros(2, device="cuda").device == torch.zeros(2, device=0).device == CARD
        assert torch.zeros(2, device="meta").device.type == "meta"


def test_gradients_come_back_from_wherever_a_tensor_was_moved() -> None:
    moves: list[Callable[[Tensor], Tensor]] = [
        lambda x: x.cuda(),
        lambda x: x.to("cuda"),
        lambda x: x.to("cuda").cpu(),
        lambda x: off_card(on_card(x)),
        lambda x: x.to(on_card(HERE).requires_grad_()),
        lambda x: x.type_as(on_card(HERE).requires_grad_()),
    ]
    for number, move in enumerate(moves):
        with card():
            x = HERE.clone().requires_grad_()
            moved = move(x)
            assert moved.device.type == ("cpu" if number in (2, 3) else "cuda")
            (moved * 3).sum().backward()  # type: ignore[no-untyped-call]
        assert x.grad is not None and torch.equal(off_card(x.grad), torch.full((3, 4), 3.0))


def test_two_generators_know_each_its_own_place() -> None:
    with card():
        there, here = torch.Generator("cuda").manual_seed(1), torch.Generator().manual_seed(1)
        assert torch.rand(2, generator=there, device="cuda").device == CARD
        assert torch.rand(2, generator=here).device.type == "cpu"
        with pytest.raises(RuntimeError, match="Expected a 'cpu' device type for generator but found 'cuda'"):
            torch.rand(2, generator=there)
    assert type(torch.Generator()) is torch.Generator


def test_names_of_arguments_count_where_no_card_is_asked_for() -> None:
    """Tensors that are on the card go on as such when the context is over."""
    there = on_card(HERE.clone())
    assert torch.sum(there, dim=1).shape == (3,)
    found = torch.sum(there, dim=1, keepdim=True)
    assert off_card(found).tolist() == [[6.0], [22.0], [38.0]] and isinstance(found, type(there))
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        torch.add(there, other=HERE)


def test_seeded_noise_is_drawn_on_the_device_of_what_it_is_added_to() -> None:
    with card(), noise_of([1, 2]):
        here = uniform_noise(HERE[:2])
        there = uniform_noise(on_card(HERE[:2]))
        assert here.device.type == "cpu" and there.device == CARD
        # Each device has generators of its own, which begin with the same seeds.
        assert torch.equal(off_card(there), here)


class Pair(NamedTuple):
    """Two results with names."""

    first: Tensor
    second: Tensor


def test_results_with_names_keep_them() -> None:
    with card():
        x = on_card(HERE)
        largest = x.max(1)
        assert largest.values.device == largest.indices.device == CARD and largest.indices.tolist() == [3, 3, 3]
    found = _placed(Pair(HERE, LINE), CARD, [], moved=False)
    assert isinstance(found, Pair) and found.first.device == found.second.device == CARD
    assert [type(one) for one in (_placed([HERE], CARD, [], moved=False), _placed((HERE,), CARD, [], moved=False))] == [
        list,
        tuple,
    ]
