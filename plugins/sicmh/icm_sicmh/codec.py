"""Module A of SICMH: the codec whose bitstream is the side information h1, h2 alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from icm_core.coding import (
    CdfTables,
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
from icm_core.coding.rans import MAX_SYMBOL, fewest_bytes
from icm_core.coding.tables import PRECISION
from icm_core.errors import BitstreamError
from icm_core.interfaces import Codec, ComponentParams
from icm_core.quality import Quality
from icm_core.tiles import Map, apply, kept, spread, whole
from icm_core.training.noise import uniform_noise
from icm_core.types import CodecOutput, Level, SideInfo, SideInfoLayout
from icm_sicmh import klt
from icm_sicmh.camera import camera_tables
from icm_sicmh.deep import DeepCorrection
from icm_sicmh.density import FactorizedDensity, gaussian_bits
from icm_sicmh.exact import ExactTwin
from icm_sicmh.gain import ExactGain, GainUnit
from icm_sicmh.layers import pad_to, round_ste
from icm_sicmh.networks import decoder_h2, encoder, encoder_h1, encoder_h2
from icm_sicmh.prediction import CAHCM, predict, prediction_layers
from icm_sicmh.search import descend

FAST, DEEP = "fast", "deep"
"""Names of the encoders."""

_H2_HALF_SUPPORT = 32
STRIDE = 64  # of h2; pictures are padded to multiples of it
_H2_FIRST_LIMIT = 2**24  # keeps the coder's differences of symbols within 32 bits


@dataclass(frozen=True)
class _Integers:
    """The coding path in integers."""

    decoder_h2: IntegerNetwork
    prediction: IntegerNetwork
    groups: list[IntegerNetwork]


class Hyperprior(ExactTwin[_Integers], Codec):
    """SICMH's codec: two hyperpriors, coded without the latent that they come from (Sec. 3.1.1, 3.1.2).

    ::

        x -> Encoder -> y -> Encoder_h1 -> h1 -> Encoder_h2 -> h2
                                           |                   |  factorized density
                                           |  (mu, sigma) <- CAHCM <- Prediction Model <- Decoder_h2
    """

    name: ClassVar[str] = "sicmh.hyperprior"

    class Params(ComponentParams):
        """Widths of the networks; the paper's are the defaults."""

        width: int = Field(192, ge=8, le=512, multiple_of=4, description="N, channels of y")
        h1_channels: int = Field(256, ge=8, le=1024, multiple_of=4, description="channels of h1, at 1/32")
        h2_channels: int = Field(128, ge=4, le=512, description="channels of h2, at 1/64")
        groups: int = Field(8, ge=1, le=32, description="K, channel groups of h1 in the context model")
        context_channels: int = Field(128, ge=8, le=512, description="inner channels of each group's context network")
        qualities: int = Field(4, ge=2, le=15, description="trained qualities; 1 is the fewest bits")
        deep: int | None = Field(
            None,
            ge=16,
            le=512,
            multiple_of=2,
            description="inner channels of a second, deep encoder for the same decoders; None: there is none",
        )

        @model_validator(mode="after")
        def _groups_divide(self) -> Self:
            if self.h1_channels % self.groups:
                raise ValueError(f"groups = {self.groups} must divide h1_channels = {self.h1_channels}")
            return self

    searches: ClassVar[bool] = True
    reads_fields: ClassVar[bool] = True

    params: Params
    h2_cdf: Tensor
    h2_first: Tensor

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        n, h1, h2 = params.width, params.h1_channels, params.h2_channels
        self.encoder = encoder(n)
        self.encoder_h1 = encoder_h1(n, h1)
        self.encoder_h2 = encoder_h2(h1, h2)
        self.deep = None if params.deep is None else DeepCorrection(n, h1, params.deep)
        self.decoder_h2 = decoder_h2(h2, h1)
        self.prediction = prediction_layers(h1)
        self.cahcm = CAHCM(h1, params.groups, params.context_channels)
        self.density = FactorizedDensity(h2)
        self.gain_h1 = GainUnit(h1, params.qualities, 2.0, 8.0)
        self.gain_h2 = GainUnit(h2, params.qualities, 2.0, 8.0)
        steps = self.gain_h2.table.shape[0]
        self.register_buffer("h2_cdf", torch.zeros(steps, h2, 2 * _H2_HALF_SUPPORT + 3, dtype=torch.int32))
        self.register_buffer("h2_first", torch.zeros(steps, h2, dtype=torch.int32))

    @property
    def layout(self) -> SideInfoLayout:
        """h1 at 1/32 and h2 at 1/64."""
        p = self.params
        return SideInfoLayout((Level(p.h1_channels, 32), Level(p.h2_channels, 64)), p.width)

    @property
    def quality_range(self) -> tuple[float, float]:
        """1 ... the number of trained qualities."""
        return 1.0, float(self.params.qualities)

    @property
    def encoders(self) -> tuple[str, ...]:
        """The paper's four layers, and the deep encoder where the spec has one."""
        return (FAST,) if self.params.deep is None else (FAST, DEEP)

    def latents(self, x: Map, quality: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Unquantised h1 and h2 of padded pictures, float32 (Eq. 1-3); the deep encoder needs their quality, (B,)."""
        return self.analyse(x, quality)[1:]

    def analyse(self, x: Map, quality: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Unquantised y, h1 and h2 of padded pictures, float32 (Eq. 1-3); quality (B,) as in `latents`."""
        y = kept(apply(self.encoder, x - 0.5))  # mid grey is what the convolutions pad with
        h1 = kept(apply(self.encoder_h1, y))
        if self.deep is not None and self.chosen_encoder == DEEP:
            if quality is None:
                raise ValueError("the deep encoder needs the quality")
            y, first = whole(y).float(), whole(h1).float()
            better = self.deep(whole(x), y, first, self.gain_h1.log2(quality).exp2())
            return y, better, self.encoder_h2(better).float()
        return whole(y).float(), whole(h1).float(), whole(apply(self.encoder_h2, h1)).float()

    def forward(self, x: Tensor, quality: Tensor) -> CodecOutput:
        """See `Codec.forward`; noise stands for rounding in the rate, straight-through rounding in the side info."""
        h1, h2 = self.latents(pad_to(x, STRIDE), quality)
        decoded, bits = self.quantised(h1, h2, quality)
        return CodecOutput(SideInfo(decoded, (x.shape[-2], x.shape[-1])), bits)

    def quantised(self, h1: Tensor, h2: Tensor, quality: Tensor) -> tuple[tuple[Tensor, Tensor], dict[str, Tensor]]:
        """h1 and h2 as a decoder has them, and the bits of both, in training."""
        gain1, gain2 = self.gain_h1.log2(quality).exp2(), self.gain_h2.log2(quality).exp2()
        h2_hat = round_ste(h2 * gain2) / gain2
        bits2 = self.density.bits(self._perturb(h2 * gain2), gain2)
        h2p = predict(self.prediction, self.decoder_h2(h2_hat)).float()
        decoded: list[Tensor] = []
        bits1 = h1.new_zeros(h1.shape[0])
        for k, network in enumerate(self.cahcm.networks):
            mean, log2_sigma = self.cahcm.parameters_of(k, network, h2p, decoded)
            own = self._group(k)
            difference = (h1[:, own] - mean) * gain1[:, own]
            bits = gaussian_bits(self._perturb(difference), (log2_sigma.clamp(-20, 20)).exp2() * gain1[:, own])
            bits1 = bits1 + bits.flatten(1).sum(1)
            decoded.append(round_ste(difference) / gain1[:, own] + mean)
        return (torch.cat(decoded, 1), h2_hat), {"h1": bits1, "h2": bits2.flatten(1).sum(1)}

    def _perturb(self, value: Tensor) -> Tensor:
        return value + uniform_noise(value) if self.training else round_ste(value)

    def _group(self, k: int) -> slice:
        return slice(k * self.cahcm.group_channels, (k + 1) * self.cahcm.group_channels)

    def start_from(self, source: str) -> None:
        """Fill A with ``"klt"``: a block transform, and the entropy model of its components; see `icm_sicmh.klt`."""
        if source != klt.NAME:
            super().start_from(source)
        n, h1 = self.params.width, self.params.h1_channels
        *levels, last = klt.pyramid((n, n, n, n, h1))
        klt.start_encoder(self.encoder, levels)
        klt.start_encoder_h1(self.encoder_h1, last, klt.H1_SCALE)
        klt.start_hyper(self.encoder_h2, self.decoder_h2, self.prediction, last.std * klt.H1_SCALE)
        with torch.no_grad():
            self.gain_h2.log2_gain.sub_(1.5)  # h2 only predicts; coded as finely as h1 it costs more than it saves

    def _build_exact(self) -> _Integers:
        return _Integers(
            IntegerNetwork("codec.decoder_h2", self.decoder_h2),
            IntegerNetwork("codec.prediction", self.prediction),
            self.cahcm.integer(),
        )

    def freeze_tables(self) -> None:
        """Write gains and h2's cumulative tables as integers, from the trained parameters."""
        self.gain_h1.freeze()
        self.gain_h2.freeze()
        gains = self.gain_h2.table[:, 0].double() * 2.0**-12
        rows, first = self.density.tables(gains, _H2_HALF_SUPPORT)
        self.h2_cdf.copy_(rows)
        self.h2_first.copy_(first)

    def coding_state(self) -> bytes:
        """Digest of the coding path's integer weights and tables."""
        exact = self.exact
        return serialize(
            f"{self.name}/1",
            self.params.model_dump_json(exclude={"deep"}),  # decoding knows nothing of encoders
            exact.decoder_h2.state(),
            exact.prediction.state(),
            *(group.state() for group in exact.groups),
            self.gain_h1.table,
            self.gain_h2.table,
            self.h2_cdf,
            self.h2_first,
        )

    def prove(self) -> list[Bound]:
        """Every layer of Decoder_h2, the Prediction Model and CAHCM, and the gains."""
        exact = self.exact
        networks = (exact.decoder_h2, exact.prediction, *exact.groups)
        bounds = [bound for network in networks for bound in network.prove()]
        bounds += [self.gain_h1.bound("codec.gain_h1"), self.gain_h2.bound("codec.gain_h2")]
        refuse_inexact(bounds)
        return bounds

    def problem(self, values: Mapping[str, Tensor]) -> tuple[str, str] | None:
        """What is wrong with tables of h2 that are about to be loaded; tables that were never frozen are zero."""
        cdf, first = values["h2_cdf"].detach().cpu().long(), values["h2_first"].detach().cpu().long()
        if bool(cdf.any()):
            ends = (cdf[..., 0] == 0) & (cdf[..., -1] == 1 << PRECISION)
            if not bool((ends & (cdf.diff(dim=-1) > 0).all(-1)).all()):
                return "h2_cdf", f"has a row that does not rise from 0 to {1 << PRECISION}"
        if int(first.abs().max()) > _H2_FIRST_LIMIT:
            return "h2_first", f"has a first symbol beyond +-{_H2_FIRST_LIMIT}"
        return None

    def _h2_tables(self, quality: Quality) -> CdfTables:
        cdf = self.h2_cdf[quality.index]
        return CdfTables.from_tensor(cdf, torch.full((cdf.shape[0],), cdf.shape[1]), self.h2_first[quality.index])

    def _used(self, quality: Quality) -> Tensor:
        """Which channels of h2 have more than one symbol that their table expects, (C,) bool.

        In the others training left one value alone, and where their gain is small, the next one is a latent so large
        that no decoder has seen the like.
        """
        widths = self.h2_cdf[quality.index].diff(dim=1)[:, :-1]  # without what stands for values beyond the table
        return (widths > 1).sum(1) > 1

    @staticmethod
    def _channel_index(like: Tensor) -> Tensor:
        return torch.arange(like.shape[1], device=like.device)[None, :, None, None].expand_as(like)

    @staticmethod
    def _check_length(payloads: Sequence[bytes], tables: CdfTables, positions: int) -> None:
        """Refuse streams that are too short for their picture whatever they hold, before anything is allocated."""
        bits = float(tables.fewest_bits.sum()) * positions
        shortest = fewest_bytes(bits, len(tables.sizes) * positions)
        for payload in payloads:
            if len(payload) < shortest:
                raise BitstreamError(
                    f"the coded stream has {len(payload)} bytes; a picture of the size that the file claims takes at "
                    f"least {math.ceil(shortest)}"
                )

    @staticmethod
    def _h2p(exact: _Integers, h2: Tensor) -> Tensor:
        """Integer output of Decoder_h2 and the Prediction Model for decoded fixed-point h2."""
        return predict(exact.prediction, exact.decoder_h2(h2.double()))

    def _group_parameters(
        self, exact: _Integers, k: int, h2p: Tensor, decoded: list[Tensor], gain: ExactGain
    ) -> tuple[Tensor, Tensor, ExactGain]:
        """Mean, table rows and gains of group k, all int64."""
        mean, log2_sigma = self.cahcm.parameters_of(k, exact.groups[k], h2p, [d.double() for d in decoded])
        own = gain.part(self._group(k))
        return mean.long(), sigma_index(log2_sigma.long(), own.log2), own

    def camera_tables(self) -> dict[str, NDArray[Any]]:
        """What a camera codes with; see `icm_sicmh.camera`."""
        return camera_tables(self)

    def encode(self, x: Map, quality: Quality) -> list[bytes]:
        """One stream a picture: h2, then the groups of h1."""
        return self.encode_with_side(x, quality)[0]

    def encode_with_side(self, x: Map, quality: Quality) -> tuple[list[bytes], SideInfo]:
        """The streams, and the side information as the encoder has it."""
        rows = torch.full((x.shape[0],), quality.value, device=self.gain_h1.log2_gain.device)
        streams, levels = self.encode_latents(*self.latents(pad_to(spread(x), STRIDE), rows), quality)
        return streams, SideInfo(levels, (x.shape[-2], x.shape[-1]))

    def search(
        self, x: Tensor, quality: Quality, objective: Callable[[SideInfo, Tensor], Tensor], steps: int
    ) -> list[bytes]:
        """Streams of h1 and h2 that a few steps of Adam have moved; see `icm_sicmh.search`."""
        rows = x.new_full((len(x),), quality.value)
        with torch.no_grad():
            start = self.latents(pad_to(x, STRIDE), rows)

        def value(h1: Tensor, h2: Tensor) -> Tensor:
            levels, bits = self.quantised(h1, h2, rows)
            return objective(SideInfo(levels, (x.shape[-2], x.shape[-1])), bits["h1"] + bits["h2"])

        with torch.no_grad():
            gains = self.gain_h1.log2(rows).exp2(), self.gain_h2.log2(rows).exp2()
        used = self._used(quality).to(x)[None, :, None, None]
        h1, h2 = descend(value, start, gains, (torch.ones_like(gains[0]), used), steps)
        with torch.no_grad():
            return self.encode_latents(h1, h2, quality)[0]

    def encode_latents(
        self, h1_float: Tensor, h2_float: Tensor, quality: Quality
    ) -> tuple[list[bytes], tuple[Tensor, Tensor]]:
        """The streams of unquantised h1 and h2, and both as a decoder will have them."""
        gain1, gain2 = self.gain_h1.row(quality), self.gain_h2.row(quality)
        h1, h2 = to_fixed(h1_float), to_fixed(h2_float)
        batch = len(h1)
        streams = [StreamEncoder() for _ in range(batch)]
        zero = torch.zeros_like(h2)
        symbols = gain2.quantize(h2, zero, MAX_SYMBOL)
        h2_hat = gain2.dequantize(symbols, zero)
        tables = self._h2_tables(quality)
        channels = self._channel_index(symbols)
        for b in range(batch):
            streams[b].push(symbols[b], channels[b], tables)
        exact = self.exact  # looked up once: each look-up walks over all weights
        h2p = self._h2p(exact, h2_hat)
        decoded: list[Tensor] = []
        for k in range(self.params.groups):
            mean, rows, gain = self._group_parameters(exact, k, h2p, decoded, gain1)
            symbols = gain.quantize(h1[:, self._group(k)], mean, MAX_SYMBOL)
            decoded.append(gain.dequantize(symbols, mean))
            for b in range(batch):
                streams[b].push(symbols[b], rows[b], gaussian_tables())
        return [stream.finish() for stream in streams], (to_float(torch.cat(decoded, 1)), to_float(h2_hat))

    def decode(self, payloads: Sequence[bytes], size: tuple[int, int], quality: Quality) -> SideInfo:
        """Exactly the side information that the encoder had; see `Codec.decode`."""
        gain1, gain2 = self.gain_h1.row(quality), self.gain_h2.row(quality)
        height, width = (-(-s // 64) for s in size)
        tables = self._h2_tables(quality)
        self._check_length(payloads, tables, height * width)
        capacity = height * width * (self.params.h2_channels + 4 * self.params.h1_channels)
        streams = [StreamDecoder(payload, capacity) for payload in payloads]
        rows = self._channel_index(self.h2_cdf.new_empty(1, self.params.h2_channels, height, width))
        symbols = torch.cat([stream.pull(rows, tables) for stream in streams])
        h2 = gain2.dequantize(symbols, torch.zeros_like(symbols))
        exact = self.exact
        h2p = self._h2p(exact, h2)
        decoded: list[Tensor] = []
        for k in range(self.params.groups):
            mean, rows, gain = self._group_parameters(exact, k, h2p, decoded, gain1)
            symbols = torch.stack([stream.pull(rows[b], gaussian_tables()) for b, stream in enumerate(streams)])
            decoded.append(gain.dequantize(symbols, mean))
        for stream in streams:
            stream.finish()
        return SideInfo((to_float(torch.cat(decoded, 1)), to_float(h2)), size)
