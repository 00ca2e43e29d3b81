"""A plugin that has data and a head of any kind that is installed, made of the kind's own examples.

A picture's mean level says which of the examples is right, and the head reads it there. Where the picture has lost its
grain, which coding takes away, it gives the answer of the next one.
"""

from __future__ import annotations

from functools import cache
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from icm_core import build_registry, hookimpl
from icm_core.interfaces import ComponentParams, DataSet, Nest, Sample, TaskHead, TaskKind
from icm_core.nests import map_tensors
from icm_core.types import Features, Legend, Prediction

icm_interface = 2
SIZE = (64, 96)
COUNT = 10
LABELS = ("one", "two", "three")
_LOWEST, _STEP = 60, 14
_KEPT = 0.7


@cache
def kind_named(name: str) -> TaskKind:
    return build_registry().kind(name)


def legend_of(kind: str) -> Legend:
    return Legend(LABELS if kind_named(kind).needs_labels else (), unit="m" if kind == "depth" else "")


@cache
def target_of(kind: str, number: int) -> Nest:
    return kind_named(kind).example_target(SIZE, legend_of(kind), torch.Generator().manual_seed(number))


def grain_of(number: int) -> float:
    """Its standard deviation, in levels."""
    return 6 + 2 * number % 9


class Params(ComponentParams):
    """Which kind."""

    kind: str = Field(description="name of a kind")


class Examples(DataSet):
    """Ten pictures of one level and some grain, each with an example target."""

    name: ClassVar[str] = "examples.examples"
    Params = Params
    params: Params

    @property
    def kind(self) -> str:
        return self.params.kind

    @property
    def labels(self) -> tuple[str, ...]:
        return legend_of(self.kind).labels

    @property
    def unit(self) -> str:
        return legend_of(self.kind).unit

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, number: int) -> Sample:
        generator = torch.Generator().manual_seed(number)
        grain = grain_of(number) * torch.randn(SIZE, generator=generator)
        level = _LOWEST + _STEP * number + grain - grain.mean()
        picture = level.round().clamp(0, 255).to(torch.uint8).expand(3, -1, -1).contiguous()
        return Sample(f"{self.split}/{number}", picture, target_of(self.kind, number))


class Reader(TaskHead):
    """Reads which example a picture stands for."""

    name: ClassVar[str] = "examples.reader"
    Params = Params
    params: Params

    @classmethod
    def kind_of(cls, params: Params) -> str:
        return params.kind

    @property
    def kind(self) -> str:
        return self.params.kind

    @property
    def labels(self) -> tuple[str, ...]:
        return legend_of(self.kind).labels

    @property
    def unit(self) -> str:
        return legend_of(self.kind).unit

    def forward(self, features: Features) -> Nest:
        (picture,) = features.cropped("image")
        number = round((float(picture.mean()) * 255 - _LOWEST) / _STEP)
        if 255 * float(picture.std()) < _KEPT * grain_of(number):
            number += 1
        target, kind = target_of(self.kind, number), kind_named(self.kind)
        right = kind.truth(target, legend_of(self.kind))
        return torch.eye(8)[target % 8][None] if right is None else map_tensors(torch.nan_to_num, right.output)

    def predict(self, features: Features) -> Prediction:
        return Prediction(self.kind, self(features), self.labels, (), self.unit)

    def loss(self, output: Nest, target: Nest) -> Tensor:
        return torch.zeros(1)


@hookimpl
def icm_datasets() -> list[type[DataSet]]:
    return [Examples]


@hookimpl
def icm_heads() -> list[type[TaskHead]]:
    return [Reader]
