"""`ModuleHead`: any network of PyTorch as a task head."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from icm_core.errors import SpecError
from icm_core.interfaces import ComponentParams, TaskHead
from icm_core.nests import Nest, shown
from icm_core.types import FeatureLayout, Features, Level
from icm_core.wrap.fitting import Fit, Fitted, Size, fit_into
from icm_core.wrap.losses import LOSSES

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of most networks that were trained on ImageNet, for values in [0, 1]."""

_IMAGE = Level(channels=3, stride=1)
_CHANNELS = {"classification": 2, "segmentation": 4, "regression": 2, "reconstruction": 4, "depth": 4}
"""Dimensions of the outputs of kinds whose second one is labels or channels."""


@dataclass(frozen=True)
class Input:
    """What a network wants of pictures.

    Attributes:
        size: height and width of its input; a number for the picture's shorter side; None for the picture's own size.
        fit: how an input of a fixed height and width is filled (`icm_core.wrap.Fit`).
        mean, std: what is taken off each channel, and what the rest is divided by, in the network's order and levels.
        levels: value of full brightness, 1.0 or 255.0.
        order: of the channels.
        fill: value, in [0, 1], of what is filled up around a picture.
        longest: with a number as size, the most that the longer side may have.
        multiple: what the sides of an input without a fixed height and width are multiples of.
        smooth: whether pictures are low-pass filtered where they shrink, as Pillow does and OpenCV does not.
        resample: how pictures are resized.
    """

    size: Size = None
    fit: Fit = "stretch"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    levels: float = 1.0
    order: Literal["rgb", "bgr"] = "rgb"
    fill: float = 0.0
    longest: int | None = None
    multiple: int = 1
    smooth: bool = True
    resample: Literal["bilinear", "bicubic"] = "bilinear"

    def __post_init__(self) -> None:
        sides = self.size if isinstance(self.size, tuple) else (self.size,)
        if any(side is not None and side < 1 for side in sides) or self.multiple < 1:
            raise ValueError(f"size is {self.size} and multiple {self.multiple}; sides have a pixel at least")
        if len(self.mean) != 3 or len(self.std) != 3 or any(value <= 0 for value in self.std):
            raise ValueError(f"mean is {self.mean} and std {self.std}; both have three values, those of std above 0")
        if self.order not in ("rgb", "bgr"):
            raise ValueError(f"order is {self.order!r}; it should be 'rgb' or 'bgr'")

    def fit_in(self, image: Tensor) -> Fitted:
        """Pictures (B, 3, H, W), RGB in [0, 1], in the size of the input, not yet normalised."""
        return fit_into(
            image,
            self.size,
            self.fit,
            fill=self.fill,
            longest=self.longest,
            multiple=self.multiple,
            smooth=self.smooth,
            resample=self.resample,
        )

    def normalised(self, image: Tensor) -> Tensor:
        """Pictures (B, 3, h, w), RGB in [0, 1], in the network's own order, levels and range."""
        ordered = image.flip(1) if self.order == "bgr" else image
        mean = image.new_tensor(self.mean).view(1, 3, 1, 1)
        std = image.new_tensor(self.std).view(1, 3, 1, 1)
        return (ordered * self.levels - mean) / std


