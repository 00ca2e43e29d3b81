"""Head `TorchvisionDetector`: any of torchvision's detectors by name, for boxes, masks or keypoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal, cast

from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn
from typing_extensions import Self

from icm_core.errors import SpecError, WeightsError
from icm_core.interfaces import ComponentParams
from icm_core.pipeline.weights import read_tensors
from icm_core.wrap import DetectorHead
from icm_registry import unknown
from icm_tasks.inputs import check_class_names

_KINDS = {"maskrcnn": "instances", "keypointrcnn": "keypoints"}
_SUFFIX = ".safetensors"


class TorchvisionDetectorParams(ComponentParams):
    """Parameters of `TorchvisionDetector`; by default a network as torchvision has trained it on COCO."""

    model: str = Field(
        "fasterrcnn_resnet50_fpn_v2",
        min_length=1,
        description="torchvision's name of the network: fasterrcnn_*, retinanet_*, fcos_*, ssd* for boxes, maskrcnn_* "
        "for masks, keypointrcnn_* for keypoints",
    )
    classes: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="number of classes, without the background; none: COCO's 90 numbers, of which ten are not used, of "
        "keypoints 1",
    )
    class_names: tuple[str, ...] = Field((), description="names of the classes in order; empty: COCO's, if as many")
    keypoints: tuple[str, ...] = Field(
        (), max_length=1000, description="names of the points of keypointrcnn_*, in order; empty: COCO's 17"
    )
    min_size: int | None = Field(
        None, ge=16, le=4096, description="pixels that a picture's shorter side is resized to; none: torchvision's"
    )
    max_size: int | None = Field(
        None, ge=16, le=8192, description="pixels that the longer side has at most; none: torchvision's"
    )
    score_threshold: float | None = Field(
        None, ge=0, le=1, description="scores below it are left out; none: torchvision's"
    )
    nms_threshold: float | None = Field(
        None, gt=0, le=1, description="boxes of a class that overlap by this IoU count as one; none: torchvision's"
    )
    most: int | None = Field(None, ge=1, le=10_000, description="most things in a picture; none: torchvision's")
    norm: Literal["batch", "frozen"] = Field(
        "batch",
        description="batch: normalisation layers as for training from scratch; frozen: their statistics stay, as in "
        "the networks that torchvision has trained (all but *_v2 and ssd*)",
    )
    norm_eps: float | None = Field(
        None,
        ge=0,
        le=1,
        description="what frozen normalisation adds to variances; none: as torchvision builds it; 0 for its weights "
        "COCO_V1 of resnet50 networks but fcos",
    )

    @field_validator("model")
    @classmethod
    def _known(cls, name: str) -> str:
        known = _models().list_models(module=_models().detection)
        if name not in known:
            raise ValueError(unknown("detector of torchvision", name, known))
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_class_names(self.class_names, self.class_count)
        if self.keypoints and self.kind != "keypoints":
            raise ValueError(f"keypoints are named for {self.model}, which finds none; keypointrcnn_resnet50_fpn does")
        if self.fixed and (self.min_size or self.max_size):
            raise ValueError(f"min_size and max_size are not for {self.model}, whose input has a fixed size")
        if self.norm_eps is not None and self.norm != "frozen":
            raise ValueError(f"norm_eps is {self.norm_eps}, and norm is {self.norm!r}; it is for 'frozen'")
        return self

    @property
    def kind(self) -> str:
        """``detection``, ``instances`` or ``keypoints``."""
        return _KINDS.get(self.model.split("_")[0], "detection")

    @property
    def fixed(self) -> bool:
        """Whether the input has a fixed size."""
        return self.model.startswith("ssd")

    @property
    def class_count(self) -> int:
        """Number of classes without the background."""
        return self.classes or len(self.class_names) or (1 if self.kind == "keypoints" else 90)


class TorchvisionDetector(DetectorHead):
    """Things in pictures, by one of torchvision's detection networks.

    Kind ``detection``, of maskrcnn_* ``instances``, of keypointrcnn_* ``keypoints``, whose labels are names of points.
    The network resizes and normalises pictures itself.

    Nothing is downloaded. Weights are a state dict of the network that its user keeps as a safetensors file:
    ``icm import SPEC --head TASK=FILE``, or in a recipe ``"pretrained": "FILE.safetensors"`` with the head as module,
    which keeps layers for another number of classes as they are.

    Args:
        params: see `TorchvisionDetectorParams`.
        features: must hold ``image``: 3 channels at full size, values in [0, 1].

    Raises:
        SpecError: ``image`` is missing.
    """

    name: ClassVar[str] = "tasks.torchvision_detector"

    class Params(TorchvisionDetectorParams):
        """See `TorchvisionDetectorParams`."""

    params: TorchvisionDetectorParams

    @classmethod
    def kind_of(cls, params: ComponentParams) -> str:
        """By the network's name."""
        return cast(TorchvisionDetectorParams, params).kind

    @property
    def kind(self) -> str:  # type: ignore[override]
        """``detection``, ``instances`` or ``keypoints``."""
        return self.params.kind

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes; of keypoints, of the points."""
        known = _trained_on(self.params.model)
        if self.kind == "keypoints":
            return self.params.keypoints or tuple(known["keypoint_names"])
        classes = tuple(known["categories"][DetectorHead.background :])
        if self.params.class_names or len(classes) == self.params.class_count:
            return self.params.class_names or classes
        return tuple(f"class {index}" for index in range(self.params.class_count))

    def network(self) -> nn.Module:
        """The network with random weights."""
        params = self.params
        options: dict[str, Any] = {"num_keypoints": len(self.labels)} if self.kind == "keypoints" else {}
        net = _models().get_model_builder(params.model)(
            weights=None, weights_backbone=None, num_classes=params.class_count + DetectorHead.background, **options
        )
        last = net.roi_heads if hasattr(net, "roi_heads") else net
        for name, value in (
            ("score_thresh", params.score_threshold),
            ("nms_thresh", params.nms_threshold),
            ("detections_per_img", params.most),
        ):
            if value is not None:
                setattr(last, name, value)
        if params.min_size is not None:
            net.transform.min_size = (params.min_size,)
        if params.max_size is not None:
            net.transform.max_size = params.max_size
        if params.norm == "frozen":
            _freeze(net, params.norm_eps)
        return cast(nn.Module, net)

    def start_from(self, source: str) -> None:
        """Fill the network from a safetensors file; layers for another number of classes or points stay as they are.

        Args:
            source: path of the file, from the working directory.

        Raises:
            SpecError: the source is no safetensors file.
            WeightsError: it is missing, damaged, or of another network.
        """
        if not source.endswith(_SUFFIX):
            raise SpecError(
                f"'{self.name}' knows no pretrained weights {source!r}; it starts from a {_SUFFIX} file with the state "
                f"dict of torchvision's {self.params.model}"
            )
        tensors, own = self.adopt(read_tensors(Path(source))), self.state_dict()
        missing = [key for key in own if key not in tensors]
        other = [key for key in own if key in tensors and own[key].shape != tensors[key].shape]
        if missing:
            raise WeightsError(f"{source} lacks {missing[0]!r} of {self.params.model}")
        if strange := [key for key in other if "predictor" not in key and "classification_head" not in key]:
            raise WeightsError(
                f"{source}: {strange[0]!r} has the shape {tuple(tensors[strange[0]].shape)}, and {self.params.model} "
                f"needs {tuple(own[strange[0]].shape)}"
            )
        self.load_state_dict({key: own[key] if key in other else tensors[key] for key in own})

    def adopt(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Weights of torchvision's network under its own names.

        Raises:
            WeightsError: they were trained with the other kind of normalisation.
        """
        found = super().adopt(tensors)
        counts = [key for key in self.state_dict() if key.endswith("num_batches_tracked")]
        if counts and counts[0] not in found and counts[0].replace("num_batches_tracked", "running_var") in found:
            raise WeightsError(
                f"the weights are of a {self.params.model} with frozen normalisation; set the head's parameter norm to "
                "'frozen' (and norm_eps to 0 for torchvision's COCO_V1)"
            )
        return found


def _trained_on(model: str) -> Mapping[str, Any]:
    """What torchvision says of its weights for a network: names of classes and points."""
    return cast(Mapping[str, Any], next(iter(_models().get_model_weights(model))).meta)


def _freeze(module: nn.Module, eps: float | None) -> None:
    """Normalisation layers of a network replaced by ones whose statistics and weights stay."""
    from torchvision.ops.misc import FrozenBatchNorm2d  # slow to import

    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm2d(child.num_features, child.eps if eps is None else eps))
        else:
            _freeze(child, eps)


def _models() -> ModuleType:
    from torchvision import models  # slow to import

    found: ModuleType = models
    return found
