"""Module C of SICMH: the coarse picture from side information alone (Sec. 3.2)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from icm_core.errors import SpecError
from icm_core.interfaces import ComponentParams, TaskHead
from icm_core.tiles import Map, added, apply, cat, cut, field_of, kept, spread, whole
from icm_core.types import FeatureLayout, Features, Prediction
from icm_sicmh import klt
from icm_sicmh.networks import decoder, decoder_h1, decoder_h2, fuse_concat_mix, fuse_concat_up

_SHUFFLE = nn.PixelShuffle(2)


class Coarse(TaskHead):
    """Decoder, Decoder_h1, Decoder_h2c and FuseConcat (Eq. 15-19).

    ::

        x_c = h~'' + FuseConcat(Decoder(h~'), Decoder_h1(h1), Decoder_h2c(h2))
    """

    name: ClassVar[str] = "sicmh.coarse"
    kind: ClassVar[str] = "reconstruction"
    requires: ClassVar[tuple[str, ...]] = ("image", "fused", "h1", "h2")

    class Params(ComponentParams):
        """No parameters: every width follows from the adapter's features."""

    def __init__(self, params: Params, features: FeatureLayout) -> None:
        super().__init__(params, features)
        missing = [name for name in self.requires if name not in features]
        if missing:
            raise SpecError(f"head '{self.name}' needs the features {missing}, which its adapter does not give")
        n, h1, h2 = (features[name].channels for name in ("fused", "h1", "h2"))
        self.decoder = decoder(n)
        self.decoder_h1 = decoder_h1(h1, n)
        self.decoder_h2c = decoder_h2(h2, h1)
        self.fuse_up = fuse_concat_up(n + h1 // 4, n)
        self.fuse_mix = fuse_concat_mix(n)

    def start_from(self, source: str) -> None:
        """Fill C with ``"klt"``: x_c begins as h~'', and h_sum as what the block transform makes of h~'."""
        if source != klt.NAME:
            super().start_from(source)
        n = self.features["fused"].channels
        klt.start_decoder(self.decoder, klt.pyramid((n, n, n, n)))
        klt.hush(self.fuse_mix)

    def forward(self, features: Features) -> Tensor:
        """x_c, (B, 3, H, W), not clamped."""
        return whole(self._picture(features))

    def _picture(self, features: Features) -> Map:
        """x_c, not clamped: of large pictures a field."""
        fused, h1, h2 = (spread(features.maps[name], features.size) for name in ("fused", "h1", "h2"))
        h_sum = apply(self.decoder, fused)
        pair = kept(cat([apply(self.decoder_h1, h1), apply(_SHUFFLE, apply(self.decoder_h2c, h2))]))
        change = apply(self.fuse_mix, cat([apply(self.fuse_up, pair), h_sum]))
        return cut(added(field_of(features.maps, "image"), change), *features.size)

    def picture(self, features: Features) -> Map:
        """x_c clamped to [0, 1], float32: of large pictures a field."""
        return self._picture(features).float().clamp(0, 1)

    def predict(self, features: Features) -> Prediction:
        """x_c clamped to [0, 1]."""
        return Prediction(self.kind, whole(self.picture(features)))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean squared error of each picture (Eq. 20), (B,)."""
        return F.mse_loss(output, target, reduction="none").flatten(1).mean(1)
