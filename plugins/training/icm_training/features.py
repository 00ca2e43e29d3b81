"""Loss `training.features`: how far a picture is from the clean one as a pretrained network sees them."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from icm_core.interfaces import ComponentParams, DataSet, PipelineView
from icm_core.training import Batch, Loss
from icm_tasks.networks import Normalisation, configuration, create
from icm_tasks.pretrained import load_pretrained
from icm_training.fitting import Of, check_picture, picture_of

EPSILON = 1e-6
"""Added to the mean square of the clean features."""


class FeatureDistance(Loss):
    """Distance of a picture from the clean one in features of a network with ImageNet weights, a relative error.

    Of each stage it is the mean squared difference over the clean features' own mean square (0 for the same picture,
    about 1 or 2 for another one), and of several stages their weighted mean. What two networks read alike, this tells:
    a task's head need not be trained yet. The network is frozen and no part of the pipeline; gradients pass through it
    to the picture.
    """

    name: ClassVar[str] = "training.features"

    class Params(ComponentParams):
        """The picture, and the network that looks at it."""

        of: Of = Field(
            "image",
            description="the semantic image that the task's adapter makes, its output, which is a picture, or the fine "
            "picture",
        )
        model: str = Field("tf_efficientnet_lite0", min_length=1, description="timm network with ImageNet weights")
        stages: tuple[Annotated[int, Field(ge=0, le=16)], ...] = Field(
            (1, 2, 3),
            min_length=1,
            description="its feature stages, from 0; those behind the last are not built",
        )
        weights: tuple[Annotated[float, Field(gt=0)], ...] = Field(
            (), description="how much each stage counts; empty: all alike"
        )

        @model_validator(mode="after")
        def _consistent(self) -> Self:
            if list(self.stages) != sorted({*self.stages}):
                raise ValueError(f"stages are {self.stages}; they should rise")
            if self.weights and len(self.weights) != len(self.stages):
                raise ValueError(
                    f"weights has {len(self.weights)} for {len(self.stages)} stages; give one each, or none"
                )
            return self

    params: Params

    def __init__(self, params: Params, pipe: PipelineView, task: str | None, data: DataSet) -> None:
        super().__init__(params, pipe, task, data)
        check_picture(self.name, params.of, pipe, task)
        with torch.random.fork_rng(devices=[]):  # its random weights are replaced, and should move no generator
            # timm's "getter" drops the stages behind the last one; its other wrappers build and run them all.
            self.net = create(params.model, features_only=True, feature_cls="getter", out_indices=params.stages)
        load_pretrained(self.net, params.model, "imagenet")
        self.net.requires_grad_(False).eval()
        self.normalise = Normalisation.of(params.model, configuration(self.net))
        weights = params.weights or (1.0,) * len(params.stages)
        self.shares = [weight / sum(weights) for weight in weights]

    def train(self, mode: bool = True) -> FeatureDistance:
        """The network stays in inference."""
        super().train(mode)
        self.net.eval()
        return self

    def forward(self, batch: Batch) -> Tensor:
        """Relative error of the features of each picture, (B,)."""
        with torch.no_grad():
            wanted = self._features(batch.pictures)
        found = self._features(picture_of(batch, self.params.of, self.task))
        total = batch.quality.new_zeros(len(batch.pictures))
        for share, one, other in zip(self.shares, found, wanted, strict=True):
            error = (one - other).square().flatten(1).mean(1)
            total = total + share * error / (other.square().flatten(1).mean(1) + EPSILON)
        return total

    def _features(self, pictures: Tensor) -> list[Tensor]:
        """Pictures (B, 3, H, W) in [0, 1] -> a map of each stage, in float32 whatever autocast computes in."""
        found: list[Tensor] = self.net(self.normalise(pictures))
        return [values.float() for values in found]
