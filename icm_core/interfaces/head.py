"""Contract `TaskHead`: features -> prediction, its loss, its metric, its picture."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torchmetrics
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from icm_core.interfaces.component import Component, ComponentParams
from icm_core.types import FeatureLayout, Features, Kind, Level, Prediction


class TaskHead(Component):
    """A task network behind an adapter.

    Args:
        params: the validated ``Params`` of the subclass.
        features: the maps that the task's adapter delivers. A head that misses one raises `SpecError`.
    """

    kind: ClassVar[Kind]
    requires: ClassVar[tuple[str, ...]] = ("image",)

    def __init__(self, params: ComponentParams, features: FeatureLayout) -> None:
        super().__init__()
        self.params = params
        self.features = features

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes or values, in order; empty where there are none."""
        return ()

    @property
    def reads_pictures(self) -> bool:
        """Whether it can run on a clean picture: all that it reads is an RGB picture of full size."""
        return tuple(self.requires) == ("image",) and self.features["image"] == Level(3, 1)

    @abstractmethod
    def forward(self, features: Features) -> Tensor:
        """(B, K) logits, (B, K, H, W) logits, (B, 3, H, W) pictures or (B, K) values, by `kind`.

        H, W = ``features.size``.
        """

    def predict(self, features: Features) -> Prediction:
        """`forward` in inference, with its kind and labels."""
        return Prediction(self.kind, self(features), self.labels)

    def outputs(self, features: Features) -> tuple[tuple[float, Tensor], ...]:
        """Every output that training looks at, with its weight; the first is `forward`'s, of weight 1.

        A head with auxiliary outputs (deep supervision) gives them here.
        """
        return ((1.0, self(features)),)

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Training loss, a scalar.

        Targets: (B,) classes, (B, H, W) classes, (B, 3, H, W) pictures, or (B, K) values.
        """

    def divergence(self, output: Tensor, reference: Tensor) -> Tensor:
        """How far an output is from what the head says of the clean picture, (B,); encoder-side search makes it small.

        Of logits the Kullback-Leibler divergence in nats, the mean over pixels; of pictures the mean squared error in
        grey levels (of 255), whose reference is the clean picture itself; of values the mean squared difference.
        """
        if self.kind in ("classification", "segmentation"):
            each = F.kl_div(output.log_softmax(1), reference.softmax(1), reduction="none").sum(1)
        else:
            each = (output - reference).square() * (255**2 if self.kind == "reconstruction" else 1)
        return each.reshape(len(each), -1).mean(1)

    @abstractmethod
    def metric(self) -> torchmetrics.Metric:
        """A fresh metric whose ``update(output, target)`` takes what `loss` takes."""

    @abstractmethod
    def draw(self, prediction: Prediction) -> Image.Image | None:
        """The first picture of the batch as a person would look at it, or None if a picture makes no sense."""
