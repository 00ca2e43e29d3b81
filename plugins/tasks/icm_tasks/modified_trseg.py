"""Head `ModifiedTrSeg`: TrSeg that looks again at its features, class by class (SICMH Sec. 3.1.4, Figs. 7 and 8)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from icm_core.types import FeatureLayout, Features
from icm_tasks.class_mixing import ClassMixing
from icm_tasks.trseg import TrSeg, TrSegOperations, TrSegParams, full_size


class ModifiedTrSegParams(TrSegParams):
    """Parameters of `ModifiedTrSeg`: TrSeg's, and the weight of the first map in training."""

    auxiliary_weight: float = Field(0.4, ge=0, le=10, description="weight of the first map's loss in training")


class ModifiedTrSeg(TrSeg):
    """Semantic segmentation in two rounds::

        f3D -- TrSeg operations -> S --+
         |                             * -> class blocks -- pointwise conv -> f3D' -- TrSeg operations -> map
         +-----------------------------+

    The paper multiplies f3D by S without naming its scale. We take S as class probabilities (softmax): bounded,
    and a class block is then its share of f3D. f3D' passes batch normalisation and ReLU as f3D does, so that both
    rounds see features of one range. The rounds have their own weights, and those of the first have the names
    that they have in `TrSeg`: a trained `TrSeg` loads into it, as in the paper's schedule.

    Args:
        params: see `ModifiedTrSegParams`.
        features: as for `TrSeg`.

    Raises:
        SpecError: as for `TrSeg`.
    """

    name: ClassVar[str] = "tasks.modified_trseg"

    class Params(ModifiedTrSegParams):
        """See `ModifiedTrSegParams`."""

    params: ModifiedTrSegParams

    def __init__(self, params: ModifiedTrSegParams, features: FeatureLayout) -> None:
        super().__init__(params, features)
        self.mixing = ClassMixing(params.classes, params.channels)
        self.mixed = nn.Sequential(nn.BatchNorm2d(params.channels), nn.ReLU())
        self.second = TrSegOperations(params)

    def rounds(self, features: Features) -> tuple[Tensor, Tensor]:
        """Logits of the first and of the second round at f3D's size, (B, K, ceil(H / 8), ceil(W / 8)) each."""
        f3d = self.f3d(features)
        first: Tensor = self.operations(f3d)
        second: Tensor = self.second(self.mixed(self.mixing(f3d, first.softmax(1))))
        return first, second

    def maps(self, features: Features) -> tuple[Tensor, Tensor]:
        """Logits of the first and of the second round at the picture's size, (B, K, H, W) each, for training."""
        first, second = self.rounds(features)
        return full_size(first, features.size), full_size(second, features.size)

    def forward(self, features: Features) -> Tensor:
        """Logits of the second round, (B, K, H, W)."""
        return full_size(self.rounds(features)[1], features.size)

    def outputs(self, features: Features) -> tuple[tuple[float, Tensor], ...]:
        """The second map, and the first one with ``auxiliary_weight``."""
        first, second = self.maps(features)
        return (1.0, second), (self.params.auxiliary_weight, first)
