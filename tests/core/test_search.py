"""What a search goes by: bits per pixel, and what each task loses, weighed by quality."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from icm_core import InputError, Pipeline, Quality, Registry, SideInfo, build, parse_spec
from icm_core.pipeline.search import MAX_EFFORT, Objective, searched_tasks

ENDS = {"coarse": (1.0, 100.0), "classes": (4.0, 0.25)}


@pytest.fixture
def searching(registry: Registry, data: dict[str, Any]) -> Pipeline:
    """The tiny pipeline, qualities 1 to 4, with a search for two of its tasks."""
    for task, ends in ENDS.items():
        data["tasks"][task]["search"] = ends
    torch.manual_seed(0)
    pipe = build(parse_spec(data), registry)
    with torch.no_grad():
        pipe.task("classes").head.linear.weight.mul_(30)
    return pipe


@pytest.fixture(params=[(32, 48), (48, 32)], ids=["wide", "tall"])
def pictures(request: pytest.FixtureRequest) -> Tensor:
    """Two pictures whose channels are brighter to the right, to the bottom, and nowhere, each with some noise."""
    size: tuple[int, int] = request.param
    rows, columns = torch.linspace(0, 1, size[0])[:, None], torch.linspace(0, 1, size[1])[None, :]
    channels = [columns.expand(size), rows.expand(size), torch.full(size, 0.3)]
    noise = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    return 0.8 * torch.stack(channels) + 0.2 * noise


@pytest.fixture
def side(searching: Pipeline, pictures: Tensor) -> SideInfo:
    """Side information of the pictures in another light."""
    step = Quality.of(1)
    other = pictures * torch.tensor([0.3, 1.0, 0.6])[:, None, None]
    size = other.shape[2], other.shape[3]
    return searching.codec.decode(searching.codec.encode(other, step), size, step)


@pytest.mark.parametrize(
    ("quality", "weights"),
    [
        (1, {"coarse": 1.0, "classes": 4.0}),
        (2, {"coarse": 100 ** (1 / 3), "classes": 4 * 0.0625 ** (1 / 3)}),
        (2.5, {"coarse": 10.0, "classes": 1.0}),
        (4, {"coarse": 100.0, "classes": 0.25}),
    ],
)
def test_a_tasks_weight_goes_geometrically_from_its_lower_to_its_upper_end(
    searching: Pipeline, pictures: Tensor, quality: float, weights: dict[str, float]
) -> None:
    terms = Objective(searching, pictures, Quality.of(quality), ["classes", "coarse"]).terms
    assert {name: weight for name, weight, _ in terms} == pytest.approx(weights)


@pytest.mark.parametrize(
    ("span", "quality", "weight"), [((2.0, 2.0), 2, 1.0), ((2.0, 2.5), 2.25, 10.0), ((2.0, 2.5), 2.5, 100.0)]
)
def test_few_qualities_or_one_have_the_same_ends(
    searching: Pipeline,
    pictures: Tensor,
    monkeypatch: pytest.MonkeyPatch,
    span: tuple[float, float],
    quality: float,
    weight: float,
) -> None:
    monkeypatch.setattr(type(searching.codec), "quality_range", property(lambda codec: span))
    ((_, found, _),) = Objective(searching, pictures, Quality.of(quality), ["coarse"]).terms
    assert found == pytest.approx(weight)


@torch.no_grad()
def test_the_value_is_bits_per_pixel_and_weighed_divergences(
    searching: Pipeline, pictures: Tensor, side: SideInfo
) -> None:
    bits = torch.tensor([1536.0, 7680.0])  # 1 and 5 a pixel
    small = side.levels[0].repeat_interleave(8, 2).repeat_interleave(8, 3)  # the decoded picture of this toy
    grey_levels = ((small - pictures) * 255).square().mean((1, 2, 3))
    head = searching.task("classes").head
    clean, decoded = (head.norm(head.linear(x.mean((2, 3)))).log_softmax(1) for x in (pictures, small))
    nats = (clean.exp() * (clean - decoded)).sum(1)
    assert float(nats.min()) > 0.01

    def value(*tasks: str) -> Tensor:
        return Objective(searching, pictures, Quality.of(2.5), tasks)(side, bits)

    rate = torch.tensor([1.0, 5.0])
    torch.testing.assert_close(value(), rate)
    torch.testing.assert_close(value("coarse"), rate + 10 * grey_levels)
    torch.testing.assert_close(value("classes"), rate + nats)
    torch.testing.assert_close(value("coarse", "classes"), rate + 10 * grey_levels + nats)


def test_tasks_of_a_search_are_those_with_ends_in_the_order_of_the_spec(
    searching: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert searched_tasks(searching, 0, None) == []
    with pytest.raises(InputError, match=r"codec 'tiny\.thumbnail' has no search"):
        searched_tasks(searching, 1, None)
    monkeypatch.setattr(type(searching.codec), "searches", True)
    for effort in (1, MAX_EFFORT):
        assert searched_tasks(searching, effort, None) == ["classes", "coarse"]
    assert searched_tasks(searching, 1, ["coarse", "classes"]) == ["classes", "coarse"]
    assert searched_tasks(searching, 1, ["coarse"]) == ["coarse"]
    for effort in (-1, MAX_EFFORT + 1):
        with pytest.raises(InputError, match=f"effort is {effort}; it should be 0"):
            searched_tasks(searching, effort, None)


def test_what_is_wanted_is_fixed_and_what_is_found_has_gradients(
    searching: Pipeline, pictures: Tensor, side: SideInfo
) -> None:
    objective = Objective(searching, pictures, Quality.of(2), ["coarse", "classes"])
    assert not any(answer.requires_grad for _, _, answer in objective.terms)
    start = side.levels[0].clone().requires_grad_()
    objective(SideInfo((start, *side.levels[1:]), side.size), torch.ones(2)).sum().backward()
    assert start.grad is not None and float(start.grad.abs().sum()) > 0
