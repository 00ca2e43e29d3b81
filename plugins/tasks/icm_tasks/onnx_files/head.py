"""Head `Onnx`: a network from an ONNX file, with no Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from typing_extensions import Self

from icm_core.errors import SpecError
from icm_core.interfaces import ComponentParams, SpecPath, TaskKind
from icm_core.kinds import Classification, Regression, Segmentation
from icm_core.nests import Nest
from icm_core.types import FeatureLayout, Features, Prediction
from icm_core.wrap import Fit, Fitted, Input, ModuleHead
from icm_tasks.frozen import freeze
from icm_tasks.inputs import Side, Value
from icm_tasks.kinds import Depth, Detection, Embedding
from icm_tasks.onnx_files import candidates
from icm_tasks.onnx_files.layouts import Candidates, Layout, read
from icm_tasks.onnx_files.reading import chosen, network, signature
from icm_tasks.onnx_files.runtime import Runtime

KINDS: dict[str, type[TaskKind]] = {
    kind.name: kind for kind in (Classification, Segmentation, Regression, Depth, Embedding, Detection)
}
_LEAST = 1e-7
_FARTHEST = 1e6


class OnnxParams(ComponentParams):
    """Which file, what its network takes, and what its outputs mean."""

    file: SpecPath = Field(description="the ONNX file, relative to the spec's folder")
    kind: Literal["classification", "segmentation", "regression", "depth", "embedding", "detection"] = Field(
        description="what its answers are"
    )
    classes: tuple[str, ...] = Field((), max_length=100_000, description="names of classes or values, in order")
    outputs: tuple[str, ...] = Field((), description="names of the outputs that are read, in order; none: all")
    ignore: int = Field(255, ge=-1, le=255, description="segmentation: target value that the loss does not count")
    unit: str = Field("", max_length=16, description="unit of values and distances, such as m")
    # What it takes.
    size: Side | tuple[Side, Side] | None = Field(
        None,
        description="height and width of its input, or the picture's shorter side; none: what the file fixes, else the "
        "picture's own",
    )
    fit: Fit = Field(
        "stretch",
        description="how a picture fills an input of another shape: stretch; corner and letterbox: scaled into the "
        "upper left corner, or the middle, and the rest filled; cover: scaled until nothing is left, and cut",
    )
    fill: float = Field(0.0, ge=0, le=1, description="value of what is filled up; 0 is black and 1 white")
    longest: int | None = Field(None, ge=1, le=8192, description="with a shorter side as size, the most of the longer")
    multiple: int = Field(1, ge=1, le=1024, description="sides of inputs without a fixed size are multiples of it")
    smooth: bool = Field(True, description="low-pass filter where pictures shrink, as Pillow does and OpenCV does not")
    resample: Literal["bilinear", "bicubic"] = Field("bilinear", description="how pictures are resized")
    order: Literal["rgb", "bgr"] = Field("rgb", description="order of colours")
    levels: float = Field(1.0, gt=0, le=65535, description="what white is in its input, before mean and std: 1 or 255")
    mean: tuple[Value, Value, Value] = Field((0.0, 0.0, 0.0), description="taken off each channel, in its order")
    std: tuple[Value, Value, Value] = Field((1.0, 1.0, 1.0), description="each channel is divided by it, in its order")
    # What it gives.
    likelihoods: bool = Field(False, description="classes: outputs are likelihoods, not logits")
    scale: float = Field(1.0, gt=0, le=1e6, description="distances: the output times this is in the unit")
    inverse: bool = Field(False, description="distances: one divided by the output is the distance, as of a disparity")
    layout: Layout | None = Field(None, description="detection: what the outputs mean")
    least: float = Field(0.01, ge=0, lt=1, description="detection: boxes of a lower score are left out")
    overlap: float | None = Field(
        0.65, gt=0, le=1, description="detection: boxes of a class that overlap by a larger IoU are one; none: all stay"
    )
    most: int = Field(100, ge=1, le=10_000, description="detection: boxes in a picture")
    # How it runs.
    trained: bool = Field(
        False, description="whether its weights belong to the pipeline, to be trained; else they stay the file's"
    )
    engine: Literal["torch", "onnxruntime"] = Field(
        "torch", description="onnxruntime runs any network that it knows, on the CPU, and gives no gradients"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.kind == "detection") != (self.layout is not None):
            needed = "a layout, such as {'form': 'grid'}" if self.kind == "detection" else "no layout"
            raise ValueError(f"kind {self.kind!r} takes {needed}")
        if self.trained and self.engine == "onnxruntime":
            raise ValueError("trained weights need engine 'torch'; onnxruntime gives no gradients")
        if self.fit == "cover" and self.kind in ("segmentation", "depth", "detection"):
            raise ValueError(f"fit 'cover' cuts the picture, so that {self.kind} would miss what is at its edges")
        self.input(None)  # which says what is wrong with the rest
        return self

    def input(self, fixed: tuple[int, int] | None) -> Input:
        """What the network wants of pictures.

        Args:
            fixed: height and width that its file fixes.
        """
        size = self.size if self.size is not None else fixed
        names = ("fit", "mean", "std", "levels", "order", "fill", "longest", "multiple", "smooth", "resample")
        return Input(size, **{name: getattr(self, name) for name in names})


class Onnx(ModuleHead):
    """Any network whose input is a picture, from an ONNX file beside the spec.

    The file is data: it is read with bounds, checked, and made a network of PyTorch (by ``onnx2torch``), so that
    gradients reach the adapter. Unless ``trained`` is set, its weights stay those of the file and are in no state: the
    pipeline's own weights are the adapter's alone. Statistics of its normalisations are frozen in any case.

    Outputs, by kind: classification (B, K), segmentation (B, K, h, w), regression (B, K), embedding (B, D), depth
    (B, 1, h, w) or (B, h, w); maps are scaled to the picture. Of detection, see `icm_tasks.onnx_files.layouts`; its
    output here is a dict with ``boxes`` (B, N, 4) in pixels of the picture and ``logits`` (B, N, K).

    Args:
        params: see `OnnxParams`.
        features: must hold ``image``: 3 channels at full size, values in [0, 1].

    Raises:
        SpecError, WeightsError: see `icm_tasks.onnx_files.reading.network`.
    """

    name: ClassVar[str] = "tasks.onnx"

    class Params(OnnxParams):
        """See `OnnxParams`."""

    params: OnnxParams

    def __init__(self, params: OnnxParams, features: FeatureLayout) -> None:
        path = params.file.path
        found = signature(path)
        if params.size is not None and found.size not in (None, params.size):
            raise SpecError(f"size is {params.size}, and {path} takes pictures of {found.size}")
        self._outputs = chosen(path, found.outputs, params.outputs)
        super().__init__(params, features)
        self.ignore_index = params.ignore
        self.wants = params.input(found.size)
        self._batch = found.batch

    def network(self) -> nn.Module:
        """The network in the file, with the file's weights."""
        path, place = self.params.file.path, torch.get_default_device()
        if self.params.engine == "onnxruntime":
            return Runtime(path, signature(path), self._outputs)
        net = network(path, self._outputs)
        if not self.params.trained:
            freeze(net)
        return net.to(place)

    @property
    def kind(self) -> str:  # type: ignore[override]
        """What the parameters say."""
        return self.params.kind

    @classmethod
    def kind_of(cls, params: ComponentParams) -> str:
        """What the parameters say."""
        assert isinstance(params, OnnxParams)
        return params.kind

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of classes or values."""
        return self.params.classes

    @property
    def unit(self) -> str:
        """Unit of values and distances."""
        return self.params.unit

    def train(self, mode: bool = True) -> Self:
        """As any module, but for the network, whose statistics stay what they are."""
        super().train(mode)
        self.net.eval()
        return self

    def start_from(self, source: str) -> None:
        """``"file"``: the file's own weights, with which the network is built."""
        if source != "file":
            raise SpecError(f"'{self.name}' knows no pretrained weights {source!r}; known: file, its own")
        if self.params.trained:
            self.net.load_state_dict(network(self.params.file.path, self._outputs).state_dict())

    # --- passes ------------------------------------------------------------------------------------------------------

    def forward(self, features: Features) -> Nest:
        """The network's answers for a batch; see the class."""
        fitted = self.wants.fit_in(features.cropped("image").float())
        outputs = self._run(self.wants.normalised(fitted.image))
        try:
            answer = self._answer(outputs, fitted)
        except ValueError as error:
            raise SpecError(f"{self.params.file.path}: for kind {self.kind!r}, {error}") from error
        if self.params.layout is not None:
            return {**answer, "boxes": fitted.boxes(answer["boxes"], cut=False)}
        return self.restore(answer, fitted)

    def _run(self, image: Tensor) -> tuple[Tensor, ...]:
        """All outputs for a batch, of which the network may take so many pictures at once."""
        if image.is_meta:
            return self._shapes(image)
        count = len(image)
        step = self._batch or count
        parts = []
        for start in range(0, count, step):
            part = image[start : start + step]
            missing = step - len(part)
            if missing:
                part = torch.cat([part, part[-1:].expand(missing, -1, -1, -1)])
            found = self.net(part)
            if any(output.shape[:1] != (step,) for output in found):
                shapes = " and ".join(str(tuple(output.shape)) for output in found)
                raise SpecError(
                    f"{self.params.file.path}: outputs for {step} pictures have the shapes {shapes}; each should begin "
                    f"with {step}, one answer for each picture"
                )
            parts.append(tuple(output[: step - missing] for output in found))
        return tuple(torch.cat(outputs) for outputs in zip(*parts, strict=True))

    def _shapes(self, image: Tensor) -> tuple[Tensor, ...]:
        """The outputs on the meta device: networks of files compute shapes from numbers, so the file's own is run."""
        path = self.params.file.path
        with torch.device("cpu"), torch.no_grad():
            if self.params.engine == "onnxruntime":
                own: nn.Module = Runtime(path, signature(path), self._outputs)
            else:
                own = network(path, self._outputs)
            found = own(torch.zeros(self._batch or 1, *image.shape[1:]))
        return tuple(output.new_empty(len(image), *output.shape[1:], device="meta") for output in found)

    def _answer(self, outputs: Sequence[Tensor], fitted: Fitted) -> Nest:
        """What the outputs say, in pixels of the network's input; `ValueError` where their shapes are other ones."""
        p = self.params
        if p.layout is not None:
            found = read(p.layout, outputs, (fitted.image.shape[-2], fitted.image.shape[-1]))
            if p.classes and found.logits.shape[-1] != len(p.classes):
                raise ValueError(f"it has {found.logits.shape[-1]} classes, and {len(p.classes)} are named")
            return {"boxes": found.boxes, "logits": found.logits}
        if len(outputs) != 1:
            raise ValueError(f"one output is read, and it has {len(outputs)}: {', '.join(self._outputs)}; name one")
        output = outputs[0].float()
        if p.kind == "depth":
            output = output[:, None] if output.dim() == 3 else output
        dims = 4 if p.kind in ("segmentation", "depth") else 2
        output = output.flatten(1) if dims == 2 and output.shape[1:].numel() == output.shape[1] else output
        if output.dim() != dims or (p.kind == "depth" and output.shape[1] != 1):
            wanted = {"segmentation": "(B, K, h, w)", "depth": "(B, 1, h, w) or (B, h, w)"}.get(p.kind, "(B, K)")
            raise ValueError(f"the output has the shape {tuple(outputs[0].shape)}; it should be {wanted}")
        if p.classes and output.shape[1] != len(p.classes):
            raise ValueError(f"it has {output.shape[1]} classes or values, and {len(p.classes)} are named")
        if p.likelihoods:
            output = output.clamp_min(_LEAST).log()
        if p.kind == "depth":
            output = p.scale / output.clamp_min(1 / _FARTHEST) if p.inverse else p.scale * output
            output = output.clamp(1 / _FARTHEST, _FARTHEST)
        return output

    def predict(self, features: Features) -> Prediction:
        """The answer; of detection the boxes that are left when they are thinned out."""
        output = self(features)
        if self.params.layout is not None:
            p = self.params
            output = [
                candidates.thinned(boxes, logits, features.size, p.least, p.overlap, p.most)
                for boxes, logits in zip(output["boxes"], output["logits"], strict=True)
            ]
        return Prediction(self.kind, output, self.labels, self.colours, self.unit)

    # --- training ----------------------------------------------------------------------------------------------------

    def loss(self, output: Nest, target: Nest) -> Tensor:
        """The usual one of the kind, (B,); of detection see `icm_tasks.onnx_files.candidates.loss`. Embeddings have
        none: labels are not what they are trained towards."""
        if self.params.layout is not None:
            return candidates.loss(Candidates(**output), target)
        if self.kind == "embedding":
            raise SpecError(
                "an embedding from a file has no directions of classes that labels could train it towards; train its "
                "adapter towards the clean pictures' vectors (the loss training.distillation)"
            )
        return super().loss(output, target)

    def divergence(self, output: Nest, reference: Nest) -> Tensor:
        """How far an output is from that of the clean picture, (B,): the kind says it, and of detection
        `icm_tasks.onnx_files.candidates.divergence`."""
        if self.kind != "detection":
            return KINDS[self.kind]().divergence(output, reference)
        return candidates.divergence(Candidates(**output), Candidates(**reference))
