"""Costs of heads that need values, of tasks in any order, and of a part of a module."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from icm_core import Registry, parse_spec
from icm_core.inspection.cost import Account, Cost, account


def of(registry: Registry, data: dict[str, Any]) -> Account:
    return account(parse_spec(data), registry, height=32, width=64)


def test_a_third_of_a_cost_is_rounded() -> None:
    assert Cost(parameters=5, kmac_per_pixel=1.5).times(1 / 3) == Cost(parameters=2, kmac_per_pixel=0.5)
    assert Cost(parameters=5, kmac_per_pixel=1.5).times(3) == Cost(parameters=15, kmac_per_pixel=4.5)


def test_the_order_of_tasks_costs_nothing(registry: Registry, data: dict[str, Any]) -> None:
    first = of(registry, data)
    names = ("coarse", "classes", "labels")
    other = of(registry, {**data, "tasks": {name: data["tasks"][name] for name in names}})
    assert other.total == first.total and other.sharing == first.sharing
    assert {row.path: row for row in other.modules} == {row.path: row for row in first.modules}


def test_every_tensor_of_an_answer_has_its_shape(
    registry: Registry, data: dict[str, Any], tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes, scores = torch.empty(1, 7, 4, device="meta"), torch.empty(1, 7, device="meta")
    monkeypatch.setattr(tiny.Labels, "forward", lambda *_: {"boxes": boxes, "scores": [scores, scores]})
    (row,) = [row for row in of(registry, data).modules if row.path == "tasks.labels.head"]
    assert row.outputs == {"boxes": (1, 7, 4), "scores[0]": (1, 7), "scores[1]": (1, 7)}


@pytest.fixture
def seeing(tiny: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The head of classes per pixel needs values."""
    plain = tiny.Labels.forward

    def forward(head: Any, features: Any) -> Tensor:
        if features.maps["image"].is_meta:
            raise NotImplementedError("there are no values")
        found: Tensor = plain(head, features)
        return found

    monkeypatch.setattr(tiny.Labels, "forward", forward)


def test_a_head_that_cannot_run_without_values_is_an_error(
    registry: Registry, data: dict[str, Any], seeing: None
) -> None:
    with pytest.raises(NotImplementedError, match="there are no values"):
        of(registry, data)


def test_one_that_makes_its_loss_itself_is_measured_on_grey_pictures_and_has_no_shapes(
    registry: Registry, data: dict[str, Any], tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {row.path: row for row in of(registry, data).modules}["tasks.labels.head"]
    plain = tiny.Labels.forward
    seen, drawn = [], []

    def forward(head: Any, features: Any) -> Tensor:
        if features.maps["image"].is_meta:
            raise NotImplementedError("there are no values")
        seen.append(features.maps["image"].unique().tolist())
        drawn.append(torch.cat([value.flatten() for value in head.state_dict().values()]))
        found: Tensor = plain(head, features)
        return found

    monkeypatch.setattr(tiny.Labels, "forward", forward)
    monkeypatch.setattr(tiny.Labels, "losses", lambda head, features, target: torch.zeros(1), raising=False)
    before = torch.get_rng_state()
    found = {row.path: row for row in of(registry, data).modules}["tasks.labels.head"]
    assert torch.equal(torch.get_rng_state(), before)
    assert found.cost == expected.cost and found.outputs == {} and expected.outputs
    assert len(seen) == 1 and len(seen[0]) == 1
    torch.manual_seed(17)  # what is measured does not hang on it: the head's weights are the same each time
    of(registry, data)
    assert torch.equal(drawn[0], drawn[1]) and drawn[0].std() > 0
