"""Head `Pyramid`: an answer for every pixel, from all stages of a backbone (Kirillov et al., CVPR 2019)."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, cast

from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self

from icm_core.errors import SpecError
from icm_core.interfaces import ComponentParams
from icm_core.nests import Nest
from icm_core.types import Colour, FeatureLayout
from icm_core.wrap import Fitted, Input, ModuleHead
from icm_tasks.inputs import check_class_names
from icm_tasks.networks import Normalisation, configuration, create
from icm_tasks.palettes import default_labels, known_colours
from icm_tasks.pretrained import load_pretrained

_GROUPS = 8


class PyramidParams(ComponentParams):
    """Parameters of `Pyramid`."""

    model: str = Field("tf_efficientnet_lite0", min_length=1, description="name of a timm network, the backbone")
    width: int = Field(64, ge=16, le=512, multiple_of=_GROUPS, description="channels of the pyramid")
    kind: Literal["segmentation", "depth"] = Field("segmentation", description="what the answers are")
    classes: int = Field(19, ge=2, le=255, description="segmentation: number K of classes")
    class_names: tuple[str, ...] = Field((), description="segmentation: names of the classes in order")
    ignore_index: int = Field(255, ge=-1, le=255, description="segmentation: target value that does not count")
    nearest: float = Field(0.5, gt=0, le=1e6, description="depth: the smallest distance that it can say")
    farthest: float = Field(10.0, gt=0, le=1e6, description="depth: the largest distance that it can say")
    unit: str = Field("m", max_length=16, description="depth: unit of the distances")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_class_names(self.class_names, self.classes)
        if self.nearest >= self.farthest:
            raise ValueError(f"nearest is {self.nearest:g} and farthest {self.farthest:g}; it should be smaller")
        return self


class Pyramid(ModuleHead):
    """Segmentation or depth: every stage of a backbone is brought to stride 4, and their sum says what each pixel is.

    Outputs are logits (B, K, H, W), or distances (B, 1, H, W) between ``nearest`` and ``farthest``: their logarithm is
    what the network says, since errors of distances grow with them.

    Args:
        params: see `PyramidParams`.
        features: must hold ``image``: 3 channels at full size, values in [0, 1].

    Raises:
        SpecError: timm has no such network, it has no stages, or ``image`` is missing.
    """

    name: ClassVar[str] = "tasks.pyramid"

    class Params(PyramidParams):
        """See `PyramidParams`."""

    params: PyramidParams
    net: _Network

    def __init__(self, params: PyramidParams, features: FeatureLayout) -> None:
        super().__init__(params, features)
        self.ignore_index = params.ignore_index
        statistics = Normalisation.of(params.model, configuration(self.net.backbone))
        mean, std = (cast("tuple[float, float, float]", values) for values in statistics)
        self.wants = Input(mean=mean, std=std, multiple=self.net.strides[-1], fill=0.5)

    @property
    def kind(self) -> str:  # type: ignore[override]
        """What the parameters say."""
        return self.params.kind

    @classmethod
    def kind_of(cls, params: ComponentParams) -> str:
        """What the parameters say."""
        assert isinstance(params, PyramidParams)
        return params.kind

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes."""
        if self.params.kind == "depth":
            return ()
        return self.params.class_names or default_labels(self.params.classes)

    @property
    def colours(self) -> tuple[Colour, ...]:
        """Colours of the classes, where their names are known."""
        return () if self.params.kind == "depth" else known_colours(self.labels)

    @property
    def unit(self) -> str:
        """Unit of distances."""
        return self.params.unit if self.params.kind == "depth" else ""

    def network(self) -> nn.Module:
        """Backbone and pyramid."""
        p = self.params
        return _Network(p.model, p.width, 1 if p.kind == "depth" else p.classes)

    def read(self, answer: Nest, fitted: Fitted) -> Nest:
        """Maps of the input at stride 4; of depth distances."""
        del fitted
        maps: Tensor = answer.float()
        if self.params.kind == "depth":
            near, far = math.log(self.params.nearest), math.log(self.params.farthest)
            maps = (near + (far - near) * maps.sigmoid()).exp()
        return maps

    def start_from(self, source: str) -> None:
        """Fill the backbone from ``"imagenet"``; see `load_pretrained`."""
        load_pretrained(self.net.backbone, self.params.model, source)


class _Network(nn.Module):
    """Backbone, pyramid, and a map at stride 4."""

    def __init__(self, model: str, width: int, channels: int) -> None:
        super().__init__()
        self.backbone = create(model, features_only=True)
        info = cast(Any, self.backbone.feature_info)
        stages = [(index, stride) for index, stride in enumerate(info.reduction()) if stride >= 4]
        self.strides = tuple(stride for _, stride in stages)
        if len(self.strides) < 2 or self.strides[0] != 4:
            raise SpecError(
                f"timm network {model!r} has the strides {info.reduction()}; a pyramid needs 4 and further ones"
            )
        self._stages = [index for index, _ in stages]
        self.lateral = nn.ModuleList(nn.Conv2d(info.channels()[index], width, 1) for index in self._stages)
        self.smooth = nn.ModuleList(_block(width) for _ in self._stages)
        self.answer = nn.Conv2d(width, channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        found: list[Tensor] = self.backbone(image)
        levels = [lateral(found[index]) for lateral, index in zip(self.lateral, self._stages, strict=True)]
        size = levels[0].shape[-2:]
        above: Tensor | None = None
        total: Tensor | None = None
        for level, smooth in zip(reversed(levels), reversed(self.smooth), strict=True):
            above = level if above is None else level + _resized(above, level.shape[-2:])
            part = _resized(smooth(above), size)
            total = part if total is None else total + part
        answer: Tensor = self.answer(total)
        return answer


def _block(width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(_GROUPS, width), nn.ReLU())


def _resized(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
