"""Where the boxes of a pipeline's drawing stand, and which of them its arrows join."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from icm_core import Registry, parse_spec
from icm_core.inspection.drawing import draw
from icm_core.types import Features

SVG = "{http://www.w3.org/2000/svg}"
CHARACTER, LINE = 6.7, 17


@dataclass(frozen=True)
class Box:
    style: str
    left: float
    top: float
    width: float
    height: float
    texts: tuple[str, ...]

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height

    @property
    def middle(self) -> float:
        return self.top + self.height / 2

    @property
    def name(self) -> str:
        """Its title, and of a codec or an enhancement which half it is."""
        half = self.texts[1].rpartition(", ")[2] if len(self.texts) > 1 else ""
        return f"{self.texts[0]} {half}" if half in ("encode", "decode") else self.texts[0]


@dataclass(frozen=True)
class Drawing:
    width: float
    height: float
    boxes: list[Box]
    lines: list[str]
    dashed: list[str]

    def box(self, name: str) -> Box:
        (found,) = [box for box in self.boxes if box.name == name]
        return found


def drawing(registry: Registry, data: dict[str, Any], **size: int) -> Drawing:
    root = ElementTree.fromstring(draw(parse_spec(data), registry, **size))
    parts: list[tuple[ElementTree.Element, list[str]]] = []
    for element in root:
        if element.tag == f"{SVG}rect":
            parts.append((element, []))
        elif element.tag == f"{SVG}text" and len(parts) > 1:  # the first rectangle is the paper
            parts[-1][1].append(element.text or "")
    boxes = []
    for element, texts in parts[1:]:
        left, top, width, height = (float(element.get(key, "")) for key in ("x", "y", "width", "height"))
        boxes.append(Box(element.get("class", ""), left, top, width, height, (*texts,)))
    paths = [(element.get("class", ""), element.get("d", "")) for element in root.iter(f"{SVG}path")]
    return Drawing(
        float(root.get("width", "")),
        float(root.get("height", "")),
        boxes,
        [path for style, path in paths if style == "line"],
        [path for style, path in paths if style == "line dashed"],
    )


@pytest.fixture
def drawn(registry: Registry, data: dict[str, Any]) -> Drawing:
    """Three heads of different names, so that a mistaken box shows; 37 x 53 pixels are computed at 48 x 64."""
    return drawing(registry, data, height=37, width=53)


def test_every_box_says_what_it_is_and_has_its_shapes(drawn: Drawing) -> None:
    small, products = "0.00 M, 0.0 kMAC/pixel", "0.00 M, 0.2 kMAC/pixel"
    adapter = ("adapter", ("tiny.enlarge", "image  3x48x64", small))
    assert [(box.style, box.texts) for box in drawn.boxes] == [
        ("picture", ("picture", "3x37x53", "computed at 48x64")),
        ("codec", ("tiny.thumbnail", "codec, encode", small)),
        ("stream", ("base layer", "stream small")),
        ("codec", ("tiny.thumbnail", "codec, decode", "levels[0]  3x6x8", "levels[1]  3x3x4")),
        *[adapter] * 3,
        ("head", ("tiny.labels", products)),
        ("head", ("tiny.classes", small)),
        ("head", ("tiny.picture", small)),
        ("result", ("labels", "segmentation", "4x37x53")),
        ("result", ("classes", "classification", "class 0, class 1, class 2", "3")),
        ("result", ("coarse", "reconstruction", "3x37x53")),
        ("enhancement", ("tiny.residual", "enhancement, encode", small)),
        ("stream", ("enhancement layer",)),
        ("enhancement", ("tiny.residual", "enhancement, decode")),
        ("result", ("fine", "picture", "3x37x53")),
    ]


def test_a_box_costs_what_its_own_component_costs(
    registry: Registry, data: dict[str, Any], tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def grown(cls: Any, count: int) -> None:
        plain = cls.__init__

        def larger(component: Any, *given: Any) -> None:
            plain(component, *given)
            component.more = nn.Parameter(torch.zeros(count))

        monkeypatch.setattr(cls, "__init__", larger)

    for number, cls in enumerate((tiny.Thumbnail, tiny.Enlarge, tiny.Residual, tiny.Labels), start=2):
        grown(cls, number * 10_000)
    found = drawing(registry, data, height=37, width=53)
    costs = {box.name: box.texts[-1].partition(" M")[0] for box in found.boxes if "kMAC" in box.texts[-1]}
    assert costs == {
        "tiny.thumbnail encode": "0.02",
        "tiny.enlarge": "0.03",
        "tiny.labels": "0.05",
        "tiny.classes": "0.00",
        "tiny.picture": "0.00",
        "tiny.residual encode": "0.04",
    }


def test_maps_and_vectors_have_their_shapes(
    registry: Registry, data: dict[str, Any], tiny: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tiny.Enlarge.forward

    def forward(adapter: Any, side: Any) -> Features:
        found = plain(adapter, side)
        return Features({"gist": found.maps["image"].mean((2, 3)), **found.maps}, found.size)

    monkeypatch.setattr(tiny.Enlarge, "forward", forward)
    found = drawing(registry, data, height=37, width=53)
    assert found.boxes[4].texts[:-1] == ("tiny.enlarge", "gist  3", "image  3x48x64")


@pytest.mark.parametrize(
    ("size", "padded"),
    [((48, 64), None), ((48, 63), "48x64"), ((47, 64), "48x64"), ((16, 1), "16x16"), ((1, 16), "16x16")],
)
def test_the_computed_size_is_said_where_a_side_differs(
    registry: Registry, data: dict[str, Any], size: tuple[int, int], padded: str | None
) -> None:
    found = drawing(registry, data, height=size[0], width=size[1]).box("picture")
    assert found.texts == ("picture", f"3x{size[0]}x{size[1]}", *([f"computed at {padded}"] if padded else []))


def test_text_fits_into_its_box(drawn: Drawing) -> None:
    for box in drawn.boxes:
        assert box.height == LINE * len(box.texts) + 20
        assert box.width >= round(CHARACTER * max(map(len, box.texts)) + 24, 1)


def test_columns_stand_side_by_side_and_are_as_wide_as_their_longest_text(drawn: Drawing) -> None:
    columns: dict[float, list[Box]] = {}
    for box in drawn.boxes:
        columns.setdefault(box.left, []).append(box)
    lefts = sorted(columns)
    assert [sorted({box.style for box in columns[left]}) for left in lefts] == [
        ["picture"],
        ["codec", "enhancement"],
        ["stream"],
        ["codec", "enhancement"],
        ["adapter"],
        ["head"],
        ["result"],
    ]
    assert lefts[0] == 24
    for left, following in zip(lefts, [*lefts[1:], None], strict=True):
        (width,) = {box.width for box in columns[left]}
        longest = max(len(text) for box in columns[left] for text in box.texts)
        assert width == pytest.approx(CHARACTER * longest + 24, abs=0.06)
        if following is not None:
            assert following - left - width == pytest.approx(46, abs=0.2)
        else:
            assert drawn.width == pytest.approx(left + width + 24, abs=1)


def test_rows_are_as_high_as_the_largest_box_of_any_task(drawn: Drawing) -> None:
    """Four lines in the second task's result: 88 pixels, and 22 between."""
    for style, names in (("head", ["tiny.labels", "tiny.classes", "tiny.picture"]), ("result", ["labels", "classes"])):
        middles = [drawn.box(name).middle for name in names]
        assert middles == pytest.approx([119.0, 229.0, 339.0][: len(names)], abs=0.1), style
    assert [box.middle for box in drawn.boxes if box.style == "adapter"] == pytest.approx([119, 229, 339], abs=0.1)
    upper = ["picture", "tiny.thumbnail encode", "base layer", "tiny.thumbnail decode"]
    assert [drawn.box(name).middle for name in upper] == pytest.approx([229.0] * 4, abs=0.1)  # the middle of all rows
    lower = ["tiny.residual encode", "enhancement layer", "tiny.residual decode", "fine"]
    assert [drawn.box(name).middle for name in lower] == pytest.approx([458.0] * 4, abs=0.1)
    assert drawn.height == 518


