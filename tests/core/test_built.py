"""What building a pipeline draws, refuses and leaves alone."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch

from icm_core import Registry, SpecError, build, parse_spec


def test_looking_how_large_a_pipeline_is_draws_nothing(
    registry: Registry, data: dict[str, Any], tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, drawn = tiny.Thumbnail.__init__, list[torch.Tensor]()

    def noisy(codec: Any, params: Any) -> None:
        drawn.append(torch.rand(4, device="cpu"))
        plain(codec, params)

    monkeypatch.setattr(tiny.Thumbnail, "__init__", noisy)
    torch.manual_seed(6)
    expected = torch.rand(4)
    torch.manual_seed(6)
    build(parse_spec(data), registry)
    assert len(drawn) == 2 and torch.equal(drawn[1], expected)


def test_buffers_are_drawn_even_where_parameters_are_not(
    registry: Registry, data: dict[str, Any], tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tiny.Thumbnail.__init__

    def noisy(codec: Any, params: Any) -> None:
        plain(codec, params)
        codec.register_buffer("noise", torch.zeros(50).normal_(), persistent=False)

    monkeypatch.setattr(tiny.Thumbnail, "__init__", noisy)
    for draw in (True, False):
        assert build(parse_spec(data), registry, draw=draw).get_buffer("codec.noise").count_nonzero() == 50


@pytest.mark.parametrize("ends", [(1.0, 4.0), (2.0, 4.0), (1.0, 3.0)])
def test_both_layers_have_the_same_qualities(
    registry: Registry, data: dict[str, Any], tiny: ModuleType, monkeypatch: pytest.MonkeyPatch, ends: Any
) -> None:
    monkeypatch.setattr(tiny.Residual, "quality_range", ends)
    if ends == (1.0, 4.0):
        assert build(parse_spec(data), registry).enhancement is not None
    else:
        with pytest.raises(SpecError, match=r"and the codec has .*; they must be the same"):
            build(parse_spec(data), registry)


def test_a_picture_that_is_made_of_another_is_read_by_no_adapter(registry: Registry, data: dict[str, Any]) -> None:
    copied = {"adapter": {"use": "core.decoded_picture", "params": {"of": "coarse"}}, "head": {"use": "tiny.picture"}}
    data["tasks"]["copied"] = copied
    assert "copied" in build(parse_spec(data), registry).tasks
    data["tasks"]["classes"]["adapter"] = {"use": "core.decoded_picture", "params": {"of": "copied"}}
    with pytest.raises(SpecError, match=r"tasks\.classes\.adapter reads the picture 'copied': unknown picture"):
        build(parse_spec(data), registry)


def test_every_feature_that_a_head_needs_has_to_be_there(
    registry: Registry, data: dict[str, Any], tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny.Labels, "requires", ("image", "depth", "edges"))
    with pytest.raises(SpecError) as caught:
        build(parse_spec(data), registry)
    assert str(caught.value) == (
        "tasks.labels.head: tiny.labels needs the feature 'depth', 'edges', and adapter tiny.enlarge provides 'image'"
    )
