"""What codecs share that send a label map: a task network makes it at the encoder, any lossless codec writes it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn import functional as F

from icm_core.errors import BitstreamError, InputError, SpecError
from icm_core.interfaces import Codec, ComponentParams, Nested, TaskHead
from icm_core.quality import Quality
from icm_core.types import Features, Level
from icm_related.lossless import Lossless

PICTURE = Level(3, 1)
_ONLY = Quality.of(1)


class MapParams(ComponentParams):
    """Where the label map comes from, and how it travels."""

    segmenter: Nested[TaskHead] = Field(
        description="the segmentation network that labels the clean picture; the encoder's alone"
    )
    map: Nested[Codec] = Field(
        default_factory=lambda: Nested.of(Lossless),
        description="codec of the label map as a grey picture, at quality 1; it must be lossless",
    )
    map_stride: int = Field(1, ge=1, le=16, description="rows and columns of the map that are one in the file: 1, 2, 4")

    @field_validator("map_stride")
    @classmethod
    def _power(cls, value: int) -> int:
        return power_of_two(value)


class MapCodec(Codec):
    """Base of codecs whose side information begins with a label map, one channel a class, of zeros and ones.

    The map is what a segmentation network says of the clean picture, not the truth: an encoder has no labels. Its file
    is counted like every other byte of the payload.
    """

    params: MapParams

    def __init__(self, params: MapParams) -> None:
        super().__init__(params)
        if (kind := params.segmenter.cls.kind_of(params.segmenter.params)) != "segmentation":
            raise SpecError(
                f"segmenter: {params.segmenter.use} is a head of kind {kind}; it should be one of segmentation"
            )
        self.segmenter: TaskHead = params.segmenter.build({"image": PICTURE})
        self.map: Codec = params.map.build()
        if self.map.layout.levels != (PICTURE,):
            raise SpecError(f"map: {params.map.use} gives more or less than a picture; it should be a picture codec")
        self.classes = len(self.segmenter.labels)
        self.map_level = Level(self.classes, params.map_stride)

    def scores(self, x: Tensor) -> Tensor:
        """The segmentation network's logits of clean pictures, (B, K, H, W)."""
        size = (x.shape[-2], x.shape[-1])
        found = self.segmenter(Features({"image": x}, size))
        assert isinstance(found, Tensor)  # as the kind has it
        return found

    def chosen(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The map that training sees, (B, K, h, w), whose gradient is that of the probabilities; and bits (B,)."""
        logits = self.scores(x).float()[..., :: self.params.map_stride, :: self.params.map_stride]
        labels = logits.argmax(1)
        hard = self.one_hot(labels)
        soft = logits.softmax(1)
        return hard + soft - soft.detach() if soft.requires_grad else hard, self._bits(labels)

    def one_hot(self, labels: Tensor) -> Tensor:
        """(B, h, w) whole numbers -> (B, K, h, w) zeros and ones, float32."""
        numbers = torch.arange(self.classes, device=labels.device)[:, None, None]
        return (labels[:, None] == numbers).float()

    @torch.no_grad()
    def _bits(self, labels: Tensor) -> Tensor:
        if labels.is_meta:
            return torch.empty(len(labels), device=labels.device)
        return torch.tensor([8.0 * len(one) for one in self._written(labels)], device=labels.device)

    def _written(self, labels: Tensor) -> list[bytes]:
        grey = (labels[:, None].float() / 255).expand(-1, 3, -1, -1)
        return self.map.encode(grey, _ONLY)

    @torch.no_grad()
    def write_map(self, x: Tensor) -> tuple[list[bytes], Tensor]:
        """Files of the maps of pictures of any size, and the labels in them, (B, h, w).

        Raises:
            InputError: the map's codec is not lossless.
        """
        step = self.params.map_stride
        labels = self.scores(x).argmax(1)[:, ::step, ::step]
        files = self._written(labels)
        written = self._grey(files, (x.shape[-2], x.shape[-1]))
        if not torch.equal(written, labels.to(written.device)):
            raise InputError(
                f"{self.name}: the codec of the label map, {self.params.map.use}, gives other labels than it got; "
                "it should be a lossless one, such as related.lossless"
            )
        return files, labels

    def read_map(self, files: Sequence[bytes], size: tuple[int, int]) -> Tensor:
        """Labels (B, h, w) of pictures of a size.

        Raises:
            BitstreamError: a file is damaged, or holds no label map.
        """
        labels = self._grey(files, size)
        if bool((labels >= self.classes).any()) or bool((labels < 0).any()):
            raise BitstreamError(f"a label map names a class that is none of {self.classes}")
        return labels

    def _grey(self, files: Sequence[bytes], size: tuple[int, int]) -> Tensor:
        """Values of the grey pictures in files, (B, h, w); -1 where one is not grey."""
        height, width = (-(-side // self.params.map_stride) for side in size)
        decoded = self.map.decode(files, (height, width), _ONLY).levels[0].mul(255).round().long()
        grey = (decoded == decoded[:, :1]).all(1)
        return torch.where(grey, decoded[:, 0], -1)

    def map_of(self, labels: Tensor, size: tuple[int, int]) -> Tensor:
        """The level (B, K, h, w) of decoded labels: continued by its edge to the padded size."""
        step = self.layout.alignment
        height, width = (-(-side // step) * step // self.params.map_stride for side in size)
        more = (0, width - labels.shape[-1], 0, height - labels.shape[-2])
        return self.one_hot(F.pad(labels[:, None].float(), more, mode="replicate")[:, 0].long())

    def padded(self, x: Tensor) -> Tensor:
        """Pictures continued to the right and below by their edge, to multiples of the alignment."""
        step = self.layout.alignment
        return F.pad(x, (0, -x.shape[-1] % step, 0, -x.shape[-2] % step), mode="replicate")


def power_of_two(value: int) -> int:
    """The value; `ValueError`, which pydantic reports, unless it is 1, 2, 4, ..."""
    if value & (value - 1):
        raise ValueError(f"{value} is no power of two")
    return value
