"""A plugin of its own kinds, data and a head, as a third party would write one: targets of every shape."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from PIL import Image, ImageDraw
from pydantic import Field, JsonValue
from torch import Generator, Tensor, nn
from torchvision import tv_tensors

from icm_core import hookimpl
from icm_core.interfaces import ComponentParams, DataSet, Figure, Nest, Sample, Tally, TaskHead, TaskKind
from icm_core.nests import tensors
from icm_core.types import FeatureLayout, Features, Legend, Prediction

icm_interface = 2

FILL = -3.5
"""What maps hold beyond the picture."""


class Thing(TaskKind):
    """What the kinds here share: a count of things for each answer, and a red frame as drawing."""

    needs_labels: ClassVar[bool] = False

    def check_target(self, target: Nest, size: tuple[int, int], legend: Legend) -> None:
        if not tensors(target):
            raise ValueError("has nothing in it")

    def example_target(self, size: tuple[int, int], legend: Legend, generator: Generator) -> Nest:
        raise NotImplementedError

    def answer(self, prediction: Prediction) -> dict[str, JsonValue]:
        return {"mean": float(prediction.output["mean"][0])}

    def describe(self, prediction: Prediction) -> str:
        return f"{float(prediction.output['mean'][0]):g}"

    def draw(self, prediction: Prediction, picture: Image.Image) -> Image.Image:
        drawn = picture.copy()
        ImageDraw.Draw(drawn).rectangle((0, 0, *picture.size), fill=(255, 0, 0))
        return drawn

    def tally(self, prediction: Prediction, target: Nest) -> Tally:
        return {"mean": float(prediction.output["mean"][0]), "things": len(tensors(target)[0])}

    def figures(self, tallies: Sequence[Tally], legend: Legend) -> dict[str, Figure]:
        things = [float(tally["things"]) for tally in tallies]  # type: ignore[arg-type]
        return {
            "count": Figure(sum(things) / len(things), "", "things"),
            "many": Figure(100 * sum(count > 1 for count in things) / len(things), "%", "pictures with several"),
            "unknown": Figure(None),
        }


class Table(Thing):
    """Rows of real numbers, (N, 5) float32, that have no place in the picture."""

    name: ClassVar[str] = "things.table"


class Heights(Thing):
    """A height for every pixel, (H, W) float32."""

    name: ClassVar[str] = "things.heights"
    compares: ClassVar[bool] = True

    def wrap(self, target: Nest, size: tuple[int, int]) -> Nest:
        return tv_tensors.Mask(target)

    def fill(self, legend: Legend) -> float:
        return FILL

    def divergence(self, output: Nest, reference: Nest) -> Tensor:
        return (output["mean"] - reference["mean"]).abs()


class Layer(Heights):
    """The same with a channel, (1, H, W)."""

    name: ClassVar[str] = "things.layer"


class Boxes(Thing):
    """Boxes and classes: a dict of (N, 4) float32 and (N,) int64."""

    name: ClassVar[str] = "things.boxes"
    ragged: ClassVar[bool] = True

    def wrap(self, target: Nest, size: tuple[int, int]) -> Nest:
        boxes = tv_tensors.BoundingBoxes(target["boxes"], format="XYXY", canvas_size=size)  # type: ignore[call-overload]
        return {**target, "boxes": boxes}

    def unwrap(self, target: Nest, size: tuple[int, int], legend: Legend) -> Nest:
        found = super().unwrap(target, size, legend)
        left, top, right, bottom = found["boxes"].unbind(1)
        kept = (right > left) & (bottom > top)
        return {key: value[kept] for key, value in found.items()}


class Outlined(Boxes):
    """Boxes with masks, (N, H, W) bool."""

    name: ClassVar[str] = "things.outlined"
    also: ClassVar[tuple[str, ...]] = ("things.boxes",)

    def wrap(self, target: Nest, size: tuple[int, int]) -> Nest:
        return {**super().wrap(target, size), "masks": tv_tensors.Mask(target["masks"])}


class Record(Thing):
    """All sorts in one dict: a map, points, numbers in double precision, and a text."""

    name: ClassVar[str] = "things.record"

    def wrap(self, target: Nest, size: tuple[int, int]) -> Nest:
        points = tv_tensors.KeyPoints(target["place"]["points"], canvas_size=size)  # type: ignore[call-overload]
        return {**target, "place": {"map": tv_tensors.Mask(target["place"]["map"]), "points": points}}


class Wrong(Table):
    """A kind whose figures cannot be had."""

    name: ClassVar[str] = "things.wrong"

    def tally(self, prediction: Prediction, target: Nest) -> Tally:
        raise ValueError("has no third row")

    def draw(self, prediction: Prediction, picture: Image.Image) -> Image.Image:
        raise KeyError("colour")


KINDS: list[type[Thing]] = [Table, Heights, Layer, Boxes, Outlined, Record, Wrong]
Kind = Literal[
    "things.table",
    "things.heights",
    "things.layer",
    "things.boxes",
    "things.outlined",
    "things.record",
    "things.wrong",
]


class Things(DataSet):
    """Pictures of up to four blocks in colours of their own on black, each with a target of the kind."""

    name: ClassVar[str] = "things.things"

    class Params(ComponentParams):
        """What the targets are."""

        kind: Kind = Field("things.boxes", description="kind of the targets")
        count: int = Field(6, ge=0, description="number of pictures")
        height: int = Field(64, ge=8, description="height in pixels")
        width: int = Field(64, ge=8, description="width in pixels")
        unit: str = Field("", description="unit of values")

    params: Params

    def __init__(self, params: Params, root: Path = Path(), split: str = "") -> None:
        super().__init__(params, root, split)

    @property
    def kind(self) -> str:  # type: ignore[override]
        return self.params.kind

    @property
    def unit(self) -> str:
        return self.params.unit

    def __len__(self) -> int:
        return self.params.count

    def __getitem__(self, number: int) -> Sample:
        height, width = self.params.height, self.params.width
        generator = torch.Generator().manual_seed(number)

        def whole(low: int, high: int) -> int:
            return int(torch.randint(low, high, (), generator=generator))

        picture = torch.zeros(3, height, width, dtype=torch.uint8)
        boxes, masks = [], []
        # Blocks in columns of their own, so that none hides another.
        columns = whole(0, 5)
        for column in range(columns):
            side = width // columns
            left, top = column * side + whole(0, side // 2), whole(0, height // 2)
            right, bottom = left + whole(1, side // 2 + 1), top + whole(1, height // 2 + 1)
            picture[0, top:bottom, left:right] = 60 * (column + 1)
            boxes.append([left, top, right, bottom])
            masks.append(picture[0] == 60 * (column + 1))
        heights = torch.rand(height, width, generator=generator)
        rows = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
        outlines = torch.stack(masks) if masks else torch.zeros(0, height, width, dtype=torch.bool)
        target: Any = {
            "things.table": torch.rand(3, 5, generator=generator) * 1000,
            "things.wrong": torch.rand(3, 5, generator=generator),
            "things.heights": heights,
            "things.layer": heights[None],
            "things.boxes": {"boxes": rows, "labels": torch.arange(columns)},
            "things.outlined": {"boxes": rows, "labels": torch.arange(columns), "masks": outlines},
            "things.record": {
                "place": {"map": heights, "points": torch.rand(2, 2, generator=generator) * min(height, width)},
                "numbers": (torch.rand(2, generator=generator, dtype=torch.float64), torch.tensor(number)),
                "text": f"picture {number}",
            },
        }[self.params.kind]
        return Sample(f"things/{number}", picture, target)


class Head(TaskHead):
    """A head of any of the kinds, whose loss keeps what it was given in `seen`."""

    name: ClassVar[str] = "things.head"
    seen: ClassVar[list[Nest]] = []

    class Params(ComponentParams):
        """What its answers are."""

        kind: Kind = Field("things.boxes", description="kind of its answers")
        scalar: bool = Field(False, description="whether the loss is a mean over the batch, as it may not be")
        unit: str = Field("", description="unit of values")

    params: Params

    def __init__(self, params: Params, features: FeatureLayout) -> None:
        super().__init__(params, features)
        self.net = nn.Conv2d(3, 1, 3, padding=1)

    @property
    def kind(self) -> str:  # type: ignore[override]
        return self.params.kind

    @classmethod
    def kind_of(cls, params: ComponentParams) -> str:
        assert isinstance(params, cls.Params)
        return params.kind

    @property
    def unit(self) -> str:
        return self.params.unit

    def forward(self, features: Features) -> Nest:
        """``mean`` (B,), and a list of what is no stack of rows."""
        found = self.net(features.cropped("image"))
        return {"mean": found.flatten(1).mean(1), "rest": [found.sum(), torch.arange(3)]}

    def loss(self, output: Nest, target: Nest) -> Tensor:
        self.seen.append(target)
        values: Tensor = output["mean"].square()
        return values.mean() if self.params.scalar else values


class OwnPass(Head):
    """The same with a loss that is made in one pass over features and targets."""

    name: ClassVar[str] = "things.own_pass"

    def losses(self, features: Features, target: Nest) -> Tensor:
        self.seen.append(target)
        return self(features)["mean"].square() + 1


@hookimpl
def icm_kinds() -> list[type[TaskKind]]:
    return [*KINDS]


@hookimpl
def icm_heads() -> list[type[TaskHead]]:
    return [Head, OwnPass]


@hookimpl
def icm_datasets() -> list[type[DataSet]]:
    return [Things]
