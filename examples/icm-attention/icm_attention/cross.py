"""Adapter `Cross`: the finest level of the side information asks the coarser ones by attention."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self

from icm_core import SpecError
from icm_core.interfaces import ComponentParams, SideInfoAdapter
from icm_core.types import FeatureLayout, Features, Level, SideInfo, SideInfoLayout


class Cross(SideInfoAdapter):
    """Cross-attention (Vaswani et al., 2017) between levels, in place of adding them.

    ::

        h1 -> queries --+
                        attention -> + h1' -> mix -> enlarge (fused, 1/16) -> enlarge (image, full size)
        h2 -> keys, values
    """

    name: ClassVar[str] = "attention.cross"

    class Params(ComponentParams):
        """Size of the attention."""

        channels: int = Field(96, ge=4, le=1024, description="channels of queries, keys and values")
        heads: int = Field(4, ge=1, le=64, description="attention heads; divides channels")

        @model_validator(mode="after")
        def _heads_divide(self) -> Self:
            if self.channels % self.heads:
                raise ValueError(f"channels = {self.channels} is not a multiple of heads = {self.heads}")
            return self

    params: Params

    def __init__(self, params: Params, layout: SideInfoLayout) -> None:
        super().__init__(params, layout)
        finest, coarser = layout.levels[0], layout.levels[1:]
        if not coarser or finest.stride % 2:
            strides = [level.stride for level in layout.levels]
            raise SpecError(
                f"adapter {self.name!r} fuses two levels or more, the finest at an even stride, not {strides}"
            )
        c = params.channels
        self.own = nn.Conv2d(finest.channels, c, 3, padding=1)
        self.queries = nn.Conv2d(finest.channels, c, 1)
        self.keys = nn.ModuleList(nn.Conv2d(level.channels, c, 1) for level in coarser)
        self.values = nn.ModuleList(nn.Conv2d(level.channels, c, 1) for level in coarser)
        self.answer = nn.Conv2d(c, c, 1)
        self.mix = nn.Sequential(nn.ReLU(), nn.Conv2d(c, 4 * layout.width, 3, padding=1), nn.PixelShuffle(2))
        stride = finest.stride // 2
        self.enlarge = nn.Sequential(
            nn.ReLU(), nn.Conv2d(layout.width, 3 * stride * stride, 3, padding=1), nn.PixelShuffle(stride)
        )

    @property
    def features(self) -> FeatureLayout:
        """image: full size; fused: N channels at half the finest stride; h1, h2, ...: the levels as decoded."""
        levels = {f"h{index}": level for index, level in enumerate(self.layout.levels, 1)}
        fused = Level(self.layout.width, self.layout.levels[0].stride // 2)
        return {"image": Level(3, 1), "fused": fused, **levels}

    def forward(self, side: SideInfo) -> Features:
        """See `SideInfoAdapter.forward`."""
        finest, *coarser = side.levels
        keys = self._tokens([key(level) for key, level in zip(self.keys, coarser, strict=True)])
        values = self._tokens([value(level) for value, level in zip(self.values, coarser, strict=True)])
        found = F.scaled_dot_product_attention(self._tokens([self.queries(finest)]), keys, values)
        grid = found.transpose(2, 3).reshape(len(finest), -1, *finest.shape[-2:])
        fused: Tensor = self.mix(self.own(finest) + self.answer(grid))
        levels = {f"h{index}": level for index, level in enumerate(side.levels, 1)}
        return Features({"image": self.enlarge(fused) + 0.5, "fused": fused, **levels}, side.size)

    def _tokens(self, maps: list[Tensor]) -> Tensor:
        """Maps (B, C, h, w) as tokens of all of them, (B, heads, n, C / heads)."""
        flat = torch.cat([one.flatten(2) for one in maps], 2)
        return flat.reshape(len(flat), self.params.heads, -1, flat.shape[2]).transpose(2, 3)
