"""Codec `label_map`: a label map, and a reduced picture through any other codec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn import functional as F

from icm_core.coding import serialize
from icm_core.coding.bounds import Bound
from icm_core.errors import SpecError
from icm_core.interfaces import Codec, Nested
from icm_core.quality import Quality
from icm_core.types import CodecOutput, Level, SideInfo, SideInfoLayout
from icm_core.wrap.strings import pack, unpack
from icm_related.maps import MapCodec, MapParams, power_of_two


class LabelMap(MapCodec):
    """The label map of a picture, and the picture itself at a fraction of its size (DSSLIC: Akbari, Liang, Han, 2019).

    ::

        x -> segmenter -> map        -> lossless codec --+-> file
        x -> smaller by a factor     -> any codec -------+

    Side information: the map, one channel a class, and what the reduced picture's codec hands on. Without a codec of
    the picture the map is all that is sent. Which of the pictures' sides are no multiples is continued by its edge.

    Bytes: the length of the map's file, the file, and the payload of the picture's codec.
    """

    name: ClassVar[str] = "related.label_map"

    class Params(MapParams):
        """The map, and the reduced picture."""

        picture: Nested[Codec] | None = Field(
            None, description="codec of the reduced picture; none: nothing but the map is sent"
        )
        reduction: int = Field(8, ge=1, le=64, description="factor by which the picture is reduced: 1, 2, 4, 8, ...")
        qualities: int | None = Field(
            None,
            ge=1,
            le=15,
            description="number of qualities that an enhancement can have while the base layer has one; none: those of "
            "the picture's codec",
        )

        @field_validator("reduction")
        @classmethod
        def _power_of_two(cls, value: int) -> int:
            return power_of_two(value)

    params: Params

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.picture: Codec | None = None if params.picture is None else params.picture.build()
        self._high = 1.0 if self.picture is None else self.picture.quality_range[1]
        if params.qualities is not None and self._high != 1:
            raise SpecError(
                f"qualities is {params.qualities}, and the picture's codec has qualities of its own, 1 to "
                f"{self._high:g}; give one of the two"
            )

    @property
    def layout(self) -> SideInfoLayout:
        """The map; the levels of the picture's codec, coarser by the reduction."""
        if self.picture is None:
            return SideInfoLayout((self.map_level,), self.classes)
        inner = self.picture.layout
        levels = [Level(level.channels, level.stride * self.params.reduction) for level in inner.levels]
        return SideInfoLayout((self.map_level, *levels), inner.width)

    @property
    def quality_range(self) -> tuple[float, float]:
        """That of the picture's codec, or 1 to ``qualities``."""
        return 1.0, max(self._high, float(self.params.qualities or 1))

    def _reduced(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.params.reduction)

    def _quality(self, quality: Quality) -> Quality:
        return Quality.of(min(quality.value, self._high))

    def forward(self, x: Tensor, quality: Tensor) -> CodecOutput:
        """See `Codec.forward`. The map's bits are those of its file."""
        level, bits = self.chosen(x)
        size = (x.shape[-2], x.shape[-1])
        if self.picture is None:
            return CodecOutput(SideInfo((level,), size), {"map": bits})
        found = self.picture(self._reduced(x), quality.clamp(max=self._high))
        return CodecOutput(SideInfo((level, *found.side.levels), size), {"map": bits, "picture": found.total_bits})

    def encode(self, x: Tensor, quality: Quality) -> list[bytes]:
        """See `Codec.encode`."""
        files, _ = self.write_map(x)
        if self.picture is None:
            return files
        with torch.no_grad():
            others = self.picture.encode(self._reduced(self.padded(x)), self._quality(quality))
        return [pack(pair) for pair in zip(files, others, strict=True)]

    def decode(self, payloads: Sequence[bytes], size: tuple[int, int], quality: Quality) -> SideInfo:
        """See `Codec.decode`."""
        if self.picture is None:
            return SideInfo((self.map_of(self.read_map(payloads, size), size),), size)
        files, others = zip(*(unpack(payload, 2) for payload in payloads), strict=True)
        level = self.map_of(self.read_map(files, size), size)
        step = self.layout.alignment
        height, width = (-(-side // step) * step // self.params.reduction for side in size)
        found = self.picture.decode(others, (height, width), self._quality(quality))
        return SideInfo((level, *found.levels), size)

    def coding_state(self) -> bytes:
        """How the parts are put together, and what decoding them depends on."""
        inner = b"" if self.picture is None else self.picture.coding_state()
        shape = f"{self.classes} {self.params.map_stride} {self.params.reduction}"
        return serialize(f"{self.name}/1", shape, self.map.coding_state(), inner)

    def prove(self) -> Sequence[Bound]:
        """That of the picture's codec."""
        return () if self.picture is None else self.picture.prove()

    def freeze_tables(self) -> None:
        """Those of the picture's codec."""
        if self.picture is not None:
            self.picture.freeze_tables()
