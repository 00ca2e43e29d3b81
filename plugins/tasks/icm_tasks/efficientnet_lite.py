"""EfficientNet-Lite (Tan and Le, ICML 2019, without attention and with ReLU6), under timm's names.

The networks and the names of their weights are timm's, of ``tf_efficientnet_lite0`` to ``4``, and what they compute is
the same to the last bit. They are here because importing timm takes longer than all else that a small pipeline needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icm_tasks.depthwise import depthwise


class _Size(NamedTuple):
    """How wide and deep a network is, and the side of the pictures that it was trained on."""

    width: float
    depth: float
    side: int


_SIZES = {
    "tf_efficientnet_lite0": _Size(1.0, 1.0, 224),
    "tf_efficientnet_lite1": _Size(1.0, 1.1, 240),
    "tf_efficientnet_lite2": _Size(1.1, 1.2, 260),
    "tf_efficientnet_lite3": _Size(1.2, 1.4, 300),
    "tf_efficientnet_lite4": _Size(1.4, 1.8, 380),
}

_STEM, _HEAD = 32, 1280
# Blocks, kernel, stride, expansion and channels of each stage.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_ENDS = (1, 2, 3, 5, 7)
"""Stages whose maps are the last at their stride, 2 to 32."""

_CLASSIFIER = {"num_classes"}
_GETTER = {"features_only", "feature_cls", "output_stride", "out_indices"}


def create(name: str, options: Mapping[str, Any]) -> nn.Module | None:
    """A network with random weights as ``timm.create_model`` makes it.

    Args:
        name: timm's name, without a weights tag.
        options: as for ``timm.create_model``.

    Returns:
        None if it is another network, or has options that are not here: timm has it then.
    """
    size = _SIZES.get(name)
    if size is None:
        return None
    if options.keys() <= _CLASSIFIER and options.get("num_classes", 1) > 0:
        return EfficientNetLite(size, options.get("num_classes", 1000))
    indices, stride = options.get("out_indices"), options.get("output_stride", 32)
    if (
        options.keys() <= _GETTER
        and options.get("features_only") is True
        and options.get("feature_cls") == "getter"
        and isinstance(indices, Sequence)
        and all(isinstance(index, int) and -len(_ENDS) <= index < len(_ENDS) for index in indices)
        and indices
        and stride in (8, 16, 32)
    ):
        return Features(size, stride, [index % len(_ENDS) for index in indices])
    return None


class _Conv(nn.Conv2d):
    """TensorFlow's padding: as much as gives ceil(side / stride), the odd place to the right and below."""

    def __init__(self, enters: int, leaves: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1):
        padding = 0 if stride > 1 else dilation * (kernel - 1) // 2
        super().__init__(enters, leaves, kernel, stride, padding, dilation, groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] > 1:
            lacking = [_lacking(side, self) for side in x.shape[:-3:-1]]
            x = F.pad(x, [part for both in lacking for part in (both // 2, both - both // 2)])
            if self.groups == self.in_channels:
                return depthwise(x, self.weight, None, self.stride)  # type: ignore[arg-type]
        return super().forward(x)


def _lacking(side: int, conv: nn.Conv2d) -> int:
    """Of kernels that reach as far as the stride or farther, as all here do: nothing is left over."""
    stride = conv.stride[0]
    reach = (math.ceil(side / stride) - 1) * stride + (conv.kernel_size[0] - 1) * conv.dilation[0] + 1
    return reach - side


class _Norm(nn.BatchNorm2d):
    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-3)


class _Separable(nn.Module):
    """The first stage's only block, whose channels change with every width: nothing skips it."""

    def __init__(self, enters: int, leaves: int, kernel: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv_dw = _Conv(enters, enters, kernel, stride, dilation, enters)
        self.bn1 = _Norm(enters)
        self.conv_pw = _Conv(enters, leaves, 1)
        self.bn2 = _Norm(leaves)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.bn2(self.conv_pw(F.relu6(self.bn1(self.conv_dw(x)), inplace=True)))
        return found


class _Inverted(nn.Module):
    def __init__(self, enters: int, leaves: int, kernel: int, stride: int, dilation: int, expansion: int) -> None:
        super().__init__()
        inner = enters * expansion
        self.conv_pw = _Conv(enters, inner, 1)
        self.bn1 = _Norm(inner)
        self.conv_dw = _Conv(inner, inner, kernel, stride, dilation, inner)
        self.bn2 = _Norm(inner)
        self.conv_pwl = _Conv(inner, leaves, 1)
        self.bn3 = _Norm(leaves)
        self.skips = stride == 1 and enters == leaves

    def forward(self, x: Tensor) -> Tensor:
        found = F.relu6(self.bn1(self.conv_pw(x)), inplace=True)
        found = F.relu6(self.bn2(self.conv_dw(found)), inplace=True)
        leaves: Tensor = self.bn3(self.conv_pwl(found))
        return leaves + x if self.skips else leaves


class _Trunk(nn.Module):
    """Stem and stages, up to one of them."""

    def __init__(self, size: _Size, stages: int, output_stride: int) -> None:
        super().__init__()
        self.conv_stem = _Conv(3, _STEM, 3, 2)
        self.bn1 = _Norm(_STEM)
        self.reduction: list[int] = []
        blocks, enters, reached, dilation = [], _STEM, 2, 1
        for number, (count, kernel, stride, expansion, channels) in enumerate(_STAGES[:stages]):
            leaves = _channels(channels, size.width)
            fixed = number in (0, len(_STAGES) - 1)
            stage: list[nn.Module] = []
            for block in range(count if fixed else math.ceil(count * size.depth)):
                step, after = (stride if block == 0 else 1), dilation
                if step > 1 and reached * step > output_stride:  # the block itself is not dilated yet
                    step, after = 1, dilation * step
                reached *= step
                made = (enters, leaves, kernel, step, dilation)
                stage.append(_Separable(*made) if expansion == 1 else _Inverted(*made, expansion))
                enters, dilation = leaves, after
            blocks.append(nn.Sequential(*stage))
            self.reduction.append(reached)
        self.blocks = nn.Sequential(*blocks)
        self.channels = enters

    def stem(self, x: Tensor) -> Tensor:
        """The map at stride 2."""
        found: Tensor = F.relu6(self.bn1(self.conv_stem(x)), inplace=True)
        return found


class EfficientNetLite(_Trunk):
    """The classifier: pictures (B, 3, H, W) -> logits (B, K).

    Args:
        size: how large it is.
        classes: number K of classes.
    """

    def __init__(self, size: _Size, classes: int) -> None:
        super().__init__(size, len(_STAGES), 32)
        self.conv_head = _Conv(self.channels, _HEAD, 1)
        self.bn2 = _Norm(_HEAD)
        self.classifier = nn.Linear(_HEAD, classes)
        self.pretrained_cfg = _configuration(size)
        _start(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = F.relu6(self.bn2(self.conv_head(self.blocks(self.stem(x)))), inplace=True)
        logits: Tensor = self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


class _Info:
    """What timm's networks tell of their maps."""

    def __init__(self, reduction: list[int], channels: list[int]) -> None:
        self._reduction, self._channels = reduction, channels

    def reduction(self) -> list[int]:
        """Strides."""
        return self._reduction

    def channels(self) -> list[int]:
        """Channels."""
        return self._channels


class Features(nn.Module):
    """Maps of some stages: pictures (B, 3, H, W) -> a list of maps. Stages behind the last of them are not built.

    Args:
        size: how large the network is.
        output_stride: stages that would have a larger stride are dilated.
        indices: which maps, from 0 at stride 2 to 4.
    """

    def __init__(self, size: _Size, output_stride: int, indices: Sequence[int]) -> None:
        super().__init__()
        self._ends = {_ENDS[index] for index in indices}
        self.model = _Trunk(size, max(self._ends), output_stride)
        self.feature_info = _Info(
            [self.model.reduction[end - 1] for end in sorted(self._ends)],
            [_channels(_STAGES[end - 1][-1], size.width) for end in sorted(self._ends)],
        )
        self.pretrained_cfg = _configuration(size)
        _start(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The maps, the finest first."""
        x, found = self.model.stem(x), []
        for number, stage in enumerate(self.model.blocks, 1):
            x = stage(x)
            if number in self._ends:
                found.append(x)
        return found


def _configuration(size: _Size) -> dict[str, Any]:
    half = (0.5, 0.5, 0.5)
    return {"mean": half, "std": half, "input_size": (3, size.side, size.side), "fixed_input_size": False}


def _channels(channels: int, width: float) -> int:
    """Scaled, and rounded to a multiple of 8 that is not more than a tenth smaller."""
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * scaled else rounded + 8


@torch.no_grad()
def _start(network: nn.Module) -> None:
    """Weights as TensorFlow's implementation draws them."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            positions = module.kernel_size[0] * module.kernel_size[1]
            nn.init.normal_(module.weight, 0, math.sqrt(2 * module.groups / (positions * module.out_channels)))
        elif isinstance(module, nn.Linear):
            reach = 1 / math.sqrt(module.out_features)
            nn.init.uniform_(module.weight, -reach, reach)
            nn.init.zeros_(module.bias)
