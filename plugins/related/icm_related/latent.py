"""Heads that read a codec's latent: classes without a picture, and a preview."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self

from icm_core.errors import SpecError
from icm_core.interfaces import ComponentParams, TaskHead
from icm_core.types import FeatureLayout, Features, Level, Prediction


class ClassesParams(ComponentParams):
    """Classes, and their names."""

    classes: int = Field(1000, ge=2, le=100_000, description="number K of classes")
    class_names: tuple[str, ...] = Field((), description="names of the classes in order; empty: they have none")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.class_names and len(self.class_names) != self.classes:
            raise ValueError(f"class_names has {len(self.class_names)} names for {self.classes} classes")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """The names, or numbers in words."""
        return self.class_names or tuple(f"class {index}" for index in range(self.classes))


class LatentClassifier(TaskHead):
    """Classification from a latent: logits (B, K), and no picture is made.

    cResNet (Torfason et al., ICLR 2018): a ResNet without the layers that would bring a picture down to the latent's
    scale. Here it has its last two groups of basic blocks, the second at half the latent's scale; theirs is deeper.
    """

    name: ClassVar[str] = "related.latent_classifier"
    kind: ClassVar[str] = "classification"
    requires: ClassVar[tuple[str, ...]] = ("latent",)

    class Params(ClassesParams):
        """Classes and sizes."""

        width: int = Field(128, ge=4, le=2048, description="channels of the first group; the second has twice as many")
        blocks: int = Field(2, ge=1, le=64, description="basic blocks of each group")

    params: Params

    def __init__(self, params: Params, features: FeatureLayout) -> None:
        super().__init__(params, features)
        from torchvision.models.resnet import BasicBlock  # slow to import

        latent, width = required(self.name, features), params.width
        self.enter = nn.Sequential(
            nn.BatchNorm2d(latent.channels), nn.Conv2d(latent.channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width), nn.ReLU(),
        )  # fmt: skip
        smaller = nn.Sequential(nn.Conv2d(width, 2 * width, 1, stride=2, bias=False), nn.BatchNorm2d(2 * width))
        self.groups = nn.Sequential(
            *(BasicBlock(width, width) for _ in range(params.blocks)),
            BasicBlock(width, 2 * width, stride=2, downsample=smaller),
            *(BasicBlock(2 * width, 2 * width) for _ in range(params.blocks - 1)),
        )
        self.classify = nn.Linear(2 * width, params.classes)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the K classes, in order."""
        return self.params.labels

    def forward(self, features: Features) -> Tensor:
        """Logits (B, K)."""
        logits: Tensor = self.classify(self.groups(self.enter(features.maps["latent"])).mean((2, 3)))
        return logits

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of each picture in nats, (B,); of classes (B,)."""
        return F.cross_entropy(output, target, reduction="none")


class Preview(TaskHead):
    """A picture from a latent: sub-pixel convolutions up to full size, as many as the latent's stride asks for.

    HMI-IC's preview network (Wang et al., IEEE IoT Journal 2022) stands for it; an enhancement refines its picture.
    """

    name: ClassVar[str] = "related.preview"
    kind: ClassVar[str] = "reconstruction"
    requires: ClassVar[tuple[str, ...]] = ("latent",)

    class Params(ComponentParams):
        """Sizes."""

        width: int = Field(64, ge=4, le=1024, description="channels between the layers")

    params: Params

    def __init__(self, params: Params, features: FeatureLayout) -> None:
        super().__init__(params, features)

        latent, width = required(self.name, features), params.width
        doublings = latent.stride.bit_length() - 1
        if latent.stride != 1 << doublings:
            raise SpecError(
                f"head '{self.name}' doubles its size up to the picture's, from a stride of {latent.stride}"
            )
        layers: list[nn.Module] = [nn.Conv2d(latent.channels, width, 3, padding=1), nn.LeakyReLU(0.1)]
        for step in range(doublings):
            out = 3 if step == doublings - 1 else width
            layers += [nn.Conv2d(width, 4 * out, 3, padding=1), nn.PixelShuffle(2), nn.LeakyReLU(0.1)]
        self.enlarge = nn.Sequential(*layers[:-1])
        last = layers[-3]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.constant_(last.bias, 0.5)  # begins at mid grey

    def forward(self, features: Features) -> Tensor:
        """(B, 3, H, W), not clamped."""
        height, width = features.size
        picture: Tensor = self.enlarge(features.maps["latent"])
        return picture[..., :height, :width]

    def predict(self, features: Features) -> Prediction:
        """The picture clamped to [0, 1]."""
        return Prediction(self.kind, self(features).float().clamp(0, 1))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean squared error of each picture, (B,)."""
        return F.mse_loss(output, target, reduction="none").flatten(1).mean(1)


def required(head: str, features: FeatureLayout) -> Level:
    """The map ``latent``; `SpecError` if an adapter gives none."""
    if "latent" not in features:
        raise SpecError(f"head '{head}' needs 'latent', and its adapter gives {', '.join(features) or 'nothing'}")
    return features["latent"]
