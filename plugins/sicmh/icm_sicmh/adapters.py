"""Module B of SICMH: fusion of h1 and h2 at one, two or three scales (Sec. 3.1.3, Fig. 19)."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from icm_core.errors import SpecError
from icm_core.interfaces import ComponentParams, SideInfoAdapter
from icm_core.tiles import Map, apply, kept, spread, tensors, whole
from icm_core.types import FeatureLayout, Features, Level, SideInfo, SideInfoLayout
from icm_sicmh import klt
from icm_sicmh.networks import decoder, decoder_h1, decoder_h2


class OneScale(SideInfoAdapter):
    """SIIC's adapter, Fig. 19 (a): fusion 1 only.

    ::

        h2' = Decoder_h2side(h2)      h~ = h1 + h2'      h' = Decoder_side1(h~)      image = Decoder_side2(h')
    """

    name: ClassVar[str] = "sicmh.one_scale"

    class Params(ComponentParams):
        """No parameters: every width follows from the codec."""

    def __init__(self, params: Params, layout: SideInfoLayout) -> None:
        super().__init__(params, layout)
        if [level.stride for level in layout.levels] != [32, 64]:
            raise SpecError(
                f"adapter '{self.name}' fuses side information at strides 32 and 64; "
                f"this codec gives {[level.stride for level in layout.levels]}"
            )
        n, h1, h2 = layout.width, layout.levels[0].channels, layout.levels[1].channels
        self.decoder_h2side = decoder_h2(h2, h1)
        self.decoder_side1 = decoder_h1(h1, n)
        self.decoder_side2 = decoder(n)
        last = self.decoder_side2[-1]
        assert isinstance(last, nn.ConvTranspose2d) and last.bias is not None
        nn.init.constant_(last.bias, 0.5)  # a semantic image starts at mid grey, like a picture

    def start_from(self, source: str) -> None:
        """Fill B with ``"klt"``: the inverse of what A begins as, with next to nothing from h2; see `icm_sicmh.klt`."""
        if source != klt.NAME:
            super().start_from(source)
        n, h1 = self.layout.width, self.layout.levels[0].channels
        *levels, last = klt.pyramid((n, n, n, n, h1))
        klt.start_decoder_h1(self.decoder_side1, last, levels[-1], klt.H1_SCALE)
        klt.start_decoder(self.decoder_side2, levels)
        klt.hush(self.decoder_h2side)

    @property
    def features(self) -> FeatureLayout:
        """image: h~'' (3, full size); fused: h~' (N, 1/16); h1 and h2 as they were decoded."""
        h1, h2 = self.layout.levels
        return {"image": Level(3, 1), "fused": Level(self.layout.width, 16), "h1": h1, "h2": h2}

    def forward(self, side: SideInfo) -> Features:
        """Eq. 4-11, as far as the structure goes."""
        h1, h2 = (spread(level, side.size) for level in side.levels)
        h2_1 = kept(apply(self.decoder_h2side, h2))
        fused = self.fuse_2(apply(self.decoder_side1, h1 + h2_1), h2_1)
        result = kept(fused.result)
        image = self.fuse_3(apply(self.decoder_side2, result), fused.second)
        maps = {"image": image, "fused": whole(result), "h1": whole(h1), "h2": whole(h2)}
        return Features(tensors(maps), side.size)

    def fuse_2(self, h: Map, h2_1: Map) -> _Fused:  # noqa: ARG002
        """Fusion at 1/16: none in this structure."""
        return _Fused(h, None)

    def fuse_3(self, image: Map, h2_2: Map | None) -> Map:  # noqa: ARG002
        """Fusion at full size: none in this structure."""
        return image


class _Fused:
    """h~' and, where there is one, h2'' for the next fusion."""

    def __init__(self, result: Map, second: Map | None) -> None:
        self.result, self.second = result, second


class TwoScale(OneScale):
    """Fig. 19 (b): fusions 1 and 2, h~' = Decoder_side3(h2') + h' (Eq. 6, 8)."""

    name: ClassVar[str] = "sicmh.two_scale"

    def __init__(self, params: OneScale.Params, layout: SideInfoLayout) -> None:
        super().__init__(params, layout)
        self.decoder_side3 = decoder_h1(layout.levels[0].channels, layout.width)

    def fuse_2(self, h: Map, h2_1: Map) -> _Fused:
        """h~' = h2'' + h' (Eq. 8)."""
        h2_2 = kept(apply(self.decoder_side3, h2_1))
        return _Fused(h2_2 + h, h2_2)


class MultiScale(TwoScale):
    """Fig. 19 (c), the paper's: all three fusions, h~'' = Decoder_side4(h2'') + h'' (Eq. 10, 11)."""

    name: ClassVar[str] = "sicmh.multi_scale"

    def __init__(self, params: OneScale.Params, layout: SideInfoLayout) -> None:
        super().__init__(params, layout)
        self.decoder_side4 = decoder(layout.width)

    def fuse_3(self, image: Map, h2_2: Map | None) -> Map:
        """h~'' = h2''' + h'' (Eq. 11)."""
        assert h2_2 is not None  # fusion 2 gave it
        return apply(self.decoder_side4, h2_2) + image
