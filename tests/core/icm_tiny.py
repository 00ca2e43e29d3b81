"""A whole plugin in one file, small enough for tests and real enough to code pictures."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from icm_core.errors import BitstreamError
from icm_core.interfaces import Codec, ComponentParams, Enhancement, SideInfoAdapter, TaskHead
from icm_core.plugins.hookspecs import hookimpl
from icm_core.quality import Quality
from icm_core.types import CodecOutput, FeatureLayout, Features, Level, SideInfo, SideInfoLayout


def _unpack(payload: bytes, count: int, dtype: torch.dtype) -> Tensor:
    try:
        raw = zlib.decompress(payload)
    except zlib.error as error:
        raise BitstreamError(f"not a stream of this codec: {error}") from error
    if len(raw) != count * dtype.itemsize:
        raise BitstreamError("the stream has another length than the picture needs")
    return torch.frombuffer(bytearray(raw), dtype=dtype)


class Thumbnail(Codec):
    """Codes a picture at 1/8."""

    name: ClassVar[str] = "tiny.thumbnail"

    class Params(ComponentParams):
        """How finely."""

        steps: int = Field(8, ge=1, le=16, description="grey levels per unit of quality")

    params: Params

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.mix = nn.Conv2d(3, 3, 1, bias=False)
        self.register_buffer("table", torch.arange(8, dtype=torch.int32))

    @property
    def layout(self) -> SideInfoLayout:
        return SideInfoLayout((Level(3, 8), Level(3, 16)), 3)

    @property
    def quality_range(self) -> tuple[float, float]:
        return 1.0, 4.0

    def _side(self, small: Tensor, size: tuple[int, int]) -> SideInfo:
        return SideInfo((small, F.avg_pool2d(small, 2)), size)

    def forward(self, x: Tensor, quality: Tensor) -> CodecOutput:
        small = self.mix(F.avg_pool2d(x, 8))
        return CodecOutput(self._side(small, (x.shape[-2], x.shape[-1])), {"small": small.abs().flatten(1).sum(1)})

    def encode(self, x: Tensor, quality: Quality) -> list[bytes]:
        height, width = x.shape[-2:]
        padded = F.pad(x, (0, -width % 16, 0, -height % 16), mode="replicate")
        levels = self.params.steps * quality.value
        symbols = (F.avg_pool2d(padded, 8) * levels).round().to(torch.uint8)
        return [zlib.compress(one.cpu().numpy().tobytes()) for one in symbols]

    def decode(self, payloads: Sequence[bytes], size: tuple[int, int], quality: Quality) -> SideInfo:
        height, width = (-(-side // 16) * 2 for side in size)
        parts = [_unpack(payload, 3 * height * width, torch.uint8) for payload in payloads]
        symbols = torch.stack(parts).view(-1, 3, height, width).to(self.table.device)
        return self._side(symbols.float() / (self.params.steps * quality.value), size)

    def coding_state(self) -> bytes:
        return f"tiny/{self.params.steps}".encode() + self.table.cpu().numpy().tobytes()


class Enlarge(SideInfoAdapter):
    """Enlarges the thumbnail."""

    name: ClassVar[str] = "tiny.enlarge"

    class Params(ComponentParams):
        """What the map is called."""

        offers: str = Field("image", description="name of the map")

    params: Params

    def __init__(self, params: Params, layout: SideInfoLayout) -> None:
        super().__init__(params, layout)
        self.color = nn.Conv2d(layout.levels[0].channels, 3, 1)
        nn.init.dirac_(self.color.weight)
        nn.init.zeros_(self.color.bias)

    @property
    def features(self) -> FeatureLayout:
        return {self.params.offers: Level(3, 1)}

    def forward(self, side: SideInfo) -> Features:
        large = F.interpolate(side.levels[0], scale_factor=8, mode="nearest")
        return Features({self.params.offers: self.color(large)}, side.size)


class _Head(TaskHead):
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(output, target, reduction="none").flatten(1).mean(1)


class Picture(_Head):
    """The enlarged thumbnail itself."""

    name: ClassVar[str] = "tiny.picture"
    kind = "reconstruction"

    def __init__(self, params: ComponentParams, features: FeatureLayout) -> None:
        super().__init__(params, features)
        self.shift = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, features: Features) -> Tensor:
        return (features.cropped("image") + self.shift).clamp(0, 1)


class Classes(_Head):
    """Classes of the whole picture."""

    name: ClassVar[str] = "tiny.classes"
    kind = "classification"

    class Params(ComponentParams):
        """How many."""

        classes: int = Field(ge=2, le=100, description="number of classes")

    params: Params

    def __init__(self, params: Params, features: FeatureLayout) -> None:
        super().__init__(params, features)
        self.linear = nn.Linear(3, params.classes)
        self.norm = nn.BatchNorm1d(params.classes)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(f"class {index}" for index in range(self.params.classes))

    def forward(self, features: Features) -> Tensor:
        return self.norm(self.linear(features.cropped("image").mean((2, 3))))


class Labels(_Head):
    """A class per pixel."""

    name: ClassVar[str] = "tiny.labels"
    kind = "segmentation"

    def __init__(self, params: ComponentParams, features: FeatureLayout) -> None:
        super().__init__(params, features)
        self.layers = nn.ModuleList([nn.ConvTranspose2d(3, 5, 3, padding=1), nn.Conv2d(5, 4, 1)])

    def forward(self, features: Features) -> Tensor:
        x = features.cropped("image")
        for layer in self.layers:
            x = layer(x)
        return x


class Residual(Enhancement):
    """What is missing, at quality 3 in sixteenths."""

    name: ClassVar[str] = "tiny.residual"

    def __init__(self, params: ComponentParams, layout: SideInfoLayout) -> None:
        super().__init__(params, layout)
        self.scale = nn.Parameter(torch.full((1,), 16.0))

    def forward(self, x: Tensor, coarse: Tensor, side: SideInfo, quality: Tensor) -> tuple[Tensor, Tensor]:
        return coarse + (x - coarse) * self.scale / self.scale, (x - coarse).flatten(1).sum(1)

    def encode(self, x: Tensor, coarse: Tensor, side: SideInfo, quality: Quality) -> list[bytes]:
        symbols = ((x - coarse) * self._scale(quality)).round().to(torch.int8)
        return [zlib.compress(one.cpu().numpy().tobytes()) for one in symbols]

    def decode(self, payloads: Sequence[bytes], coarse: Tensor, side: SideInfo, quality: Quality) -> Tensor:
        parts = [_unpack(payload, coarse[0].numel(), torch.int8) for payload in payloads]
        return (coarse + torch.stack(parts).view_as(coarse).to(coarse.device) / self._scale(quality)).clamp(0, 1)

    def _scale(self, quality: Quality) -> Tensor:
        return self.scale * quality.value / 3

    def coding_state(self) -> bytes:
        return b"tiny residual"


@hookimpl
def icm_codecs() -> list[type[Codec]]:
    return [Thumbnail]


@hookimpl
def icm_adapters() -> list[type[SideInfoAdapter]]:
    return [Enlarge]


@hookimpl
def icm_heads() -> list[type[TaskHead]]:
    return [Picture, Classes, Labels]


@hookimpl
def icm_enhancements() -> list[type[Enhancement]]:
    return [Residual]
