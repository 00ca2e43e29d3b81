"""A pipeline as a drawing: codec, streams, adapters, heads and enhancement with their shapes, as SVG.

::

    picture -> codec -> (base layer) -> codec -> adapter -> head -> prediction      one row per task
       `-----> enhancement -> (enhancement layer) -> enhancement -> fine picture
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import torch
from jinja2 import Environment, StrictUndefined

from icm_core.inspection.cost import Account, ModuleCost, account
from icm_core.pipeline.build import build
from icm_core.plugins.registry import Registry
from icm_core.spec.model import FINE, PipelineSpec

CHARACTER, LINE, PADDING, GAP, TOP = 6.7, 17, 12, 46, 64
"""Sizes in pixels: a character and a line of text, the space inside a box and between columns, the title."""


MOST_OUTPUTS = 4
"""Tensors of a nest that are named."""


@dataclass(frozen=True)
class Box:
    """A box with lines of text.

    Attributes:
        style: class in the style sheet: ``"picture"``, ``"codec"``, ``"stream"``, ``"adapter"``, ``"head"``,
            ``"result"`` or ``"enhancement"``.
        lines: the first is the title.
    """

    style: str
    lines: tuple[str, ...]
    x: float = 0
    y: float = 0
    width: float = 0
    height: float = 0

    @property
    def size(self) -> tuple[float, float]:
        """Width and height that the text needs."""
        longest = max(len(line) for line in self.lines)
        return longest * CHARACTER + 2 * PADDING, len(self.lines) * LINE + 2 * PADDING - 4

    def at(self, x: float, y: float, width: float) -> Box:
        """The box with its left edge at x and its middle at y."""
        height = self.size[1]
        return Box(self.style, self.lines, x, y - height / 2, width, height)

    @property
    def middle(self) -> float:
        """y of its middle."""
        return self.y + self.height / 2


def draw(spec: PipelineSpec, registry: Registry, *, height: int = 512, width: int = 1024) -> str:
    """The SVG of a pipeline, which needs no weights.

    Args:
        spec: the pipeline.
        registry: what is installed.
        height: rows of the picture whose shapes are shown.
        width: its columns.

    Raises:
        SpecError: the spec cannot be built.
        InputError: no file holds a picture of this size.
    """
    found = account(spec, registry, height=height, width=width)
    with torch.device("meta"), torch.no_grad():
        pipeline = build(spec, registry)
        pictures = torch.empty(1, 3, *found.padded)
        streams = list(pipeline.codec(pictures, torch.ones(1)).bits)
        kinds = {name: (pipeline.task(name).head.kind, pipeline.task(name).head.labels) for name in spec.tasks}
    columns, lower = _columns(spec, found, streams, kinds)
    return _svg(spec, found, *_placed(columns, lower), over=spec.enhancement.over if spec.enhancement else None)


def _columns(
    spec: PipelineSpec, found: Account, streams: Sequence[str], kinds: Mapping[str, tuple[str, tuple[str, ...]]]
) -> tuple[list[list[Box]], list[Box]]:
    """Boxes of the tasks' rows by column, and those of the enhancement's row."""
    parts = {module.path: module for module in found.modules if module.use}
    codec = parts["codec"]
    picture = Box("picture", ("picture", f"3x{found.height}x{found.width}", *_padded(found)))
    columns = [
        [picture],
        [Box("codec", (codec.use, "codec, encode", _cost(codec)))],
        [Box("stream", ("base layer", *(f"stream {name}" for name in streams)))],
        [Box("codec", (codec.use, "codec, decode", *_shapes(codec)))],
        [_part("adapter", parts[f"tasks.{name}.adapter"]) for name in spec.tasks],
        [_part("head", parts[f"tasks.{name}.head"], shapes=False) for name in spec.tasks],
        [_result(name, parts[f"tasks.{name}.head"], found, *kinds[name]) for name in spec.tasks],
    ]
    if spec.enhancement is None:
        return columns, []
    enhancement = parts["enhancement"]
    return columns, [
        Box("enhancement", (enhancement.use, "enhancement, encode", _cost(enhancement))),
        Box("stream", ("enhancement layer",)),
        Box("enhancement", (enhancement.use, "enhancement, decode")),
        Box("result", (FINE, "picture", f"3x{found.height}x{found.width}")),
    ]


def _part(style: str, module: ModuleCost, *, shapes: bool = True) -> Box:
    return Box(style, (module.use, *(_shapes(module) if shapes else []), _cost(module)))


def _result(name: str, module: ModuleCost, found: Account, kind: str, labels: Sequence[str]) -> Box:
    shapes = [
        # A decoded picture's prediction has its own size.
        (*shape[:2], found.height, found.width) if shape[2:] == found.padded else shape
        for shape in module.outputs.values()
    ]
    named = (
        [_shape(shapes[0])]
        if list(module.outputs) == ["output"]
        else [f"{name}  {_shape(shape)}" for name, shape in zip(module.outputs, shapes, strict=True)][:MOST_OUTPUTS]
    )
    few = [", ".join(labels)] if 0 < len(labels) <= 4 else [f"{len(labels)} labels"] if labels else []
    return Box("result", (name, kind, *few, *named))


def _shapes(module: ModuleCost) -> list[str]:
    return [f"{name}  {_shape(shape)}" for name, shape in module.outputs.items()]


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape[1:]))


def _cost(module: ModuleCost) -> str:
    return f"{module.cost.parameters / 1e6:.2f} M, {module.cost.kmac_per_pixel:.1f} kMAC/pixel"


def _padded(found: Account) -> list[str]:
    same = found.padded == (found.height, found.width)
    return [] if same else [f"computed at {found.padded[0]}x{found.padded[1]}"]


def _placed(columns: list[list[Box]], lower: list[Box]) -> tuple[list[list[Box]], list[Box], float, float]:
    """Boxes with their places, and the width and height of the drawing."""
    below: dict[int, Box] = dict(zip((1, 2, 3, 6), lower, strict=False))
    widths = [
        max(box.size[0] for box in [*boxes, *([below[index]] if index in below else [])])
        for index, boxes in enumerate(columns)
    ]
    lefts = [24 + sum(widths[:index]) + GAP * index for index in range(len(widths))]
    row = max(box.size[1] for boxes in columns[4:] for box in boxes) + 22
    tasks = len(columns[4])
    tall = max(tasks * row, max(boxes[0].size[1] for boxes in columns[:4]) + 22)
    placed = []
    for index, boxes in enumerate(columns):
        step = tall / len(boxes)
        middles = [TOP + step * (number + 0.5) for number in range(len(boxes))]
        placed.append([box.at(lefts[index], y, widths[index]) for box, y in zip(boxes, middles, strict=True)])
    bottom = TOP + tall + 64
    under = [box.at(lefts[index], bottom, widths[index]) for index, box in below.items()]
    return placed, under, lefts[-1] + widths[-1] + 24, (bottom + 60) if under else TOP + tall + 24


def _svg(
    spec: PipelineSpec,
    found: Account,
    columns: list[list[Box]],
    lower: list[Box],
    width: float,
    height: float,
    *,
    over: str | None,
) -> str:
    picture, encode, stream, decode = (boxes[0] for boxes in columns[:4])
    lines = [_across([picture, encode]), _across([encode, stream]), _across([stream, decode])]
    for adapter, head, result in zip(*columns[4:], strict=True):
        lines += [_across([decode, adapter]), _across([adapter, head]), _across([head, result])]
    dashed = []
    if lower and over is not None:
        below, above, further, fine = lower
        lines += [_across(pair) for pair in ((below, above), (above, further), (further, fine))]
        x = picture.x + picture.width / 2
        lines.append(f"M{x:.0f} {picture.y + picture.height:.0f}V{below.middle:.0f}H{below.x - 2:.0f}")
        coarse = columns[6][list(spec.tasks).index(over)]
        side = coarse.x + coarse.width + 10
        level = lower[0].y - 14
        dashed.append(f"M{coarse.x + coarse.width:.0f} {coarse.middle:.0f}H{side:.0f}V{level:.0f}H{_center(below):.0f}")
        side_information = decode.x + decode.width / 4
        lines.append(f"M{side_information:.0f} {decode.y + decode.height:.0f}V{further.y - 2:.0f}")
        dashed += [f"M{_center(box):.0f} {level:.0f}V{box.y - 2:.0f}" for box in (below, further)]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = files(__package__ or "icm_core.inspection").joinpath("drawing.svg.j2").read_text("utf-8")
    return environment.from_string(template).render(
        spec=spec,
        title=f"{found.name}: {found.total.parameters / 1e6:.2f} M parameters",
        width=round(width),
        height=round(height),
        boxes=[box for boxes in (*columns, lower) for box in boxes],
        lines=lines,
        dashed=dashed,
        line=LINE,
        padding=PADDING,
    )


def _center(box: Box) -> float:
    return box.x + box.width / 2


def _across(pair: Iterable[Box]) -> str:
    """The path of an arrow from one box to the next column's."""
    start, end = pair
    x0, y0, x1, y1 = start.x + start.width, start.middle, end.x - 2, end.middle
    bend = (x0 + x1) / 2
    return f"M{x0:.0f} {y0:.0f}C{bend:.0f} {y0:.0f} {bend:.0f} {y1:.0f} {x1:.0f} {y1:.0f}"
