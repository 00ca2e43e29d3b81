"""The coarse-to-fine codec, whose hyperpriors SICMH sends alone: here y is sent as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

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
from icm_core.coding.weight_cache import Memo
from icm_core.errors import BitstreamError
from icm_core.quality import Quality
from icm_core.tiles import Map, whole
from icm_core.types import CodecOutput, Level, SideInfo, SideInfoLayout
from icm_sicmh.codec import STRIDE, Hyperprior
from icm_sicmh.density import gaussian_bits
from icm_sicmh.gain import GainUnit
from icm_sicmh.layers import pad_to, round_ste
from icm_sicmh.networks import decoder, decoder_h1, decoder_h2, fuse_concat_mix, fuse_concat_up
from icm_sicmh.prediction import predict, prediction_layers

_LENGTH_BYTES = 4


@dataclass(frozen=True)
class _Integers:
    decoder_h1: IntegerNetwork
    prediction: IntegerNetwork


class CoarseToFine(Hyperprior):
    """Coarse-to-fine hyperprior modelling (Hu, Yang, Liu, AAAI 2020) with the networks of `Hyperprior`.

    ::

        x -> Encoder -> y -> Encoder_h1 -> h1 -> Encoder_h2 -> h2      h1, h2: coded as in SICMH
        y: conditional Gaussian, (mu, sigma) = PredictionModel(Decoder_h1y(h1))
        picture = Decoder(y) + FuseConcat(Decoder(y), Decoder_h1c(h1), Decoder_h2c(h2))

    The side information is the decoded picture. Payload: length of the stream of h2 and h1 (4 bytes, big-endian), that
    stream, the stream of y. Symbols are exact on any machine; the picture is made of them in floating point.
    """

    name: ClassVar[str] = "sicmh.coarse_to_fine"
    reads_fields: ClassVar[bool] = False
    searches: ClassVar[bool] = False  # what it sends is a picture, and y follows from the picture, not from a search

    def __init__(self, params: Hyperprior.Params) -> None:
        super().__init__(params)
        n, h1, h2 = params.width, params.h1_channels, params.h2_channels
        self.decoder_h1y = decoder_h1(h1, n)
        self.prediction_y = prediction_layers(n)
        self.gain_y = GainUnit(n, params.qualities, 2.0, 8.0)
        self.decoder = decoder(n)
        self.decoder_h1c = decoder_h1(h1, n)
        self.decoder_h2c = decoder_h2(h2, h1)
        self.fuse_up = fuse_concat_up(n + h1 // 4, n)
        self.fuse_mix = fuse_concat_mix(n)
        last = self.decoder[-1]
        torch.nn.init.constant_(last.bias, 0.5)  # type: ignore[arg-type]  # begins at mid grey
        self._memo_y: Memo[_Integers] = Memo()

    @property
    def layout(self) -> SideInfoLayout:
        """The decoded picture: 3 channels at full size."""
        return SideInfoLayout((Level(3, 1),), 3)

    def forward(self, x: Tensor, quality: Tensor) -> CodecOutput:
        """See `Codec.forward`; the picture is not clamped."""
        size = (x.shape[-2], x.shape[-1])
        y, h1, h2 = self.analyse(pad_to(x, STRIDE), quality)
        (h1_hat, h2_hat), bits = self.quantised(h1, h2, quality)
        gain = self.gain_y.log2(quality).exp2()
        mean, log2_sigma = predict(self.prediction_y, self.decoder_h1y(h1_hat)).float().chunk(2, 1)
        difference = (y - mean) * gain
        bits_y = gaussian_bits(self._perturb(difference), log2_sigma.clamp(-20, 20).exp2() * gain)
        picture = self._picture(round_ste(difference) / gain + mean, h1_hat, h2_hat, size)
        return CodecOutput(SideInfo((picture,), size), {**bits, "y": bits_y.flatten(1).sum(1)})

    def _picture(self, y: Tensor, h1: Tensor, h2: Tensor, size: tuple[int, int]) -> Tensor:
        own: Tensor = self.decoder(y)
        pair = torch.cat([self.decoder_h1c(h1), F.pixel_shuffle(self.decoder_h2c(h2), 2)], 1)
        fused: Tensor = self.fuse_mix(torch.cat([self.fuse_up(pair), own], 1))
        return (own + fused).float()[..., : size[0], : size[1]]

    def freeze_tables(self) -> None:
        """As in `Hyperprior`, and the gains of y."""
        super().freeze_tables()
        self.gain_y.freeze()

    @property
    def _exact_y(self) -> _Integers:
        def build() -> _Integers:
            return _Integers(
                IntegerNetwork("codec.decoder_h1y", self.decoder_h1y),
                IntegerNetwork("codec.prediction_y", self.prediction_y),
            )

        return self._memo_y.get([self.decoder_h1y, self.prediction_y], build)

    def coding_state(self) -> bytes:
        """Digest of the coding path's integer weights and tables."""
        exact = self._exact_y
        return serialize(super().coding_state(), exact.decoder_h1.state(), exact.prediction.state(), self.gain_y.table)

    def prove(self) -> list[Bound]:
        """As in `Hyperprior`; then every layer of Decoder_h1y and the Prediction Model of y, and its gains."""
        exact = self._exact_y
        bounds = [*exact.decoder_h1.prove(), *exact.prediction.prove(), self.gain_y.bound("codec.gain_y")]
        refuse_inexact(bounds)
        return [*super().prove(), *bounds]

    def _distribution(self, h1: Tensor) -> tuple[Tensor, Tensor]:
        """Fixed-point mean and log2 sigma of y, from decoded h1."""
        exact = self._exact_y
        mean, log2_sigma = predict(exact.prediction, exact.decoder_h1(to_fixed(h1).double())).chunk(2, 1)
        return mean.long(), log2_sigma.long()

    def encode_with_side(self, x: Map, quality: Quality) -> tuple[list[bytes], SideInfo]:
        """The streams, and the decoded picture as this machine has it."""
        x = whole(x)
        size = (x.shape[-2], x.shape[-1])
        y, h1, h2 = self.analyse(pad_to(x, STRIDE), x.new_full((len(x),), quality.value))
        streams, (h1_hat, h2_hat) = self.encode_latents(h1, h2, quality)
        gain = self.gain_y.row(quality)
        mean, log2_sigma = self._distribution(h1_hat)
        symbols, rows = gain.quantize(to_fixed(y), mean, MAX_SYMBOL), sigma_index(log2_sigma, gain.log2)
        payloads = []
        for first, its_symbols, its_rows in zip(streams, symbols, rows, strict=True):
            second = StreamEncoder()
            second.push(its_symbols, its_rows, gaussian_tables())
            payloads.append(len(first).to_bytes(_LENGTH_BYTES, "big") + first + second.finish())
        picture = self._picture(to_float(gain.dequantize(symbols, mean)), h1_hat, h2_hat, size).clamp(0, 1)
        return payloads, SideInfo((picture,), size)

    def decode(self, payloads: Sequence[bytes], size: tuple[int, int], quality: Quality) -> SideInfo:
        """The decoded pictures, in [0, 1]; see `Codec.decode`."""
        pairs = [_split(payload) for payload in payloads]
        h1, h2 = super().decode([first for first, _ in pairs], size, quality).levels
        gain = self.gain_y.row(quality)
        mean, log2_sigma = self._distribution(h1)
        parts = []
        for (_, second), rows in zip(pairs, sigma_index(log2_sigma, gain.log2), strict=True):
            stream = StreamDecoder(second, rows.numel())
            parts.append(stream.pull(rows, gaussian_tables()))
            stream.finish()
        y = to_float(gain.dequantize(torch.stack(parts), mean))
        return SideInfo((self._picture(y, h1, h2, size).clamp(0, 1),), size)


def _split(payload: bytes) -> tuple[bytes, bytes]:
    """The stream of h2 and h1, and that of y."""
    end = _LENGTH_BYTES + int.from_bytes(payload[:_LENGTH_BYTES], "big")
    if len(payload) < _LENGTH_BYTES or end > len(payload):
        raise BitstreamError(f"the coded streams are cut: the first one ends at byte {end} of {len(payload)}")
    return payload[_LENGTH_BYTES:end], payload[end:]
