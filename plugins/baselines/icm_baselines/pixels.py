"""What stands behind a codec that decodes pictures: the adapter `pixels` and the head `picture`."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from icm_core.errors import SpecError
from icm_core.interfaces import ComponentParams, SideInfoAdapter, TaskHead
from icm_core.types import FeatureLayout, Features, Level, Prediction, SideInfo, SideInfoLayout

_PICTURE = Level(3, 1)


class PixelsAdapter(SideInfoAdapter):
    """The decoded picture as the map ``image``, so that any task network stands behind any picture codec."""

    name: ClassVar[str] = "baselines.pixels"

    class Params(ComponentParams):
        """No parameters."""

    def __init__(self, params: Params, layout: SideInfoLayout) -> None:
        super().__init__(params, layout)
        if layout.levels[0] != _PICTURE:
            raise SpecError(
                f"adapter '{self.name}' takes a codec whose side information begins with the decoded picture; "
                f"this one gives {[(level.channels, level.stride) for level in layout.levels]} (channels, stride)"
            )

    @property
    def features(self) -> FeatureLayout:
        """image: the picture, 3 channels at full size, in [0, 1]."""
        return {"image": _PICTURE}

    def forward(self, side: SideInfo) -> Features:
        """The picture as it is."""
        return Features({"image": side.levels[0]}, side.size)


class Picture(TaskHead):
    """The map ``image`` itself as a reconstruction: the decoded picture, to be looked at and measured."""

    name: ClassVar[str] = "baselines.picture"
    kind: ClassVar[str] = "reconstruction"

    class Params(ComponentParams):
        """No parameters."""

    def __init__(self, params: Params, features: FeatureLayout) -> None:
        super().__init__(params, features)
        if features.get("image") != _PICTURE:
            raise SpecError(f"head '{self.name}' needs 'image' as {_PICTURE}, and its adapter gives {dict(features)}")

    def forward(self, features: Features) -> Tensor:
        """(B, 3, H, W), not clamped."""
        return features.cropped("image")

    def predict(self, features: Features) -> Prediction:
        """The picture clamped to [0, 1]."""
        return Prediction(self.kind, self(features).float().clamp(0, 1))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean squared error of each picture, (B,)."""
        return F.mse_loss(output, target, reduction="none").flatten(1).mean(1)
