"""Head `ViT`: image classification with any timm classifier (Dosovitskiy et al., ICLR 2021, by default)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional
from typing_extensions import Self

from icm_core.interfaces import ComponentParams, TaskHead
from icm_core.kinds import imagenet
from icm_core.types import FeatureLayout, Features
from icm_tasks.inputs import MOST_PIXELS, check_class_names, require_image
from icm_tasks.networks import Normalisation, configuration, create
from icm_tasks.pretrained import load_pretrained

IMAGENET_CLASSES = imagenet.COUNT


class ViTParams(ComponentParams):
    """Parameters of `ViT`; the defaults are the paper's, for ImageNet-1k."""

    model: str = Field("vit_base_patch16_384", min_length=1, description="name of a timm classifier")
    classes: int = Field(IMAGENET_CLASSES, ge=2, le=100_000, description="number K of classes")
    class_names: tuple[str, ...] = Field((), description="names of the classes in order; empty: ImageNet's if K = 1000")
    input_size: int | None = Field(
        None, ge=16, le=2048, description="side in pixels of the network's square input; none: the network's own"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_class_names(self.class_names, self.classes)
        return self


class ViT(TaskHead):
    """Classification: logits (B, K).

    The picture, whatever its shape, is resized as a whole to the network's input: nothing is cut off.

    Args:
        params: see `ViTParams`.
        features: must hold ``image``: 3 channels at full size, values in [0, 1].

    Raises:
        SpecError: timm has no such network, it does not take ``input_size``, or ``image`` is missing.

    Attributes:
        net: the timm classifier; pretrained weights go in here.
        input_size: (height, width) in pixels of its input.
    """

    name: ClassVar[str] = "tasks.vit"
    kind: ClassVar[str] = "classification"
    most_pixels: ClassVar[int | None] = MOST_PIXELS

    class Params(ViTParams):
        """See `ViTParams`."""

    params: ViTParams

    def __init__(self, params: ViTParams, features: FeatureLayout) -> None:
        super().__init__(params, features)
        require_image(self.name, features)
        self.net = create(params.model, num_classes=params.classes)
        config = configuration(self.net)
        side = params.input_size
        if side is not None and config["fixed_input_size"]:
            # A transformer has one position embedding per patch, so that its size is fixed when it is built.
            self.net = create(params.model, num_classes=params.classes, img_size=side)
        self.input_size: tuple[int, int] = (side, side) if side is not None else tuple(config["input_size"][1:])
        self.normalise = Normalisation.of(params.model, config)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the K classes, in order."""
        if self.params.class_names:
            return self.params.class_names
        if self.params.classes == IMAGENET_CLASSES:
            return imagenet.names()
        return tuple(f"class {index}" for index in range(self.params.classes))

    @property
    def synsets(self) -> tuple[str, ...]:
        """WordNet ids (``n01440764``, ...) of the 1000 ImageNet-1k classes in order; empty for other class counts.

        Folders of ImageNet and of its subsets have these names.
        """
        return imagenet.synsets() if self.params.classes == IMAGENET_CLASSES else ()

    @property
    def aliases(self) -> tuple[tuple[str, ...], ...]:
        """The WordNet ids, where they are known."""
        return (self.synsets,) if self.synsets else ()

    def forward(self, features: Features) -> Tensor:
        """Logits (B, K)."""
        image = features.cropped("image")
        if image.shape[-2:] != self.input_size:
            image = functional.interpolate(
                image.float(), size=self.input_size, mode="bicubic", align_corners=False, antialias=True
            ).clamp(0, 1)
        logits: Tensor = self.net(self.normalise(image))
        return logits

    def start_from(self, source: str) -> None:
        """Fill the classifier from ``"imagenet"``; see `load_pretrained`."""
        load_pretrained(self.net, self.params.model, source)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of each picture in nats, (B,).

        Args:
            output: logits (B, K).
            target: classes (B,), int64.
        """
        return functional.cross_entropy(output, target, reduction="none")
