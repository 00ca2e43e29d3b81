"""Module C of SICMH: the coarse picture from side information alone (Sec. 3.2)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from icm_core.errors import SpecError
from icm_core.interfaces import ComponentParams, TaskHead
from icm_core.types import FeatureLayout, Features, Prediction
from icm_sicmh import klt
from icm_sicmh.networks import decoder, decoder_h1, decoder_h2, fuse_concat_mix, fuse_concat_up


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
        maps = features.maps
        h_sum = self.decoder(maps["fused"])
        pair = torch.cat([self.decoder_h1(maps["h1"]), F.pixel_shuffle(self.decoder_h2c(maps["h2"]), 2)], 1)
        fused: Tensor = self.fuse_mix(torch.cat([self.fuse_up(pair), h_sum], 1))
        height, width = features.size
        return (maps["image"] + fused)[..., :height, :width]

    def predict(self, features: Features) -> Prediction:
        """x_c clamped to [0, 1]."""
        return Prediction(self.kind, self(features).float().clamp(0, 1))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean squared error of each picture (Eq. 20), (B,)."""
        return F.mse_loss(output, target, reduction="none").flatten(1).mean(1)
