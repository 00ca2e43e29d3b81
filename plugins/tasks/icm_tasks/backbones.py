"""Dense feature extractors from timm, at an output stride of 8."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from icm_core.errors import SpecError
from icm_tasks.networks import Normalisation, configuration, create

STRIDE = 8


class Backbone(nn.Module):
    """A feature map of a timm network whose later stages are dilated to stay at stride 8.

    The layers behind that map (later stages, pooling, classifier) are not built.

    Args:
        name: a timm network that supports ``features_only`` and ``output_stride=8``, such as ``resnet101``.
        stage: the feature stage that is read, from 0; None: the last one.

    Raises:
        SpecError: timm has no such network or stage, or it cannot deliver stride 8.

    Attributes:
        net: the timm feature network; ImageNet weights go in here.
        channels: channels of the map that `forward` returns.
    """

    def __init__(self, name: str, stage: int | None = None) -> None:
        super().__init__()
        # timm's "getter" drops the layers behind the wanted stage; its other wrappers build and run them all.
        indices = (-1 if stage is None else stage,)
        self.net = create(name, features_only=True, feature_cls="getter", output_stride=STRIDE, out_indices=indices)
        info = cast(Any, self.net.feature_info)
        if info.reduction()[-1] != STRIDE:
            raise SpecError(
                f"timm network {name!r} delivers features at stride {info.reduction()[-1]}, not {STRIDE}; "
                "choose one that can be dilated, such as 'resnet101' or 'tf_efficientnet_lite0'"
            )
        self.channels: int = info.channels()[-1]
        self.normalise = Normalisation.of(name, configuration(self.net))

    def forward(self, image: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] -> (B, channels, ceil(H / 8), ceil(W / 8))."""
        # On CPUs the backward pass of dilated depthwise convolutions is several times slower in bfloat16 than in
        # float32, enough to make the whole step slower; so the backbone leaves autocast there.
        if image.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return self._last(image.float())
        return self._last(image)

    def _last(self, image: Tensor) -> Tensor:
        features: list[Tensor] = self.net(self.normalise(image))
        return features[-1]
