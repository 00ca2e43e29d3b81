"""What stands in the boxes of a pipeline's drawing."""

from __future__ import annotations

import re
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
