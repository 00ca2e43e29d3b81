"""Module D of SICMH: the enhancement layer (Sec. 3.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from icm_core.coding import (
    IntegerNetwork,
    StreamDecoder,
    StreamEncoder,
    gaussian_tables,
    serialize,
    sigma_index,
    to_fixed,
    to_float,
)
from icm_core.coding.bounds import Bound, refuse_inexact
from icm_core.coding.rans import MAX_SYMBOL
from icm_core.errors import SpecError
from icm_core.interfaces import ComponentParams, Enhancement
from icm_core.quality import Quality
from icm_core.tiles import Map, added, apply, cut, spread, whole
from icm_core.training.noise import uniform_noise
from icm_core.types import SideInfo, SideInfoLayout
from icm_sicmh import klt
from icm_sicmh.density import gaussian_bits
from icm_sicmh.exact import ExactTwin
from icm_sicmh.gain import ExactGain, GainUnit
from icm_sicmh.layers import pad_to, round_ste
from icm_sicmh.networks import decoder, decoder_h1, encoder
from icm_sicmh.prediction import predict, predicted, prediction_layers

_KLT_SCALE = 16.0  # of y_r over mean grey levels; gains of 2 to 8 are then quantisation steps of some hundred to thirty
_POSITIONS_AT_ONCE = 2**14  # of y_r, where numbers of 64 bits are made of it


@dataclass(frozen=True)
class ResidualIntegers:
    """The coding path in integers."""

    decoder_h1r: IntegerNetwork
    prediction: IntegerNetwork


class Residual(ExactTwin[ResidualIntegers], Enhancement):
    """Codes the residue x - x_c (Eq. 21-24).

    ::

        y_r = Encoder_r(x - x_c)      x_f = x_c + Decoder_r(y_r)      (mu, sigma) = PredictionModel(Decoder_h1r(h1))
    """

    name: ClassVar[str] = "sicmh.residual"
    reads_fields: ClassVar[bool] = True
    told_as: ClassVar[torch.dtype] = torch.uint8

    class Params(ComponentParams):
        """Rates of the enhancement layer; its widths follow from the codec, but for y_r's."""

        qualities: int = Field(4, ge=2, le=15, description="trained qualities, as many as the codec's")
        latent_channels: int | None = Field(
            None, ge=8, le=1024, multiple_of=4, description="channels of y_r, at 1/16; none: the codec's width N"
        )

    params: Params

    def __init__(self, params: Params, layout: SideInfoLayout) -> None:
        super().__init__(params, layout)
        if layout.levels[0].stride != 32:
            raise SpecError(
                f"enhancement '{self.name}' needs side information at stride 32; "
                f"this codec gives {layout.levels[0].stride}"
            )
        n = layout.width
        latent = params.latent_channels or n
        self.encoder_r = encoder(n, latent)
        self.decoder_r = decoder(n, latent)
        self.decoder_h1r = decoder_h1(layout.levels[0].channels, n)
        self.prediction = prediction_layers(n, latent)
        self.gain = GainUnit(latent, params.qualities, 2.0, 8.0)

    @property
    def quality_range(self) -> tuple[float, float]:
        """1 ... the number of trained qualities."""
        return 1.0, float(self.params.qualities)

    def _latent(self, x: Map, coarse: Map) -> Tensor:
        difference = added(spread(x), -coarse)
        return whole(apply(self.encoder_r, pad_to(difference, self.layout.alignment))).float()

    def _refine(self, y: Tensor, coarse: Map) -> Map:
        height, width = coarse.shape[-2:]
        residue = apply(self.decoder_r, spread(y, (height, width)))
        return added(coarse, cut(residue.float(), height, width))

    def forward(self, x: Tensor, coarse: Tensor, side: SideInfo, quality: Tensor) -> tuple[Tensor, Tensor]:
        """See `Enhancement.forward`; x_f is not clamped."""
        y = self._latent(x, coarse)
        log2_gain = self.gain.log2(quality)
        gain = log2_gain.exp2()
        mean, log2_sigma = predict(self.prediction, self.decoder_h1r(side.levels[0])).float().chunk(2, 1)
        difference = (y - mean) * gain
        noisy = difference + uniform_noise(y) if self.training else difference.round()
        scales = self.scales(log2_sigma + log2_gain, difference.detach().round())
        bits = gaussian_bits(noisy, scales.clamp(-20, 20).exp2()).flatten(1).sum(1)
        return whole(self._refine(round_ste(difference) / gain + mean, coarse)), bits

    def scales(self, predicted: Tensor, symbols: Tensor) -> Tensor:  # noqa: ARG002
        """log2 of each symbol's standard deviation, in quantisation steps; the paper has what h1 tells.

        Args:
            predicted: what h1 tells, (B, C, h, w).
            symbols: those that are coded, of the same shape; a channel's may be used for those of channels behind it.
        """
        return predicted

    def start_from(self, source: str) -> None:
        """Fill D with ``"klt"``: a block transform as in `icm_sicmh.klt`, and no knowledge of h1."""
        if source != klt.NAME:
            super().start_from(source)
        n, latent = self.layout.width, self.gain.log2_gain.shape[1]
        levels = klt.pyramid((n, n, n, latent))
        klt.start_encoder(self.encoder_r, levels, _KLT_SCALE)
        klt.start_decoder(self.decoder_r, levels, _KLT_SCALE)
        klt.start_scales(self.prediction, levels[-1].std * _KLT_SCALE)

    def _build_exact(self) -> ResidualIntegers:
        return ResidualIntegers(
            IntegerNetwork("enhancement.decoder_h1r", self.decoder_h1r),
            IntegerNetwork("enhancement.prediction", self.prediction),
        )

    def freeze_tables(self) -> None:
        """Write the gains as integers."""
        self.gain.freeze()

    def coding_state(self) -> bytes:
        """Digest of the coding path's integer weights and gains."""
        return serialize(
            f"{self.name}/1", self.exact.decoder_h1r.state(), self.exact.prediction.state(), self.gain.table
        )

    def prove(self) -> list[Bound]:
        """Every layer of Decoder_h1r and the Prediction Model, and the gains."""
        exact = self.exact
        bounds = [*exact.decoder_h1r.prove(), *exact.prediction.prove(), self.gain.bound("enhancement.gain")]
        refuse_inexact(bounds)
        return bounds

    @property
    def groups(self) -> tuple[slice, ...]:
        """Channels of y_r that are coded one after the other; here all at once."""
        return (slice(0, self.gain.table.shape[2]),)

    def _told(self, scales: Tensor) -> Tensor:
        """What is kept of fixed-point log2 standard deviations in steps until symbols are coded: rows of the table."""
        return sigma_index(scales, torch.zeros_like(scales)).byte()

    def _rows(self, channels: slice, told: Tensor, symbols: Tensor) -> Tensor:  # noqa: ARG002
        """Rows of the Gaussian table of one group, (c, h, w).

        Args:
            channels: the group.
            told: of one picture, (C, h, w).
            symbols: of the same picture; those of the groups before are there.
        """
        return told[channels]

    def _distribution(self, side: SideInfo, gain: ExactGain) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Fixed-point means of y_r, and what h1 tells of the scales, strip by strip of its rows."""
        h1 = to_fixed(side.levels[0])  # the very integers that the codec decoded
        exact = self.exact
        top = 0
        for strip in predicted(exact.prediction, exact.decoder_h1r(h1.double())):
            mean, log2_sigma = strip.long().chunk(2, 1)
            yield slice(top, top + strip.shape[2]), mean, self._told(log2_sigma + gain.log2)
            top += strip.shape[2]

    def _store(self, side: SideInfo, dtype: torch.dtype) -> Tensor:
        """Room for a number at each place of y_r."""
        h1 = side.levels[0]
        return h1.new_empty(len(h1), self.gain.table.shape[2], 2 * h1.shape[2], 2 * h1.shape[3], dtype=dtype)

    def encode(self, x: Map, coarse: Map, side: SideInfo, quality: Quality) -> list[bytes]:
        """One stream of y_r a picture."""
        gain = self.gain.row(quality)
        y = self._latent(x, coarse)
        # A large picture has as many symbols as pixels: they wait in as few bytes as will do.
        symbols, told = self._store(side, torch.int16), self._store(side, self.told_as)
        for strip, mean, its in self._distribution(side, gain):
            symbols[:, :, strip] = gain.quantize(to_fixed(y[:, :, strip]), mean, MAX_SYMBOL)
            told[:, :, strip] = its
        del y
        payloads = []
        for one, its in zip(symbols, told, strict=True):
            stream = StreamEncoder()
            for channels in self.groups:
                stream.push(one[channels], self._rows(channels, its, one), gaussian_tables())
            payloads.append(stream.finish())
        return payloads

    def decode(self, payloads: Sequence[bytes], coarse: Map, side: SideInfo, quality: Quality) -> Tensor:
        """x_f, clamped to [0, 1]."""
        return whole(self._refine(self.latent(payloads, side, quality), coarse).clamp(0, 1))

    def latent(self, payloads: Sequence[bytes], side: SideInfo, quality: Quality) -> Tensor:
        """y_r as both sides go on with it."""
        gain = self.gain.row(quality)
        means, told = self._store(side, torch.int32), self._store(side, self.told_as)
        for strip, mean, its in self._distribution(side, gain):
            means[:, :, strip], told[:, :, strip] = mean, its
        symbols = self._store(side, torch.int16)
        for its_symbols, its, payload in zip(symbols, told, payloads, strict=True):
            stream = StreamDecoder(payload, its_symbols.numel())
            for channels in self.groups:
                stream.pull_into(its_symbols[channels], self._rows(channels, its, its_symbols), gaussian_tables())
            stream.finish()
        y = self._store(side, torch.float32)
        rows_at_once = max(1, _POSITIONS_AT_ONCE // y.shape[3])
        for top in range(0, y.shape[2], rows_at_once):
            strip = slice(top, top + rows_at_once)
            y[:, :, strip] = to_float(gain.dequantize(symbols[:, :, strip].long(), means[:, :, strip].long()))
        return y