class ModuleHead(TaskHead):
    """A task head around a network: a subclass says which one, what kind its answers are, and what pictures it wants::

        class Places(ModuleHead):
            \"""ResNet-18 for three kinds of places.\"""

            name = "mylab.places"
            kind = "classification"
            labels = ("indoors", "street", "nature")
            wants = Input(size=(224, 224), mean=IMAGENET_MEAN, std=IMAGENET_STD)

            def network(self):
                return torchvision.models.resnet18(num_classes=len(self.labels))

    The network is given normalised pictures (B, 3, h, w), and `read` makes of what it says the output of the kind. Maps
    are brought back to the picture's size; boxes, keypoints and masks of things to its pixels. The loss is the usual
    one of the kind: cross-entropy, squared error, scale-invariant error of logarithms for depth. A detector, whose loss
    is its own, overrides `losses`.

    Weights under the network's own names (``conv1.weight``) fit as those under the head's do (``net.conv1.weight``).

    Args:
        params: the validated ``Params`` of the subclass.
        features: must hold ``image``: 3 channels at full size, RGB in [0, 1].

    Raises:
        SpecError: ``image`` is missing, or `network` gives no network.

    Attributes:
        net: the network.
    """

    wants: Input = Input()
    """What the network wants of pictures; a property where parameters choose it."""

    ignore_index: int = 255
    """The class that counts nowhere in targets of segmentation."""

    def __init__(self, params: ComponentParams, features: FeatureLayout) -> None:
        super().__init__(params, features)
        if features.get("image") != _IMAGE:
            found = features.get("image", f"only {', '.join(map(repr, features))}" if features else "nothing")
            raise SpecError(f"head {self.name!r} needs the map 'image' as {_IMAGE}, and its adapter delivers {found}")
        net = self.network()
        if not isinstance(net, nn.Module):
            raise SpecError(f"network() of head {self.name!r} gives {shown(net)}; it should be a torch.nn.Module")
        self.net = net

    @abstractmethod
    def network(self) -> nn.Module:
        """The network with random weights, made from ``self.params``.

        It is called once, while the head is built. Nothing is downloaded, and all tensors are made without a device, so
        that the head can be built on ``meta``.
        """

    def read(self, answer: Nest, fitted: Fitted) -> Nest:
        """What the network says, as an output of the head's kind in pixels of the network's input.

        By default it is what the network says. A network that says more overrides it, for instance
        ``return answer["out"]``.

        Args:
            answer: what the network returned.
            fitted: the pictures that it was given.
        """
        del fitted
        return answer

    def restore(self, output: Nest, fitted: Fitted) -> Nest:
        """An output in pixels of the picture.

        Of tensors those with four dimensions are maps (B, C, h, w), of kind ``depth`` also (B, h, w). Of things, a list
        of dicts, ``boxes`` (N, 4), ``keypoints`` (N, K, 3) and ``masks`` (N, 1, h, w) or (N, h, w) are moved.
        """
        if isinstance(output, Tensor):
            if output.dim() == 3 and self.kind == "depth":
                output = output.unsqueeze(1)
            return fitted.maps(output) if output.dim() == 4 else output
        if isinstance(output, list) and all(isinstance(things, Mapping) for things in output):
            return [_moved(things, fitted) for things in output]
        return output

    def forward(self, features: Features) -> Nest:
        """The output of the kind for a batch; of maps (B, C, H, W) with H, W = ``features.size``.

        Raises:
            SpecError: the network's answer is not what the kind or the labels ask for.
        """
        fitted = self.wants.fit_in(features.cropped("image"))
        answer = self.net(self.wants.normalised(fitted.image))
        return self.restore(self._checked(self.read(answer, fitted)), fitted)

    def loss(self, output: Nest, target: Nest) -> Tensor:
        """The usual loss of the kind, (B,).

        Raises:
            SpecError: there is none that suits every network of the kind.
            InputError: a target has a class that the network does not tell.
        """
        if self.kind not in LOSSES:
            raise SpecError(
                f"head {self.name!r} has no loss, and no loss suits every network of kind {self.kind!r}; override "
                "loss, or losses where the network makes its own"
            )
        return LOSSES[self.kind](output, target, self.ignore_index)

    def adopt(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Weights under the network's own names become the head's."""
        own = self.net.state_dict()
        if own and any(key in tensors for key in own) and not any(f"net.{key}" in tensors for key in own):
            return {f"net.{key}": tensor for key, tensor in tensors.items()}
        return tensors

    def _checked(self, output: Nest) -> Nest:
        """The output, as far as numbers of the wrong shape could pass for right ones."""
        dimensions = _CHANNELS.get(self.kind)
        if dimensions is None:
            return output
        said = f"the network of head {self.name!r}, of kind {self.kind!r}, gives"
        if not isinstance(output, Tensor):
            keys = f" with {', '.join(map(repr, output))}" if isinstance(output, Mapping) else ""
            raise SpecError(f"{said} {shown(output)}{keys} and not a tensor; override read(), which takes it out")
        if output.dim() != dimensions and not (self.kind == "depth" and output.dim() == 3):
            raise SpecError(f"{said} {shown(output)}; it should have {dimensions} dimensions")
        if self.kind != "depth" and self.labels and output.shape[1] != len(self.labels):
            raise SpecError(f"{said} {output.shape[1]} values, and the head has {len(self.labels)} labels")
        return output


def _moved(things: Mapping[str, Tensor], fitted: Fitted) -> dict[str, Tensor]:
    """Things of one picture, in its pixels."""
    moved = dict(things)
    if "boxes" in moved:
        moved["boxes"] = fitted.boxes(moved["boxes"])
    if "keypoints" in moved:
        moved["keypoints"] = fitted.points(moved["keypoints"])
    if "masks" in moved:
        masks = moved["masks"]
        flat = masks.float() if masks.dim() == 4 else masks.float().unsqueeze(1)
        moved["masks"] = fitted.maps(flat) if len(flat) else flat.new_zeros(0, 1, *fitted.size)
    return moved
