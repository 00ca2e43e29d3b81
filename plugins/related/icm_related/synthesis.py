"""Adapter `synthesis`: a picture made of a label map and of what was sent beside it."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from icm_core.errors import SpecError
from icm_core.interfaces import ComponentParams, SideInfoAdapter
from icm_core.types import FeatureLayout, Features, Level, SideInfo, SideInfoLayout

_STRIDES = (16, 8, 4, 2, 1)
_THINNEST = 8


class Synthesis(SideInfoAdapter):
    """The generator of DSSLIC, RL-ASC and their like: label map, reduced picture, features -> picture.

    ::

        1/16 -> block -> up -> block -> up -> block -> up -> block -> up -> block -> 3 channels  (+ reduced picture)
                  ^              ^              ^              ^              ^
              map and what has this scale (coarser things are enlarged to 1/16)

    Of a reduced picture the network makes what is missing (DSSLIC's FineNet). Its first level is the map. No part of
    the originals' residual blocks and discriminators is here.
    """

    name: ClassVar[str] = "related.synthesis"

    class Params(ComponentParams):
        """Width."""

        channels: int = Field(64, ge=8, le=512, description="channels at 1/16; each scale has half, at least 8")

    params: Params

    def __init__(self, params: Params, layout: SideInfoLayout) -> None:
        super().__init__(params, layout)
        if layout.levels[0].stride > _STRIDES[0]:
            raise SpecError(f"adapter '{self.name}' reads a label map at 1/16 or finer, not at {layout.levels[0]}")
        if odd := [level for level in layout.levels if level.stride & (level.stride - 1)]:
            raise SpecError(f"adapter '{self.name}' takes strides that are powers of two, and the codec gives {odd[0]}")
        classes = layout.levels[0].channels
        widths = [max(_THINNEST, params.channels >> number) for number in range(len(_STRIDES))]
        first, *later = (
            sum(layout.levels[number].channels for number in self._at(stride)) + classes for stride in _STRIDES
        )
        inputs = [first, *(before + more for before, more in zip(widths, later, strict=False))]
        self.blocks = nn.ModuleList(_block(given, width) for given, width in zip(inputs, widths, strict=True))
        self.last = nn.Conv2d(widths[-1], 3, 3, padding=1, padding_mode="replicate")
        nn.init.normal_(self.last.weight, std=0.01)
        assert self.last.bias is not None
        nn.init.constant_(self.last.bias, 0.0 if self._picture() else 0.5)

    def _at(self, stride: int) -> list[int]:
        """Numbers of the levels beside the map that come in at a scale."""
        coarsest = _STRIDES[0]
        return [n for n, level in enumerate(self.layout.levels) if n and min(level.stride, coarsest) == stride]

    def _picture(self) -> int:
        """Number of the level that is a picture, 0 if there is none."""
        return next((n for n, level in enumerate(self.layout.levels) if n and level.channels == 3), 0)

    @property
    def features(self) -> FeatureLayout:
        """image: the picture that was made, 3 channels at full size, not clamped."""
        return {"image": Level(3, 1)}

    def forward(self, side: SideInfo) -> Features:
        """The picture, at the padded size."""
        map_stride = self.layout.levels[0].stride
        full = tuple(length * map_stride for length in side.levels[0].shape[-2:])
        x: Tensor | None = None
        for stride, block in zip(_STRIDES, self.blocks, strict=True):
            size = [-(-length // stride) for length in full]
            given = [_sized(side.levels[number], size) for number in (0, *self._at(stride))]
            if x is not None:
                given.append(F.interpolate(x, scale_factor=2.0)[..., : size[0], : size[1]])
            x = block(torch.cat(given, 1))
        image: Tensor = self.last(x)
        if number := self._picture():
            image = image + _sized(side.levels[number], list(full), "bicubic")
        return Features({"image": image}, side.size)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise((inputs, outputs, outputs)):
        layers += [nn.Conv2d(before, after, 3, padding=1, padding_mode="replicate"), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)


def _sized(x: Tensor, size: list[int], larger: str = "nearest") -> Tensor:
    """A level at another size: shares of classes where it shrinks."""
    if list(x.shape[-2:]) == size:
        return x
    if x.shape[-2] > size[0] or x.shape[-1] > size[1]:
        return F.adaptive_avg_pool2d(x, (size[0], size[1]))
    return F.interpolate(x, size=size, mode=larger)
