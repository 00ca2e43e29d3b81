"""Head `Density`: numbers of objects as sums over density maps (Lempitsky and Zisserman, NIPS 2010)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from icm_core import SpecError
from icm_core.interfaces import ComponentParams, TaskHead
from icm_core.types import FeatureLayout, Features

STRIDE = 8


class Density(TaskHead):
    """Counts (B, K): a map of objects per cell and class from the semantic image, and its sum.

    A sum over the picture knows nothing of its size, so one network counts in pictures of any.
    """

    name: ClassVar[str] = "count.density"
    kind: ClassVar[str] = "regression"
    requires: ClassVar[tuple[str, ...]] = ("image",)

    class Params(ComponentParams):
        """What is counted, and the size of the network."""

        objects: tuple[str, ...] = Field(("object",), min_length=1, max_length=100, description="what is counted")
        width: int = Field(32, ge=4, le=512, multiple_of=4, description="channels of the first layer")

    params: Params

    def __init__(self, params: Params, features: FeatureLayout) -> None:
        super().__init__(params, features)
        if "image" not in features:
            raise SpecError(f"head {self.name!r} needs the map 'image', but its adapter delivers {sorted(features)}")
        w = params.width
        self.body = nn.Sequential(
            nn.Conv2d(features["image"].channels, w, 5, stride=4, padding=2),
            nn.GroupNorm(4, w),
            nn.ReLU(),
            nn.Conv2d(w, 2 * w, 3, stride=2, padding=1),
            nn.GroupNorm(4, 2 * w),
            nn.ReLU(),
            nn.Conv2d(2 * w, 2 * w, 3, padding=2, dilation=2),
            nn.ReLU(),
        )
        self.objects = nn.Conv2d(2 * w, len(params.objects), 1)
        assert self.objects.bias is not None
        nn.init.constant_(self.objects.bias, -6.0)  # hardly any cell has an object in it

    @property
    def labels(self) -> tuple[str, ...]:
        """What the K values count."""
        return self.params.objects

    def density(self, features: Features) -> Tensor:
        """Objects per cell of 8x8 pixels, (B, K, h, w), none negative."""
        return F.softplus(self.objects(self.body(features.cropped("image"))))

    def forward(self, features: Features) -> Tensor:
        """Counts (B, K), none negative."""
        return self.density(features).sum((2, 3))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Negative log-likelihood in nats of each picture's counts (B, K) under Poisson distributions, (B,).

        Their means are ``output``; what does not depend on it is left out. It is the mean over the K counts.
        """
        return F.poisson_nll_loss(output, target, log_input=False, reduction="none").mean(1)
