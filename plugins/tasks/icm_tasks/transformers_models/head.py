"""Head `Transformers`: a network of Hugging Face's transformers from a folder, with no Python."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from typing_extensions import Self

from icm_core.errors import SpecError
from icm_core.interfaces import ComponentParams, SpecPath, TaskKind
from icm_core.kinds import Classification, Segmentation
from icm_core.nests import Nest
from icm_core.pipeline.hub import cached
from icm_core.types import FeatureLayout, Features, Prediction
from icm_core.wrap import Fitted, Input, ModuleHead
from icm_tasks.frozen import freeze, with_a_place
from icm_tasks.inputs import Side, Value
from icm_tasks.kinds import Depth
from icm_tasks.onnx_files import candidates
from icm_tasks.onnx_files.layouts import Candidates, Queries, read
from icm_tasks.transformers_models.pictures import wanted
from icm_tasks.transformers_models.reading import build, read_config
from icm_tasks.transformers_models.things import as_labels, kept

_COMPARED: dict[str, type[TaskKind]] = {kind.name: kind for kind in (Classification, Segmentation, Depth)}
_DISTANCES = {"glpn", "zoedepth", "depth_pro"}
"""Depth networks whose answers are distances."""

_LEAST, _FARTHEST = 1e-6, 1e6


class TransformersParams(ComponentParams):
    """Which folder, and what its network answers."""

    kind: Literal["classification", "segmentation", "detection", "depth"] = Field(description="what its answers are")
    folder: SpecPath | None = Field(
        None,
        description="folder with config.json, preprocessor_config.json and model.safetensors, relative to the spec's",
    )
    hub: str | None = Field(
        None,
        pattern=r"^hf://[\w.-]+/[\w.-]+(@[\w./-]+)?$",
        description="in place of a folder a repository that was fetched from the hub, such as hf://owner/name@revision",
    )
    trained: bool = Field(
        False, description="whether its weights belong to the pipeline, to be trained; else they stay the folder's"
    )
    class_names: tuple[str, ...] = Field((), description="names of the classes in order; empty: those of config.json")
    ignore: int = Field(255, ge=-1, le=255, description="segmentation: target value that the loss does not count")
    size: Side | tuple[Side, Side] | None = Field(
        None, description="height and width of the input, or the picture's shorter side; none: the folder's"
    )
    mean: tuple[Value, Value, Value] | None = Field(
        None, description="taken off each channel of pictures in [0, 1]; none: the folder's"
    )
    std: tuple[Value, Value, Value] | None = Field(
        None, description="what each channel is divided by then; none: the folder's"
    )
    least: float = Field(0.01, ge=0, lt=1, description="detection: boxes of a lower score are left out")
    most: int = Field(100, ge=1, le=10_000, description="detection: boxes in a picture")
    depth: Literal["distance", "inverse"] | None = Field(
        None,
        description="depth: whether the network says distances, or one divided by them; none: as its config says",
    )
    scale: float = Field(
        1.0, gt=0, le=1e6, description="depth: what its answers are multiplied by, before shift is added"
    )
    shift: float = Field(0.0, ge=-1e6, le=1e6, description="depth: what is added then")
    unit: str = Field("", max_length=16, description="depth: unit of distances, such as m")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.folder is None) == (self.hub is None):
            raise ValueError("give a folder beside the spec or a repository of the hub, one of the two")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std are given together")
        sides = self.size if isinstance(self.size, tuple) else (self.size or 16,)
        if not all(16 <= side <= 4096 for side in sides):
            raise ValueError(f"size is {self.size}; sides are 16 to 4096 pixels")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"std is {self.std}; its values are above 0")
        return self

    @property
    def place(self) -> Path:
        """The folder."""
        return self.folder.path if self.folder is not None else cached(self.hub or "")


class Transformers(ModuleHead):
    """Any of transformers' networks for classes of pictures or pixels, boxes or depth, from a folder beside the spec.

    The folder is data: config.json is looked at before transformers builds one of its own networks from it, and weights
    are safetensors. No code and no pickle of the folder is read, and nothing is fetched. Unless ``trained`` is set, the
    weights stay those of the folder and are in no state: the pipeline's own are the adapter's alone. With ``trained``
    they are the pipeline's: ``icm import SPEC --head TASK=start:file`` takes the folder's.

    Detectors are DETR and its descendants; their output in training is a dict with ``boxes`` (B, Q, 4) in pixels of the
    picture and ``logits`` (B, Q, K), and their loss transformers' own. Depth that is known up to scale and shift, as of
    Depth Anything or MiDaS's DPT, needs ``depth``, ``scale`` and ``shift``: answers of this kind are distances.

    Args:
        params: see `TransformersParams`.
        features: must hold ``image``: 3 channels at full size, values in [0, 1].

    Raises:
        SpecError: the package is missing, or the folder's files say what cannot be.
        WeightsError: the weights are missing, damaged, or of another network.
    """

    name: ClassVar[str] = "tasks.transformers"

    class Params(TransformersParams):
        """See `TransformersParams`."""

    params: TransformersParams

    def __init__(self, params: TransformersParams, features: FeatureLayout) -> None:
        self._folder = params.place
        self._config = read_config(self._folder, params.kind)
        super().__init__(params, features)
        self.wants = _input(params, self._folder)
        self.ignore_index = params.ignore
        if params.class_names and len(params.class_names) != len(names := _labels(self._config)):
            raise SpecError(f"class_names has {len(params.class_names)} names for {len(names)} classes")
        self._single = False
        self._inverse = params.kind == "depth" and _says_inverse(params, self._config)

    @classmethod
    def kind_of(cls, params: ComponentParams) -> str:
        """What the parameters say."""
        return cast(TransformersParams, params).kind

    @property
    def kind(self) -> str:  # type: ignore[override]
        """What the parameters say."""
        return self.params.kind

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes."""
        return () if self.kind == "depth" else self.params.class_names or _labels(self._config)

    @property
    def unit(self) -> str:
        """Unit of distances."""
        return self.params.unit if self.kind == "depth" else ""

    def network(self) -> nn.Module:
        """The network in the folder."""
        net = build(self._folder, self._config, self.kind, weights=not self.params.trained)
        if not self.params.trained:
            freeze(net)
            with_a_place(net)
        return net

    def train(self, mode: bool = True) -> Self:
        """As any module, but for a network whose weights stay the folder's, whose statistics stay as well."""
        super().train(mode)
        if not self.params.trained:
            self.net.eval()
        return self

    def start_from(self, source: str) -> None:
        """``"file"``: the folder's weights."""
        if source != "file":
            raise SpecError(f"'{self.name}' knows no pretrained weights {source!r}; known: file, those of its folder")
        if self.params.trained:
            self.net.load_state_dict(build(self._folder, self._config, self.kind, weights=True).state_dict())

    # --- passes ------------------------------------------------------------------------------------------------------

    def forward(self, features: Features) -> Nest:
        """The output for a batch; see `ModuleHead.forward`, and of detectors the class.

        Raises:
            SpecError: the network does not take pictures of this size.
        """
        try:
            return super().forward(features)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError) as error:
            size = self.wants.fit_in(features.cropped("image")[:1]).image.shape[-2:]
            reason = " ".join(str(error).split())[:200]
            raise SpecError(
                f"{self._folder}: the network does not take {size[1]}x{size[0]} pixels: {reason}"
            ) from error

    def read(self, answer: Nest, fitted: Fitted) -> Nest:
        """Logits or distances; of detectors boxes in pixels of the input, and log-odds of each class."""
        if self.kind == "depth":
            return self._distances(answer.predicted_depth)
        if self.kind != "detection":
            return answer.logits
        layout = Queries(form="queries", scores="softmax" if self._shares_softmax(answer.logits) else "sigmoid")
        found = read(layout, [answer.logits, answer.pred_boxes], (fitted.image.shape[-2], fitted.image.shape[-1]))
        return {"boxes": found.boxes, "logits": found.logits}

    def restore(self, output: Nest, fitted: Fitted) -> Nest:
        """In pixels of the picture; boxes of detectors may reach beyond it in training."""
        if self.kind == "detection":
            return {**output, "boxes": fitted.boxes(output["boxes"], cut=False)}
        return super().restore(output, fitted)

    def predict(self, features: Features) -> Prediction:
        """The answer; of detectors the boxes of the highest scores."""
        output = self(features)
        if self.kind == "detection":
            p, single = self.params, self._single
            output = [
                kept(boxes, logits, features.size, p.least, p.most, single)
                for boxes, logits in zip(output["boxes"], output["logits"], strict=True)
            ]
        return Prediction(self.kind, output, self.labels, self.colours, self.unit)

    def losses(self, features: Features, target: Nest) -> Tensor:
        """The usual loss of the kind, (B,); of detectors the network's own for each picture, without crowds.

        Raises:
            SpecError: the network's own loss needs a package that is not installed.
        """
        if self.kind != "detection":
            return super().losses(features, target)
        fitted = self.wants.fit_in(features.cropped("image"))
        image, found = self.wants.normalised(fitted.image), []
        for row, things in enumerate(target):  # the network's loss is a mean over pictures
            try:
                answer = self.net(image[row : row + 1], labels=[as_labels(things, fitted)])
            except ImportError as error:
                raise SpecError(
                    "losses of transformers' detectors need the package scipy; install it with: "
                    "pip install 'icm-framework[train]'"
                ) from error
            found.append(answer.loss.float())
        return torch.stack(found)

    def loss(self, output: Nest, target: Nest) -> Tensor:
        """The usual loss of the kind, (B,); detectors make theirs with the picture."""
        if self.kind == "detection":
            raise SpecError(f"head {self.name!r} makes the loss of detectors from features and targets, by losses()")
        return super().loss(output, target)

    def divergence(self, output: Nest, reference: Nest) -> Tensor:
        """How far an output is from that of the clean picture, (B,): the kind says it; of detectors query by query, see
        `icm_tasks.onnx_files.candidates.divergence`."""
        if self.kind == "detection":
            return candidates.divergence(Candidates(**output), Candidates(**reference))
        return _COMPARED[self.kind]().divergence(output, reference)

    def _distances(self, values: Tensor) -> Tensor:
        scaled = self.params.scale * values.float() + self.params.shift
        if self._inverse:
            scaled = 1 / scaled.clamp_min(1 / _FARTHEST)
        return scaled.clamp(_LEAST, _FARTHEST)

    def _shares_softmax(self, logits: Tensor) -> bool:
        """Whether a detector has a last class for nothing, as DETR; else each class has a sigmoid."""
        count = len(_labels(self._config))
        if logits.shape[-1] not in (count, count + 1):
            raise SpecError(
                f"{self._folder}: the network tells {logits.shape[-1]} classes, and config.json names {count}"
            )
        self._single = logits.shape[-1] == count + 1
        return self._single


def _input(params: TransformersParams, folder: Path) -> Input:
    """What the parameters and the folder say of pictures."""
    if params.mean is not None and params.std is not None and params.size is not None:
        return Input(size=params.size, mean=params.mean, std=params.std)
    found = wanted(folder, params.kind)
    if params.mean is not None and params.std is not None:
        found = replace(found, mean=params.mean, std=params.std, levels=1.0)
    if params.size is not None:
        found = replace(found, size=params.size, longest=None if isinstance(params.size, tuple) else found.longest)
    return found


def _labels(config: Any) -> tuple[str, ...]:
    """Names of the classes in a config, in order."""
    names = dict(config.id2label)
    return tuple(str(names.get(index, f"class {index}")) for index in range(len(names)))


def _says_inverse(params: TransformersParams, config: Any) -> bool:
    """Whether a depth network says one divided by distances."""
    if params.depth is not None:
        return params.depth == "inverse"
    if config.model_type in _DISTANCES or getattr(config, "depth_estimation_type", None) == "metric":
        return False
    raise SpecError(
        f"config.json of {config.model_type} does not say that its depths are distances; set the head's parameter "
        "depth to 'distance', or to 'inverse' with scale and shift"
    )
