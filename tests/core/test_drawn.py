"""What stands in the boxes of a pipeline's drawing."""

from __future__ import annotations

import re
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch

from icm_core import Registry, parse_spec
from icm_core.inspection.drawing import draw


def texts(registry: Registry, data: dict[str, Any], **size: int) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", draw(parse_spec(data), registry, **size))


def test_of_many_tensors_four_are_named(
    registry: Registry, data: dict[str, Any], tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        tiny.Classes, "forward", lambda *_: {f"map {n}": torch.empty(1, n + 2, 3, device="meta") for n in range(6)}
    )
    found = [text for text in texts(registry, data) if "map" in text]
    assert found == ["map 0  2x3", "map 1  3x3", "map 2  4x3", "map 3  5x3"]


@pytest.mark.parametrize(
    ("count", "said"), [(4, "class 0, class 1, class 2, class 3"), (5, "5 labels"), (2, "class 0, class 1")]
)
def test_up_to_four_labels_are_named(registry: Registry, data: dict[str, Any], count: int, said: str) -> None:
    data["tasks"]["classes"]["head"]["params"] = {"classes": count}
    assert said in texts(registry, data)


def test_costs_are_millions_of_parameters_and_thousands_of_products(registry: Registry, data: dict[str, Any]) -> None:
    found = texts(registry, data, height=32, width=64)
    # A 3x3 and a 1x1 convolution: 159 parameters, (3 * 5 * 9 + 5 * 4) products.
    assert "0.00 M, 0.2 kMAC/pixel" in found
    assert "0.00 M, 0.0 kMAC/pixel" in found
    assert not [text for text in found if "kMAC" in text and not text.startswith("0.00 M")]


def test_the_title_counts_all_parameters(
    registry: Registry, data: dict[str, Any], tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tiny.Classes.__init__

    def wider(head: Any, *given: Any) -> None:
        plain(head, *given)
        head.more = torch.nn.Parameter(torch.zeros(120, 1000))

    monkeypatch.setattr(tiny.Classes, "__init__", wider)
    assert "tiny: 0.12 M parameters" in texts(registry, data)


def test_every_stream_is_named_in_the_codecs_order(
    registry: Registry, data: dict[str, Any], tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tiny.Thumbnail.forward

    def forward(codec: Any, *given: Any) -> Any:
        found = plain(codec, *given)
        return replace(found, bits={"upper": found.bits["small"], "lower": found.bits["small"]})

    monkeypatch.setattr(tiny.Thumbnail, "forward", forward)
    assert [text for text in texts(registry, data) if "stream" in text] == ["stream upper", "stream lower"]


def test_the_dashed_arrow_begins_at_the_picture_that_is_refined(registry: Registry, data: dict[str, Any]) -> None:
    tasks = dict(data["tasks"])
    starts = []
    for order in (("coarse", "labels", "classes"), ("labels", "coarse", "classes"), ("labels", "classes", "coarse")):
        drawn = draw(parse_spec({**data, "tasks": {name: tasks[name] for name in order}}), registry)
        place = re.search(r'<text class="name" x="[^"]*" y="([^"]*)"[^>]*>coarse</text>', drawn)
        (start, *_) = re.findall(r'd="M(\d+) (\d+)H\d+V\d+H\d+"', drawn)
        assert place is not None
        starts.append((float(start[1]), float(place[1])))
    assert starts == sorted(starts) and len({y for y, _ in starts}) == 3
    assert max(abs(arrow - text) for arrow, text in starts) < 60  # inside of its box
