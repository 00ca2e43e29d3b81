"""Enhancement `codec_residual`: what a base picture lacks, through any codec of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from icm_core.coding import serialize
from icm_core.coding.bounds import Bound
from icm_core.errors import SpecError
from icm_core.interfaces import Codec, ComponentParams, Enhancement, Nested
from icm_core.quality import Quality
from icm_core.types import Level, SideInfo, SideInfoLayout

_PICTURE = Level(3, 1)
_MIDDLE = 128 / 255  # no residue is a grey level that 8 bits have


class CodecResidual(Enhancement):
    """The residue x - x_c as a picture around mid grey, coded like any other (DSSLIC: Akbari, Liang, Han, 2019).

    ::

        r = gain * (x - x_c) + 128 / 255, clamped to [0, 1]      x_f = x_c + (r' - 128 / 255) / gain

    With a gain of 1 all residues between -128 and 127 grey levels are kept; a higher one clips sooner, and spares
    the rounding to 8 bits of other people's codecs. It stands behind any base picture, in place of a learned
    enhancement.

    Bytes: the codec's payload. Its qualities must be as many as the base layer's.
    """

    name: ClassVar[str] = "baselines.codec_residual"

    class Params(ComponentParams):
        """Which codec."""

        codec: Nested[Codec] = Field(description="codec of the residue; its side information is the decoded picture")
        gain: float = Field(1.0, ge=0.5, le=8, description="factor of the residue before it is coded")

    params: Params

    def __init__(self, params: Params, layout: SideInfoLayout) -> None:
        super().__init__(params, layout)
        self.codec: Codec = params.codec.build()
        if self.codec.layout.levels[0] != _PICTURE:
            raise SpecError(
                f"codec: {params.codec.use} gives {self.codec.layout.levels[0]} first; a residue needs a codec whose "
                f"side information begins with the decoded picture, {_PICTURE}"
            )

    @property
    def quality_range(self) -> tuple[float, float]:
        """The codec's."""
        return self.codec.quality_range

    def _residue(self, x: Tensor, coarse: Tensor) -> Tensor:
        return ((x - coarse).float() * self.params.gain + _MIDDLE).clamp(0, 1)

    def _refined(self, picture: Tensor, coarse: Tensor) -> Tensor:
        height, width = coarse.shape[-2:]
        return coarse + (picture[..., :height, :width] - _MIDDLE) / self.params.gain

    def forward(self, x: Tensor, coarse: Tensor, side: SideInfo, quality: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """See `Enhancement.forward`; x_f is not clamped."""
        found = self.codec(self._residue(x, coarse), quality)
        return self._refined(found.side.levels[0], coarse), found.total_bits

    def encode(self, x: Tensor, coarse: Tensor, side: SideInfo, quality: Quality) -> list[bytes]:  # noqa: ARG002
        """See `Enhancement.encode`."""
        return self.codec.encode(self._residue(x, coarse), quality)

    def decode(self, payloads: Sequence[bytes], coarse: Tensor, side: SideInfo, quality: Quality) -> Tensor:  # noqa: ARG002
        """x_f, clamped to [0, 1]."""
        size = (coarse.shape[-2], coarse.shape[-1])
        picture = self.codec.decode(payloads, size, quality).levels[0]
        return self._refined(picture, coarse).clamp(0, 1)

    def coding_state(self) -> bytes:
        """The codec's, and the gain."""
        return serialize(f"{self.name}/1 {self.params.gain!r}", self.codec.coding_state())

    def prove(self) -> Sequence[Bound]:
        """The codec's."""
        return self.codec.prove()

    def freeze_tables(self) -> None:
        """The codec's."""
        self.codec.freeze_tables()