def test_without_an_enhancement_the_drawing_ends_below_its_rows(registry: Registry, data: dict[str, Any]) -> None:
    del data["enhancement"]
    found = drawing(registry, data, height=37, width=53)
    assert found.height == 64 + 3 * 110 + 24 and found.dashed == []
    assert len(found.lines) == 3 + 3 * 3


def test_one_task_leaves_room_for_the_boxes_before_it(registry: Registry, data: dict[str, Any]) -> None:
    """The decoding codec has four lines, the task three at most."""
    data = {**data, "tasks": {"labels": data["tasks"]["labels"]}, "enhancement": None}
    found = drawing(registry, data, height=37, width=53)
    assert found.height == 64 + 110 + 24
    assert {box.middle for box in found.boxes} == {64 + 55.0}


def test_arrows_join_the_boxes_that_hand_something_over(drawn: Drawing) -> None:
    adapters = [box for box in drawn.boxes if box.style == "adapter"]
    names = {id(box): box.name for box in drawn.boxes} | {id(box): f"adapter {n}" for n, box in enumerate(adapters)}
    found = []
    for path in drawn.lines:
        if "C" not in path:
            continue
        numbers = [float(number) for number in re.findall(r"-?\d+", path)]
        x0, y0, bend, first, again, last, x1, y1 = numbers
        (start,) = [box for box in drawn.boxes if abs(box.right - x0) <= 1 and abs(box.middle - y0) <= 1]
        (end,) = [box for box in drawn.boxes if abs(box.left - 2 - x1) <= 1 and abs(box.middle - y1) <= 1]
        assert (bend, first, last) == (again, y0, y1) and abs(bend - (x0 + x1) / 2) <= 1
        found.append((names[id(start)], names[id(end)]))
    assert found == [
        ("picture", "tiny.thumbnail encode"),
        ("tiny.thumbnail encode", "base layer"),
        ("base layer", "tiny.thumbnail decode"),
        ("tiny.thumbnail decode", "adapter 0"),
        ("adapter 0", "tiny.labels"),
        ("tiny.labels", "labels"),
        ("tiny.thumbnail decode", "adapter 1"),
        ("adapter 1", "tiny.classes"),
        ("tiny.classes", "classes"),
        ("tiny.thumbnail decode", "adapter 2"),
        ("adapter 2", "tiny.picture"),
        ("tiny.picture", "coarse"),
        ("tiny.residual encode", "enhancement layer"),
        ("enhancement layer", "tiny.residual decode"),
        ("tiny.residual decode", "fine"),
    ]


