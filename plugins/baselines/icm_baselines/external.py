"""What all external codecs share: pictures to 8-bit pixels and back, and settings between qualities."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from pydantic import model_validator
from torch import Tensor
from typing_extensions import Self

from icm_core.errors import BitstreamError
from icm_core.interfaces import Codec, ComponentParams
from icm_core.quality import Quality
from icm_core.types import CodecOutput, Level, SideInfo, SideInfoLayout

Pixels: TypeAlias = npt.NDArray[np.uint8]
"""A picture (H, W, 3), RGB."""

MOST_SETTINGS = 15
"""A file's quality goes up to 15.94, so that 15 settings have a whole quality each."""


class ExternalParams(ComponentParams):
    """Base of the external codecs' ``Params``; a subclass gives ``settings`` its type, range and defaults."""

    settings: tuple[float, ...]

    @model_validator(mode="after")
    def _monotonic(self) -> Self:
        steps = [after - before for before, after in pairwise(self.settings)]
        if not (all(step > 0 for step in steps) or all(step < 0 for step in steps)):
            raise ValueError(f"settings go one way, from the fewest bits to the most, not as {list(self.settings)}")
        return self


class ExternalCodec(Codec):
    """A codec that somebody else wrote; its side information is the decoded picture.

    The payload is the codec's own file or raw stream, byte for byte. Quality q is the codec's own setting number q,
    counted from 1; between two of them the setting is interpolated linearly, and rounded where the codec takes whole
    numbers only.

    There are no parameters to train: no gradient passes through, and the rate in training is the real one. Whether
    two machines decode the same pixels is up to the codec's decoder.
    """

    writes_own_files: ClassVar[bool] = True

    params: ExternalParams
    _place: Tensor

    def __init__(self, params: ExternalParams) -> None:
        super().__init__(params)
        # Moves with the pipeline, so that decoded pictures lie where the task networks are; it is in no state.
        self.register_buffer("_place", torch.empty(0), persistent=False)

    @abstractmethod
    def compress(self, pixels: Pixels, setting: float) -> bytes:
        """One picture as the codec's own file or stream.

        Args:
            pixels: the picture.
            setting: the codec's own quality number.

        Raises:
            InputError: the codec is not there, or cannot code this picture.
        """

    @abstractmethod
    def decompress(self, payload: bytes, size: tuple[int, int]) -> Pixels:
        """The picture in a file or stream, nothing larger than (height, width) is decoded.

        Raises:
            InputError: the codec is not there.
            BitstreamError: the payload is damaged, or holds a picture of another size.
        """

    @property
    def layout(self) -> SideInfoLayout:
        """The decoded picture: 3 channels at full size, in [0, 1]."""
        return SideInfoLayout((Level(3, 1),), 3)

    @property
    def quality_range(self) -> tuple[float, float]:
        """1 ... the number of settings."""
        return 1.0, float(len(self.params.settings))

    def setting(self, quality: Quality) -> float:
        """The codec's own number for a quality."""
        settings = self.params.settings
        return float(np.interp(quality.value, np.arange(len(settings)) + 1, settings))

    @torch.no_grad()
    def forward(self, x: Tensor, quality: Tensor) -> CodecOutput:
        """Codes and decodes with the real codec; see `Codec.forward`."""
        size = (x.shape[-2], x.shape[-1])
        if x.is_meta:  # shapes alone are asked for
            return CodecOutput(SideInfo((torch.empty_like(x),), size), {"file": x.new_empty(len(x))})
        pictures, bits = [], []
        for picture, its in zip(x, quality, strict=True):
            step = Quality.of(float(its))
            payloads = self.encode(picture[None], step)
            pictures.append(self.decode(payloads, size, step).levels[0].to(x))
            bits.append(8 * len(payloads[0]))
        return CodecOutput(SideInfo((torch.cat(pictures),), size), {"file": x.new_tensor(bits)})

    def encode(self, x: Tensor, quality: Quality) -> list[bytes]:
        """The codec's own file or stream of each picture, which is rounded to 8 bits first."""
        whole = x.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1)
        return [self.compress(pixels, self.setting(quality)) for pixels in whole.contiguous().cpu().numpy()]

    def decode(self, payloads: Sequence[bytes], size: tuple[int, int], quality: Quality) -> SideInfo:  # noqa: ARG002
        """The decoded pictures; their streams do not depend on the quality that they were coded with."""
        decoded = np.stack([self.decompress(payload, size) for payload in payloads])
        pictures = torch.from_numpy(decoded).permute(0, 3, 1, 2).to(self._place.device)
        return SideInfo((pictures.float().div(255).contiguous(),), size)

    def coding_state(self) -> bytes:
        """The codec's name and the version of how it is used here; settings are the encoder's business alone."""
        return f"{self.name}/1".encode()


def whole(setting: float) -> int:
    """A setting for a codec that takes whole numbers only."""
    return int(np.floor(setting + 0.5))


def check_picture(codec: str, found: tuple[int, int], size: tuple[int, int]) -> None:
    """Raise `BitstreamError` unless a stream's (height, width) is the file's."""
    if found != size:
        (height, width), (rows, columns) = found, size
        raise BitstreamError(
            f"the {codec} stream holds a picture of {width}x{height} pixels, and the file's is {columns}x{rows}"
        )
