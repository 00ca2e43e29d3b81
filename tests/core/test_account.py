"""Parameters and multiply-accumulates against numbers worked out by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from icm_core import InputError, Registry, parse_spec
from icm_core.inspection.cost import Account, Cost, account
from icm_core.inspection.flops import measure


@pytest.fixture
def found(registry: Registry, data: dict[str, Any]) -> Account:
    return account(parse_spec(data), registry, height=32, width=64)


def test_modules_by_hand(found: Account) -> None:
    rows = {row.path: row for row in found.modules}
    assert rows["codec"].cost == Cost(parameters=9, kmac_per_pixel=9 / 64 / 1000)
    assert rows["codec"].outputs == {"levels[0]": (1, 3, 4, 8), "levels[1]": (1, 3, 2, 4)}
    assert rows["codec.mix"].cost == rows["codec"].cost
    assert rows["tasks.labels.adapter"].cost == Cost(parameters=12, kmac_per_pixel=0.009)
    assert rows["tasks.labels.adapter"].outputs == {"image": (1, 3, 32, 64)}
    layers = rows["tasks.labels.head.layers"].cost  # a ModuleList, never called itself
    assert layers.parameters == 3 * 5 * 9 + 5 + 5 * 4 + 4
    assert layers.kmac_per_pixel == pytest.approx((3 * 5 * 9 + 5 * 4) / 1000)
    assert rows["tasks.labels.head"].cost == layers
    assert rows["tasks.labels.head"].outputs == {"output": (1, 4, 32, 64)}
    assert rows["tasks.classes.head.linear"].cost.kmac_per_pixel == pytest.approx(9 / (32 * 64) / 1000)
    assert rows["enhancement"].use == "tiny.residual"
    assert found.total.parameters == 9 + 3 * 12 + layers.parameters + (12 + 6) + 3 + 1


def test_padding_counts(registry: Registry, data: dict[str, Any]) -> None:
    padded = account(parse_spec(data), registry, height=17, width=64)
    assert padded.padded == (32, 64)
    assert padded.sharing.adapter.kmac_per_pixel == pytest.approx(0.009 * 32 / 17)


def test_sharing(found: Account) -> None:
    s = found.sharing
    assert (s.shared_formula, s.separate_formula, s.tasks) == (
        "codec + 3 adapter + picture + enhancement",
        "4 codec + 4 adapter + 2 picture + enhancement",
        3,
    )
    assert (s.codec.parameters, s.adapter.parameters, s.picture.parameters, s.enhancement.parameters) == (9, 12, 3, 1)
    assert s.shared.parameters == 9 + 3 * 12 + 3 + 1
    assert s.separate.parameters == 4 * 9 + 4 * 12 + 2 * 3 + 1
    a, b, c, d = (cost.kmac_per_pixel for cost in (s.codec, s.adapter, s.picture, s.enhancement))
    assert s.shared.kmac_per_pixel == pytest.approx(a + 3 * b + c + d)
    assert s.separate.kmac_per_pixel == pytest.approx(4 * a + 4 * b + 2 * c + d)


def test_sharing_without_enhancement(registry: Registry, data: dict[str, Any]) -> None:
    data["enhancement"] = None
    del data["tasks"]["classes"]
    s = account(parse_spec(data), registry, height=32, width=32).sharing
    assert (s.shared_formula, s.separate_formula) == ("codec + 2 adapter", "2 codec + 2 adapter")
    assert (s.shared.parameters, s.separate.parameters, s.picture) == (33, 42, Cost())
    del data["tasks"]["coarse"]
    s = account(parse_spec(data), registry, height=32, width=32).sharing
    assert (s.shared_formula, s.separate_formula) == ("codec + adapter", "codec + adapter")


def test_it_is_json(found: Account) -> None:
    assert Account.model_validate(json.loads(found.model_dump_json())) == found


@pytest.mark.parametrize("size", [(0, 10), (10, -1), (1, 70000)])
def test_sizes_that_no_file_holds(registry: Registry, data: dict[str, Any], size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="pixels does not fit"):
        account(parse_spec(data), registry, height=size[0], width=size[1])


def test_in_place_products_are_counted() -> None:
    class Sums(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            total = a.new_zeros(a.shape[0], b.shape[1]).addmm_(a, b)
            return total[None].baddbmm_(a[None], b[None])

    with torch.device("meta"):
        a, b = torch.empty(7, 5), torch.empty(5, 3)
    _, cost, _ = measure(Sums(), 1, lambda: Sums()(a, b))
    assert cost.kmac_per_pixel == pytest.approx(2 * 7 * 5 * 3 / 1000)


def test_what_stands_inside_of_a_child_counts_once() -> None:
    inner = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.Conv2d(4, 5, 1), nn.Conv2d(5, 2, 1)))
    whole = nn.ModuleDict({"twice": inner, "once": nn.ModuleList([nn.Conv2d(2, 7, 1)])})
    x = torch.zeros(1, 3, 4, 6)
    _, cost, parts = measure(whole, 24, lambda: whole["once"][0](inner(x)[:, :2] + inner(x)))
    products = 3 * 4 + 4 * 5 + 5 * 2
    assert parts["twice"].kmac_per_pixel == pytest.approx(2 * products / 1000)
    assert parts["once"].kmac_per_pixel == pytest.approx(2 * 7 / 1000)
    assert cost.kmac_per_pixel == pytest.approx((2 * products + 14) / 1000)
    assert (parts["twice"].parameters, cost.parameters) == (16 + 25 + 12, 16 + 25 + 12 + 21)


def test_hooks_are_gone_afterwards() -> None:
    module = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(RuntimeError):
        measure(module, 1, lambda: module(torch.zeros(1, 3)))
    assert not module[0]._forward_hooks and not module[0]._forward_pre_hooks
