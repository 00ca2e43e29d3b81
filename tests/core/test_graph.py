"""The drawing of a pipeline."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from icm_core import InputError, Registry, SpecError, parse_spec
from icm_core.inspection.drawing import draw

SVG = "{http://www.w3.org/2000/svg}"


def drawn(registry: Registry, data: dict[str, Any], **size: int) -> ElementTree.Element:
    return ElementTree.fromstring(draw(parse_spec(data), registry, **size))


def texts(root: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def test_it_names_every_part_with_its_shapes(registry: Registry, data: dict[str, Any]) -> None:
    found = texts(drawn(registry, data, height=37, width=53))
    assert found.count("tiny.thumbnail") == 2 and found.count("tiny.enlarge") == 3
    assert {"tiny.labels", "tiny.classes", "tiny.picture", "tiny.residual"} <= set(found)
    assert {"base layer", "stream small", "enhancement layer", "labels", "classes", "coarse", "fine"} <= set(found)
    assert {"3x37x53", "computed at 48x64", "levels[0]  3x6x8", "image  3x48x64", "4x37x53"} <= set(found)
    assert "class 0, class 1, class 2" in found


def test_boxes_do_not_overlap_and_stay_inside(registry: Registry, data: dict[str, Any]) -> None:
    root = drawn(registry, data)
    whole, *boxes = root.iter(f"{SVG}rect")
    corners = [[float(box.get(key, "")) for key in ("x", "y", "width", "height")] for box in boxes]
    assert len(corners) == 4 + 3 * 3 + 4
    for index, (x, y, width, height) in enumerate(corners):
        assert x >= 0 and y >= 0
        assert x + width <= float(whole.get("width", "")) and y + height <= float(whole.get("height", ""))
        for left, top, wide, high in corners[:index]:
            apart = x >= left + wide or left >= x + width or y >= top + high or top >= y + height
            assert apart


def test_without_enhancement_there_is_no_lower_row(registry: Registry, data: dict[str, Any]) -> None:
    del data["enhancement"]
    assert "fine" not in texts(drawn(registry, data))


def test_text_is_escaped(registry: Registry, data: dict[str, Any]) -> None:
    text = "<script>alert('&')</script>"
    assert text in texts(drawn(registry, {**data, "description": text}))
    assert "<script" not in draw(parse_spec({**data, "description": text}), registry)


def test_what_cannot_be_drawn(registry: Registry, data: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        draw(parse_spec(data), registry, height=0)
    data["codec"]["use"] = "tiny.thumb"
    with pytest.raises(SpecError, match=r"did you mean 'tiny\.thumbnail'"):
        draw(parse_spec(data), registry)