def corners(path: str) -> list[tuple[float, float]]:
    """The places that a path of straight strokes goes through."""
    x = y = 0.0
    found = []
    for letter, text in re.findall(r"([MHV])([-\d. ]+)", path):
        numbers = [float(number) for number in text.split()]
        x, y = (numbers[0], numbers[1]) if letter == "M" else (numbers[0], y) if letter == "H" else (x, numbers[0])
        found.append((x, y))
    return found


def near(one: tuple[float, float], x: float, y: float) -> bool:
    return abs(one[0] - x) <= 1 and abs(one[1] - y) <= 1


def test_the_enhancement_gets_the_picture_and_the_side_information(drawn: Drawing) -> None:
    to_encode, from_decode = [corners(path) for path in drawn.lines if "C" not in path]
    picture, encode = drawn.box("picture"), drawn.box("tiny.residual encode")
    assert near(to_encode[0], picture.left + picture.width / 2, picture.bottom)
    assert near(to_encode[-1], encode.left - 2, encode.middle)
    side, decode = drawn.box("tiny.thumbnail decode"), drawn.box("tiny.residual decode")
    assert near(from_decode[0], side.left + side.width / 4, side.bottom)
    assert near(from_decode[-1], side.left + side.width / 4, decode.top - 2)


@pytest.mark.parametrize("over", ["coarse", "other"])
def test_the_base_picture_goes_to_both_halves_of_the_enhancement(
    registry: Registry, data: dict[str, Any], over: str
) -> None:
    data["tasks"] = {"other": data["tasks"]["coarse"], **data["tasks"]}
    data["enhancement"]["over"] = over
    drawn = drawing(registry, data, height=37, width=53)
    base, encode, decode = (drawn.box(name) for name in (over, "tiny.residual encode", "tiny.residual decode"))
    along, *down = [corners(path) for path in drawn.dashed]
    level = encode.top - 14
    middle = encode.left + encode.width / 2
    assert near(along[0], base.right, base.middle) and near(along[1], base.right + 10, base.middle)
    assert near(along[2], base.right + 10, level) and near(along[3], middle, level)
    assert len(down) == 2
    for path, box in zip(down, (encode, decode), strict=True):
        assert near(path[0], box.left + box.width / 2, level)
        assert near(path[1], box.left + box.width / 2, box.top - 2)
