"""A plugin with a kind of its own: bright spots, as many as a picture has, in nested dicts.

Its main figure is one of the whole set, in pixels, and less of it is better. Everything else of the chain asks it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from PIL import Image, ImageDraw
from pydantic import Field
from torch import Generator, Tensor, nn

from icm_core import hookimpl
from icm_core.interfaces import ComponentParams, DataSet, Figure, Nest, Sample, Tally, TaskHead, TaskKind
from icm_core.types import FeatureLayout, Features, Legend, Prediction

icm_interface = 2
TILE = 16
NEAR = 1.0
SIZE = (48, 64)


class Spots(TaskKind):
    """Targets are ``{"places": {"xy": (N, 2) float32}}``, outputs a list with such a dict and ``scores`` a picture."""

    name: ClassVar[str] = "spots.spots"
    ragged: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False

    def check_target(self, target: Nest, size: tuple[int, int], legend: Legend) -> None:
        xy = target["places"]["xy"]
        if xy.dtype != torch.float32 or xy.dim() != 2 or xy.shape[1] != 2:
            raise ValueError(f"has places of shape {tuple(xy.shape)}; it should be (N, 2) float32")
        if len(xy) and not (xy.min() >= 0 and xy[:, 0].max() <= size[1] and xy[:, 1].max() <= size[0]):
            raise ValueError("has a spot outside of the picture")

    def example_target(self, size: tuple[int, int], legend: Legend, generator: Generator) -> Nest:
        count = int(torch.randint(4, (), generator=generator))
        return {"places": {"xy": torch.rand((count, 2), generator=generator) * torch.tensor([size[1], size[0]])}}

    def answer(self, prediction: Prediction) -> Tally:
        return {"spots": prediction.output[0]["places"]["xy"].tolist()}

    def describe(self, prediction: Prediction) -> str:
        return f"{len(prediction.output[0]['scores'])} spots"

    def draw(self, prediction: Prediction, picture: Image.Image) -> Image.Image:
        drawn = picture.copy()
        for x, y in prediction.output[0]["places"]["xy"].tolist():
            ImageDraw.Draw(drawn).ellipse((x - 3, y - 3, x + 3, y + 3), outline=(255, 0, 0))
        return drawn

    def truth(self, target: Nest, legend: Legend) -> Prediction:
        return Prediction(self.name, [{**target, "scores": torch.ones(len(target["places"]["xy"]))}])

    def tally(self, prediction: Prediction, target: Nest) -> Tally:
        true, found = target["places"]["xy"], prediction.output[0]["places"]["xy"]
        farthest = torch.full((len(true), 1), math.hypot(*SIZE))
        nearest = torch.cat((torch.cdist(true, found), farthest), 1).min(1).values
        return {"distances": nearest.tolist(), "seen": None if not len(true) else {"spots": len(found)}}

    def figures(self, tallies: Sequence[Tally], legend: Legend) -> dict[str, Figure]:
        each = [distance for tally in tallies for distance in tally["distances"]]
        near = None if not each else 100 * sum(distance < NEAR for distance in each) / len(each)
        return {
            "median": Figure(statistics.median(each) if each else None, "px", "median distance", False, 3),
            "near": Figure(near, "%", "spots within a pixel"),
        }


class SpotsOrMore(Spots):
    """Targets of a kind that heads of another one can be measured on as well."""

    name: ClassVar[str] = "spots.more"
    also: ClassVar[tuple[str, ...]] = ("spots.spots",)


class Pictures(DataSet):
    """Made-up pictures with none to four bright spots in the dark."""

    name: ClassVar[str] = "spots.field"
    kind: ClassVar[str] = "spots.spots"

    class Params(ComponentParams):
        """How many, and what is wrong with them."""

        count: int = Field(6, ge=1, description="number of pictures")
        wrong: str = Field("", description="'shape' or 'none': what is wrong with the second target")

    params: Params

    def __len__(self) -> int:
        return self.params.count

    def __getitem__(self, number: int) -> Sample:
        generator = torch.Generator().manual_seed(number)
        rows, columns = torch.arange(SIZE[0]) + 0.5, torch.arange(SIZE[1]) + 0.5
        picture = 0.08 * torch.rand(SIZE, generator=generator)
        tiles = torch.randperm(SIZE[0] // TILE * (SIZE[1] // TILE), generator=generator)[: number % 5]
        corner = torch.stack((tiles % (SIZE[1] // TILE), tiles // (SIZE[1] // TILE)), 1) * TILE
        xy = corner + 3 + 10 * torch.rand((len(tiles), 2), generator=generator)
        for x, y in xy:
            picture += torch.exp(-((columns[None] - x) ** 2 + (rows[:, None] - y) ** 2) / 4)
        target: Nest = {"places": {"xy": xy.float()}}
        if number == 1 and self.params.wrong:
            target = {"places": {"xy": xy[:, 0]}} if self.params.wrong == "shape" else None
        pixels = (picture.clamp(0, 1) * 255).round().to(torch.uint8)
        return Sample(f"{self.split}/{number}", pixels.expand(3, -1, -1).contiguous(), target)


class FieldOrMore(Pictures):
    """The same, of the other kind."""

    name: ClassVar[str] = "spots.field_or_more"
    kind: ClassVar[str] = "spots.more"


class Finder(TaskHead):
    """The bright place of each tile of 16x16 pixels, where there is one."""

    name: ClassVar[str] = "spots.finder"
    kind: ClassVar[str] = "spots.spots"

    class Params(ComponentParams):
        """How bright a spot has to be."""

        bright: float = Field(0.4, ge=0, le=1, description="brightness of a spot")

    params: Params

    def __init__(self, params: Params, features: FeatureLayout) -> None:
        super().__init__(params, features)
        self.sharpness = nn.Parameter(torch.tensor(20.0))

    def forward(self, features: Features) -> list[Nest]:
        return [self._spots(grey) for grey in features.cropped("image").mean(1)]

    def _spots(self, grey: Tensor) -> Nest:
        height, width = (side // TILE for side in grey.shape)
        tiles = grey[: height * TILE, : width * TILE].unfold(0, TILE, TILE).unfold(1, TILE, TILE)
        flat = tiles.reshape(height * width, TILE * TILE)
        shares = (self.sharpness * flat).softmax(1).view(-1, TILE, TILE)
        along = torch.arange(TILE, device=grey.device) + 0.5
        number = torch.arange(height * width, device=grey.device)
        x = (shares.sum(1) * along).sum(1) + TILE * (number % width)
        y = (shares.sum(2) * along).sum(1) + TILE * (number // width)
        bright = flat.max(1).values
        kept = bright > self.params.bright
        return {"places": {"xy": torch.stack((x, y), 1)[kept]}, "scores": bright[kept]}

    def loss(self, output: list[Nest], target: Sequence[Nest]) -> Tensor:
        return torch.stack(
            [
                torch.cdist(wanted["places"]["xy"], found["places"]["xy"]).min(1).values.sum()
                if len(wanted["places"]["xy"]) and len(found["scores"])
                else self.sharpness.sum() * 0
                for found, wanted in zip(output, target, strict=True)
            ]
        )


class Blind(Finder):
    """Sees nothing and says so in numbers that are none."""

    name: ClassVar[str] = "spots.blind"

    def forward(self, features: Features) -> list[Nest]:
        empty = torch.full((1, 2), math.nan)
        return [{"places": {"xy": empty}, "scores": torch.ones(1)} for _ in features.maps["image"]]


@hookimpl
def icm_kinds() -> list[type[TaskKind]]:
    return [Spots, SpotsOrMore]


@hookimpl
def icm_datasets() -> list[type[DataSet]]:
    return [Pictures, FieldOrMore]


@hookimpl
def icm_heads() -> list[type[TaskHead]]:
    return [Finder, Blind]


@hookimpl
def icm_specs() -> list[Path]:
    return [Path(__file__).with_name(f"{name}.json") for name in ("spots-jpeg", "spots-webp")]
