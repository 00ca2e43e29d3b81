"""Costs of heads that need values, of tasks in any order, and of a part of a module."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from icm_core import Registry, parse_spec
from icm_core.inspection.cost import Account, Cost, account
from icm_core.types import Features


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


def test_one_that_makes_its_loss_itself_is_measured_on_maps_of_zeros_and_has_no_shapes(
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
    assert seen == [[0.0]]
    torch.manual_seed(17)  # what is measured does not hang on it: the head's weights are the same each time
    of(registry, data)
    assert torch.equal(drawn[0], drawn[1]) and drawn[0].std() > 0


def test_the_enhancement_refines_the_picture_of_its_task(
    registry: Registry, data: dict[str, Any], tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    codec, enhancement, picture = tiny.Thumbnail.forward, tiny.Residual.forward, tiny.Picture.forward

    def coded(module: Any, x: Tensor, quality: Tensor) -> Any:
        seen["codec"] = (tuple(x.shape), x.device.type, tuple(quality.shape))
        return codec(module, x, quality)

    def shown(module: Any, features: Any) -> Any:
        seen["picture"] = picture(module, features)
        return seen["picture"]

    def refined(module: Any, x: Tensor, coarse: Tensor, side: Any, quality: Tensor) -> Any:
        seen["refined"] = coarse is seen["picture"]
        return enhancement(module, x, coarse, side, quality)

    for cls, forward in ((tiny.Thumbnail, coded), (tiny.Residual, refined), (tiny.Picture, shown)):
        monkeypatch.setattr(cls, "forward", forward)
    names = ("labels", "coarse", "classes")
    of(registry, {**data, "tasks": {name: data["tasks"][name] for name in names}})
    assert seen["codec"] == ((1, 3, 32, 64), "meta", (1,)) and seen["refined"]


def test_several_maps_of_an_adapter_have_their_shapes(
    registry: Registry, data: dict[str, Any], tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tiny.Enlarge.forward

    def forward(adapter: Any, side: Any) -> Features:
        found = plain(adapter, side)
        return Features({**found.maps, "gist": found.maps["image"].mean((2, 3))}, found.size)

    monkeypatch.setattr(tiny.Enlarge, "forward", forward)
    (row,) = [row for row in of(registry, data).modules if row.path == "tasks.labels.adapter"]
    assert row.outputs == {"image": (1, 3, 32, 64), "gist": (1, 3)}


def test_a_task_behind_a_decoded_picture_computes_the_padded_one(registry: Registry, data: dict[str, Any]) -> None:
    data["tasks"]["labels"]["adapter"] = {"use": "core.decoded_picture", "params": {"of": "coarse"}}
    found = {row.path: row for row in account(parse_spec(data), registry, height=17, width=90).modules}
    assert found["tasks.labels.adapter"].outputs == {"image": (1, 3, 32, 96)}
    assert found["tasks.labels.head"].outputs == {"output": (1, 4, 32, 96)}
    # A 3x3 and a 1x1 convolution on every computed pixel.
    expected = (3 * 5 * 9 + 5 * 4) * 32 * 96 / (17 * 90) / 1000
    assert found["tasks.labels.head"].cost.kmac_per_pixel == pytest.approx(expected)


@pytest.mark.parametrize(("height", "width", "padded"), [(17, 96, (32, 96)), (48, 15, (48, 16))])
def test_height_comes_before_width(
    registry: Registry, data: dict[str, Any], height: int, width: int, padded: tuple[int, int]
) -> None:
    found = account(parse_spec(data), registry, height=height, width=width)
    assert (found.height, found.width, found.padded) == (height, width, padded)
    rows = {row.path: row for row in found.modules}
    assert rows["codec"].outputs == {
        "levels[0]": (1, 3, padded[0] // 8, padded[1] // 8),
        "levels[1]": (1, 3, padded[0] // 16, padded[1] // 16),
    }
    # A 1x1 convolution of 3 by 3 channels on every computed pixel.
    expected = 9 * padded[0] * padded[1] / (height * width) / 1000
    assert rows["tasks.labels.adapter"].cost.kmac_per_pixel == pytest.approx(expected)
    assert [row.path for row in found.modules] == [
        "codec",
        "codec.mix",
        *[f"tasks.labels.{part}" for part in ("adapter", "adapter.color", "head", "head.layers")],
        *[f"tasks.classes.{part}" for part in ("adapter", "adapter.color", "head", "head.linear", "head.norm")],
        *[f"tasks.coarse.{part}" for part in ("adapter", "adapter.color", "head")],
        "enhancement",
    ]


def test_children_cost_less_than_what_they_are_in(registry: Registry, data: dict[str, Any]) -> None:
    rows = {row.path.removeprefix("tasks.classes."): row for row in of(registry, data).modules}
    assert {path: rows[path].cost.parameters for path in ("head", "head.linear", "head.norm")} == {
        "head": 18,
        "head.linear": 3 * 3 + 3,
        "head.norm": 3 + 3,
    }
    assert rows["head.norm"].cost.kmac_per_pixel == 0 < rows["head.linear"].cost.kmac_per_pixel
    assert {path: rows[path].use for path in ("head", "head.linear")} == {"head": "tiny.classes", "head.linear": ""}
    assert rows["head.linear"].outputs == {} != rows["head"].outputs


def test_costs_add_up() -> None:
    found = Cost(parameters=5, kmac_per_pixel=1.5) + Cost(parameters=7, kmac_per_pixel=0.25)
    assert found == Cost(parameters=12, kmac_per_pixel=1.75)
