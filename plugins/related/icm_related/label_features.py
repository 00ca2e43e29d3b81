"""Codec `label_features`: a label map, and features whose quantisation the map decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from icm_core.coding import (
    StreamDecoder,
    StreamEncoder,
    gaussian_tables,
    serialize,
    sigma_index,
    to_fixed,
    to_float,
)
from icm_core.coding.rans import MAX_SYMBOL
from icm_core.errors import SpecError
from icm_core.interfaces import Nested, SideInfoAdapter
from icm_core.quality import Quality
from icm_core.training.noise import uniform_noise
from icm_core.types import CodecOutput, Features, Level, SideInfo, SideInfoLayout
from icm_core.wrap.strings import pack, unpack
from icm_related.maps import MapCodec, MapParams
from icm_related.steps import STRIDE, ClassSteps, classes_of
from icm_sicmh.density import gaussian_bits
from icm_sicmh.layers import round_ste
from icm_sicmh.networks import encoder

_SPREAD = 4.0  # log2 of the scales that features have before training


class LabelFeatures(MapCodec):
    """A label map, and features whose steps of quantisation differ by class (RL-ASC: Huang et al., JSAC 2022).

    ::

        x -> segmenter -> map --> lossless codec --------------------------+-> file
        x -> encoder -> y        | its class's mean, scale and step        |
                        +--------+-> rounded -> entropy coder -------------+

    The class of a position of y is that of most pixels of its block. Means and scales are learned for each class and
    channel. Steps come from the quantiser, an adapter of the map that gives one map ``steps``: log2 of the step of
    each position. A quality more halves all steps.

    Side information: the map, one channel a class, and the decoded features at 1/16.

    Bytes: the length of the map's file, the file, and one stream of symbols.
    """

    name: ClassVar[str] = "related.label_features"

    class Params(MapParams):
        """The map, the features and their quantiser."""

        width: int = Field(64, ge=8, le=512, description="channels inside the encoder")
        channels: int = Field(64, ge=8, le=512, description="channels of the features")
        quantiser: Nested[SideInfoAdapter] = Field(
            default_factory=lambda: Nested.of(ClassSteps),
            description="adapter of the label map that gives the map steps, log2 of steps of quantisation at 1/16",
        )
        qualities: int = Field(4, ge=1, le=15, description="number of qualities")

    params: Params
    table: Tensor

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.encoder = encoder(params.width, params.channels)
        self.mean = nn.Parameter(torch.zeros(self.classes, params.channels))
        self.log2_sigma = nn.Parameter(torch.full((self.classes, params.channels), _SPREAD))
        # Means and logarithms of scales as both sides use them; zero until frozen.
        self.register_buffer("table", torch.zeros(2, self.classes, params.channels, dtype=torch.int32))
        layout = SideInfoLayout((self.map_level,), params.width)
        self.quantiser: SideInfoAdapter = params.quantiser.build(layout)
        found = self.quantiser.features.get("steps")
        if found is None or found.stride != STRIDE or found.channels not in (1, params.channels):
            raise SpecError(
                f"quantiser: {params.quantiser.use} gives {dict(self.quantiser.features)}; it should give 'steps' with "
                f"1 or {params.channels} channels at stride {STRIDE}"
            )

    @property
    def layout(self) -> SideInfoLayout:
        """The map, and the features at 1/16."""
        return SideInfoLayout((self.map_level, Level(self.params.channels, STRIDE)), self.params.width)

    @property
    def quality_range(self) -> tuple[float, float]:
        """1 to ``qualities``."""
        return 1.0, float(self.params.qualities)

    def _steps(self, level: Tensor, size: tuple[int, int]) -> Tensor:
        """log2 of the steps at quality 1, (B, 1 or C, h, w)."""
        found: Features = self.quantiser(SideInfo((level,), size))
        return found.maps["steps"].float()

    def forward(self, x: Tensor, quality: Tensor) -> CodecOutput:
        """See `Codec.forward`."""
        size = (x.shape[-2], x.shape[-1])
        level, map_bits = self.chosen(x)
        steps = (self._steps(level, size) - (quality - 1)[:, None, None, None]).expand(-1, self.params.channels, -1, -1)
        numbers = classes_of(level)
        mean, log2_sigma = (table[numbers].movedim(-1, 1) for table in (self.mean, self.log2_sigma))
        scaled = (self.encoder(x).float() - mean) * (-steps).exp2()
        noisy = scaled + uniform_noise(scaled) if self.training else scaled.round()
        bits = gaussian_bits(noisy, (log2_sigma - steps).clamp(-20, 20).exp2()).flatten(1).sum(1)
        decoded = round_ste(scaled) * steps.exp2() + mean
        return CodecOutput(SideInfo((level, decoded), size), {"map": map_bits, "features": bits})

    @torch.no_grad()
    def freeze_tables(self) -> None:
        """Write means and scales as whole numbers."""
        self.table.copy_(torch.stack([to_fixed(self.mean), to_fixed(self.log2_sigma.clamp(-20, 20))]))

    def _distribution(self, level: Tensor, size: tuple[int, int], quality: Quality) -> tuple[Tensor, Tensor, Tensor]:
        """Fixed-point means, log2 sigmas and log2 steps, (B, C, h, w) each."""
        mean, log2_sigma = (table[classes_of(level)].movedim(-1, 1).long() for table in self.table)
        steps = to_fixed(self._steps(level, size) - (quality.value - 1)).expand_as(mean)
        return mean, log2_sigma, steps

    @torch.no_grad()
    def encode(self, x: Tensor, quality: Quality) -> list[bytes]:
        """See `Codec.encode`."""
        files, labels = self.write_map(x)
        size = (x.shape[-2], x.shape[-1])
        mean, log2_sigma, steps = self._distribution(self.map_of(labels, size), size, quality)
        y = self.encoder(self.padded(x)).double()
        symbols = ((y - _float(mean)) * _step(-steps)).round().clamp(-MAX_SYMBOL, MAX_SYMBOL).long()
        rows = sigma_index(log2_sigma, -steps)
        payloads = []
        for file, its, its_rows in zip(files, symbols, rows, strict=True):
            stream = StreamEncoder()
            stream.push(its, its_rows, gaussian_tables())
            payloads.append(pack([file, stream.finish()]))
        return payloads

    @torch.no_grad()
    def decode(self, payloads: Sequence[bytes], size: tuple[int, int], quality: Quality) -> SideInfo:
        """See `Codec.decode`."""
        files, others = zip(*(unpack(payload, 2) for payload in payloads), strict=True)
        level = self.map_of(self.read_map(files, size), size)
        mean, log2_sigma, steps = self._distribution(level, size, quality)
        rows = sigma_index(log2_sigma, -steps)
        found = []
        for payload, its_rows in zip(others, rows, strict=True):
            stream = StreamDecoder(payload, its_rows.numel())
            found.append(stream.pull(its_rows, gaussian_tables()))
            stream.finish()
        # Rounded to fixed point, so that the last bit of a power of two is nobody's business.
        decoded = to_float(to_fixed(torch.stack(found) * _step(steps) + _float(mean)))
        return SideInfo((level, decoded), size)

    def coding_state(self) -> bytes:
        """Tables, the quantiser with its weights, and how the map travels."""
        shape = f"{self.classes} {self.params.map_stride} {self.params.quantiser.use} {self.params.quantiser.params}"
        parts: list[bytes | str | Tensor] = [f"{self.name}/1", shape, self.map.coding_state(), self.table]
        for name, tensor in sorted(self.quantiser.state_dict().items()):
            parts += [name, tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()]
        return serialize(*parts)


def _float(fixed: Tensor) -> Tensor:
    return to_float(fixed).double()


def _step(fixed: Tensor) -> Tensor:
    return _float(fixed).exp2()
