"""Head `Pyramid`: distances from the semantic image by a network that narrows and widens again."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self

from icm_core import SpecError
from icm_core.interfaces import ComponentParams, TaskHead
from icm_core.types import FeatureLayout, Features

VARIANCE = 0.5
"""Share of the mean error in logarithms that is forgiven, which is an error of scale (lambda of Eigen et al., 2014)."""

_TINY = 1e-6


class Pyramid(TaskHead):
    """Metres for every pixel, (B, 1, H, W), between ``nearest`` and ``farthest``.

    A U-Net (Ronneberger, Fischer and Brox, 2015) of five steps down to 1/32 and three up to 1/4, whose answer is
    enlarged to the picture. What it gives is a share of the way from the nearest to the farthest distance in
    logarithms, so that an answer is never 0 or less.
    """

    name: ClassVar[str] = "depth.pyramid"
    kind: ClassVar[str] = "depth"
    requires: ClassVar[tuple[str, ...]] = ("image",)

    class Params(ComponentParams):
        """The distances that it can give, and the size of the network."""

        nearest: float = Field(0.5, gt=0, description="smallest distance in metres")
        farthest: float = Field(10.0, gt=0, description="largest distance in metres")
        width: int = Field(24, ge=4, le=512, multiple_of=4, description="channels at half the picture's size")

        @model_validator(mode="after")
        def _in_order(self) -> Self:
            if self.farthest <= self.nearest:
                raise ValueError(f"farthest = {self.farthest:g} is not above nearest = {self.nearest:g}")
            return self

    params: Params

    def __init__(self, params: Params, features: FeatureLayout) -> None:
        super().__init__(params, features)
        if "image" not in features:
            raise SpecError(f"head {self.name!r} needs the map 'image', but its adapter delivers {sorted(features)}")
        w = params.width
        widths = [w, 2 * w, 4 * w, 4 * w, 4 * w]
        self.down = nn.ModuleList(
            _step(before, after, 2)
            for before, after in zip([features["image"].channels, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(
            _step(coarse + fine, fine, 1) for coarse, fine in ((4 * w, 4 * w), (4 * w, 4 * w), (4 * w, 2 * w))
        )
        self.last = nn.Conv2d(2 * w, 1, 1)

    @property
    def unit(self) -> str:
        """Metres."""
        return "m"

    def forward(self, features: Features) -> Tensor:
        """Metres (B, 1, H, W)."""
        x = features.cropped("image")
        levels = []
        for step in self.down:
            x = step(x)
            levels.append(x)
        for step, finer in zip(self.up, levels[-2::-1], strict=False):
            x = step(torch.cat([_enlarged(x, (finer.shape[-2], finer.shape[-1])), finer], 1))
        share = _enlarged(self.last(x), features.size).sigmoid()
        span = math.log(self.params.farthest / self.params.nearest)
        return self.params.nearest * (span * share).exp()

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Scale-invariant squared error of logarithms (Eigen, Puhrsch and Fergus, NeurIPS 2014), (B,).

        Pixels without a distance, NaN, count nowhere; a picture without any has a loss of 0.

        Args:
            output: metres (B, 1, H, W).
            target: metres (B, H, W).
        """
        known = ~target.isnan()
        # NaN would find its way into the gradient through a product with 0, so it is put aside first.
        true = torch.where(known, target, 1.0).clamp_min(_TINY)
        error = torch.where(known, output[:, 0].clamp_min(_TINY).log() - true.log(), 0.0)
        count = known.sum((1, 2)).clamp_min(1)
        return error.square().sum((1, 2)) / count - VARIANCE * (error.sum((1, 2)) / count).square()


def _step(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=stride, padding=1),
        nn.GroupNorm(4, after),
        nn.ReLU(),
        nn.Conv2d(after, after, 3, padding=1),
        nn.GroupNorm(4, after),
        nn.ReLU(),
    )


def _enlarged(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
