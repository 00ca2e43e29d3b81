"""Codec `filtered`: a trained filter before any other codec, so that what a task needs costs fewer bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from icm_core.coding.bounds import Bound
from icm_core.interfaces import Codec, ComponentParams, Nested
from icm_core.quality import Quality
from icm_core.types import CodecOutput, SideInfo, SideInfoLayout


class Filter(nn.Module):
    """Convolutions 3x3 that change a picture, (B, 3, H, W) to the same shape; untrained it changes nothing.

    Args:
        channels: of the inner layers.
        layers: number of convolutions, from 2.
    """

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        widths = [3, *[channels] * (layers - 1), 3]
        convolutions = [
            nn.Conv2d(before, after, 3, padding=1, padding_mode="replicate") for before, after in pairwise(widths)
        ]
        nn.init.zeros_(convolutions[-1].weight)
        last = convolutions[-1].bias
        assert last is not None
        nn.init.zeros_(last)
        steps: list[nn.Module] = []
        for convolution in convolutions:
            steps += [convolution, nn.LeakyReLU(0.1)]
        self.change = nn.Sequential(*steps[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """The picture, and what the layers add to it."""
        changed: Tensor = x + self.change(x)
        return changed


class Filtered(Codec):
    """A trained filter, and behind it a codec that knows nothing of it (Suzuki et al., ICIP 2019, give the idea).

    ::

        x -> before -> codec -> file -> codec -> side information

    The filter is the encoder's alone: payloads and fingerprints are the codec's own, so that a pipeline with the plain
    codec reads the files. It learns through the codec's rate and what the tasks say. No gradient comes back through
    codecs of other people; of these the picture's passes straight, as if their error did not depend on it, and the
    rate's is none. A filter that was trained before a learned codec can stand before another one: a spec that extends
    says so.
    """

    name: ClassVar[str] = "related.filtered"

    class Params(ComponentParams):
        """The codec, and the filter's size."""

        codec: Nested[Codec] = Field(description="the codec that codes the filtered picture")
        channels: int = Field(32, ge=1, le=512, description="channels of the filter's inner layers")
        layers: int = Field(5, ge=2, le=64, description="convolutions of the filter")

    params: Params

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.before = Filter(params.channels, params.layers)
        self.codec = params.codec.build()

    @property
    def writes_own_files(self) -> bool:  # type: ignore[override]
        """As the codec: payloads are its own."""
        return self.codec.writes_own_files

    @property
    def layout(self) -> SideInfoLayout:
        """The codec's."""
        return self.codec.layout

    @property
    def quality_range(self) -> tuple[float, float]:
        """The codec's."""
        return self.codec.quality_range

    def forward(self, x: Tensor, quality: Tensor) -> CodecOutput:
        """See `Codec.forward`."""
        filtered = self.before(x)
        with self._as_in_training() if self.before.training else nullcontext():
            found: CodecOutput = self.codec(filtered, quality)
        level = found.side.levels[0]
        if level.shape != filtered.shape or level.requires_grad or not torch.is_grad_enabled():
            return found
        straight = level + filtered - filtered.detach()
        return replace(found, side=replace(found.side, levels=(straight, *found.side.levels[1:])))

    @contextmanager
    def _as_in_training(self) -> Iterator[None]:
        """A learned codec that is frozen, hence rounds, has its noise: no gradient comes back through rounding."""
        modes = {module: module.training for module in self.codec.modules() if not isinstance(module, _BatchNorm)}
        for module in modes:
            module.training = True
        try:
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode

    def filtered(self, x: Tensor) -> Tensor:
        """What the codec is given, (B, 3, H, W) in [0, 1]."""
        changed: Tensor = self.before(x)
        return changed.float().clamp(0, 1)

    def encode(self, x: Tensor, quality: Quality) -> list[bytes]:
        """The codec's payloads of the filtered pictures."""
        return self.codec.encode(self.filtered(x), quality)

    def encode_with_side(self, x: Tensor, quality: Quality) -> tuple[list[bytes], SideInfo]:
        """As the codec does it, of the filtered pictures."""
        return self.codec.encode_with_side(self.filtered(x), quality)

    def decode(self, payloads: Sequence[bytes], size: tuple[int, int], quality: Quality) -> SideInfo:
        """As the codec does it."""
        return self.codec.decode(payloads, size, quality)

    def coding_state(self) -> bytes:
        """The codec's: decoding does not depend on the filter."""
        return self.codec.coding_state()

    def prove(self) -> Sequence[Bound]:
        """What the codec proves."""
        return self.codec.prove()

    def freeze_tables(self) -> None:
        """The codec's."""
        self.codec.freeze_tables()
