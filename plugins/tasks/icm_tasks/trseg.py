"""Head `TrSeg`: transformer for semantic segmentation (Jin et al., Pattern Recognition Letters 148, 2021)."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import Self

from icm_core.interfaces import ComponentParams, TaskHead
from icm_core.types import Colour, FeatureLayout, Features
from icm_tasks.backbones import Backbone
from icm_tasks.inputs import MOST_PIXELS, check_class_names, require_image
from icm_tasks.palettes import default_labels, known_colours
from icm_tasks.pretrained import load_pretrained
from icm_tasks.transformer import Decoder


class TrSegParams(ComponentParams):
    """Parameters of `TrSeg`; the defaults are the paper's, for Cityscapes."""

    backbone: str = Field("resnet101", min_length=1, description="timm network that can be dilated to stride 8")
    stage: int | None = Field(
        None, ge=0, le=7, description="timm feature stage that is read, later ones are not built; none: the last"
    )
    classes: int = Field(19, ge=2, le=255, description="number K of classes")
    class_names: tuple[str, ...] = Field((), description="names of the classes in order; empty: the known data set's")
    channels: int = Field(512, ge=4, le=4096, multiple_of=4, description="channels C of f3D and of the transformer")
    bins: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(
        (1, 3, 6, 8), min_length=1, max_length=8, description="side of each average-pooling grid, in cells"
    )
    layers: int = Field(6, ge=1, le=24, description="layers of the transformer decoder")
    heads: int = Field(8, ge=1, le=64, description="attention heads; divides channels")
    feedforward: int = Field(2048, ge=1, le=16384, description="hidden channels of the transformer's feed-forward part")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of activations dropped in training")
    ignore_index: int = Field(255, ge=-1, le=255, description="target value that the loss does not count")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_class_names(self.class_names, self.classes)
        if self.channels % self.heads:
            raise ValueError(f"channels={self.channels} is not a multiple of heads={self.heads}")
        return self


def conv_norm_relu(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Convolution at stride 1 without bias, batch normalisation, ReLU; the size stays."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class TrSegOperations(nn.Module):
    """From f3D to the segmentation map: multi-scale pooling, transformer decoder, classifier::

        f3D -+- pool at each bin -> g0 -- decoder -> unpool -- resize -+- concat -> classifier -> logits
             +- flatten ---------> f0 ----^                            |
             +---------------------------------------------------------+

    Args:
        params: widths and depths; see `TrSegParams`.
    """

    def __init__(self, params: TrSegParams) -> None:
        super().__init__()
        self.bins = params.bins
        self.decoder = Decoder(
            tokens=sum(side * side for side in params.bins),
            layers=params.layers,
            channels=params.channels,
            heads=params.heads,
            feedforward=params.feedforward,
            dropout=params.dropout,
        )
        self.classifier = nn.Sequential(
            *conv_norm_relu(params.channels * (1 + len(params.bins)), params.channels, kernel=3),
            nn.Dropout(params.dropout),
            nn.Conv2d(params.channels, params.classes, 1),
        )

    def forward(self, f3d: Tensor) -> Tensor:
        """Features (B, C, h, w) -> logits (B, K, h, w)."""
        pooled = [functional.adaptive_avg_pool2d(f3d, side).flatten(2) for side in self.bins]
        tokens = self.decoder(torch.cat(pooled, dim=2).transpose(1, 2), f3d)
        grids = tokens.transpose(1, 2).split([side * side for side in self.bins], dim=2)
        resized = [
            functional.interpolate(
                grid.unflatten(2, (side, side)), size=f3d.shape[-2:], mode="bilinear", align_corners=False
            )
            for grid, side in zip(grids, self.bins, strict=True)
        ]
        logits: Tensor = self.classifier(torch.cat([f3d, *resized], dim=1))
        return logits


class TrSeg(TaskHead):
    """Semantic segmentation: logits (B, K, H, W) at the picture's own size.

    Args:
        params: see `TrSegParams`.
        features: must hold ``image``: 3 channels at full size, values in [0, 1].

    Raises:
        SpecError: the backbone is unknown or cannot be dilated, or ``image`` is missing.
    """

    name: ClassVar[str] = "tasks.trseg"
    kind: ClassVar[str] = "segmentation"
    most_pixels: ClassVar[int | None] = MOST_PIXELS

    class Params(TrSegParams):
        """See `TrSegParams`."""

    params: TrSegParams

    def __init__(self, params: TrSegParams, features: FeatureLayout) -> None:
        super().__init__(params, features)
        require_image(self.name, features)
        self.backbone = Backbone(params.backbone, params.stage)
        self.projection = conv_norm_relu(self.backbone.channels, params.channels, kernel=1)
        self.operations = TrSegOperations(params)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the K classes, in order."""
        return self.params.class_names or default_labels(self.params.classes)

    @property
    def colours(self) -> tuple[Colour, ...]:
        """The known data set's colours."""
        return known_colours(self.labels)

    def f3d(self, features: Features) -> Tensor:
        """f3D: the backbone's features projected to C channels, (B, C, ceil(H / 8), ceil(W / 8))."""
        projected: Tensor = self.projection(self.backbone(features.cropped("image")))
        return projected

    def forward(self, features: Features) -> Tensor:
        """Logits (B, K, H, W), H and W from ``features.size``."""
        return full_size(self.operations(self.f3d(features)), features.size)

    def start_from(self, source: str) -> None:
        """Fill the backbone from ``"imagenet"``; see `load_pretrained`."""
        load_pretrained(self.backbone.net, self.params.backbone, source)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean cross-entropy in nats over the pixels of each picture that count, (B,); 0 where none does.

        Args:
            output: logits (B, K, H, W).
            target: classes (B, H, W), int64; ``ignore_index`` marks pixels that do not count.
        """
        ignore = self.params.ignore_index
        each = functional.cross_entropy(output, target, ignore_index=ignore, reduction="none").flatten(1).sum(1)
        # The plain mean would be 0 / 0 where a crop holds ignored pixels only.
        return each / (target != ignore).flatten(1).sum(1).clamp_min(1)


def full_size(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits (B, K, h, w) resized bilinearly to (B, K, *size)."""
    return functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
