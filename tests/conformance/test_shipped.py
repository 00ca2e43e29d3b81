"""Every component that ships keeps its contract, or says where it does not and why."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from icm_baselines import EXTERNAL, LEARNED
from icm_baselines.bpg import BPG
from icm_baselines.jpegxl import JPEGXL
from icm_baselines.latent import LatentAdapter
from icm_baselines.pixels import Picture, PixelsAdapter
from icm_baselines.still import AVIF, JPEG, JPEG2000, WebP
from icm_baselines.video import HEVC, VVC
from icm_core import InputError, Pipeline, Registry, build, build_registry
from icm_core.adapters import DecodedPicture
from icm_core.interfaces import TaskKind
from icm_core.kinds import Classification, Reconstruction, Regression, Segmentation
from icm_core.spec.model import PipelineSpec
from icm_core.testing import (
    AdapterCase,
    Case,
    CodecCase,
    ConformanceError,
    DataSetCase,
    EnhancementCase,
    Example,
    HeadCase,
    KindCase,
    LossCase,
    parametrize_with_checks,
)
from icm_core.types import Legend, Level, Prediction, SideInfoLayout
from icm_datasets.camvid import CamVid
from icm_datasets.cityscapes import Cityscapes
from icm_datasets.coco import COCO
from icm_datasets.folders import Folders
from icm_datasets.imagenet import ImageNet
from icm_datasets.pairs import NYU, Pairs
from icm_datasets.pictures import Pictures
from icm_datasets.voc import VOC
from icm_datasets.webdataset import WebDataset, WebDatasetMaps, WebDatasetPictures
from icm_sicmh import Coarse, CoarseToFine, ContextResidual, Hyperprior, MultiScale, OneScale, Residual, TwoScale
from icm_tasks import ModifiedTrSeg, TrSeg, ViT
from icm_tasks.kinds import Depth, Detection, Embedding, Instances, Keypoints
from icm_training.batch import CodedBatch, Kept
from icm_training.features import FeatureDistance
from icm_training.finding import find_recipe
from icm_training.losses import CrossEntropy, Distillation, HeadLoss, Rate, SquaredError
from icm_training.shapes import Shapes

CODEC = {"width": 8, "h1_channels": 16, "h2_channels": 8, "groups": 4, "context_channels": 8, "qualities": 4}
SEGMENTATION = {
    "backbone": "tf_efficientnet_lite0",
    "stage": 2,
    "classes": 5,
    "channels": 8,
    "bins": (1, 2),
    "layers": 1,
    "heads": 2,
    "feedforward": 8,
}
CLASSIFICATION = {"model": "tf_efficientnet_lite0", "classes": 5, "input_size": 64}
FUSED = {"image": Level(3, 1), "fused": Level(8, 16), "h1": Level(16, 32), "h2": Level(8, 64)}
"""What SICMH's adapters deliver."""
_SMALL = {"sizes": ((64, 64), (50, 70), (33, 65))}
_TWO = {"sizes": ((64, 64), (50, 70))}

_IN_FLOAT = {
    "check_decoding_is_exact": "the symbols are exact, but the picture is made of them in floating point, "
    "whose last bits depend on the machine, its threads and the size of the batch"
}
_LIBRARYS_OWN = {
    "check_decoding_is_exact": "CompressAI computes probabilities in floating point; the same bits are promised "
    "only on one kind of machine, with as many threads and pictures in a batch"
}
_WHAT_FOLLOWS = {
    "check_stream_is_exhausted": "a decoder of somebody else's passes over what follows its file or stream; "
    "in an .icm file, a length and a checksum around the payload refuse it"
}
_CONCEALED = {
    "check_truncated_input": "ffmpeg's decoders fill in what is missing at the end of some pictures without a word, "
    "which ones depends on its version; in an .icm file, a length and a checksum around the payload refuse it"
}


def spread(module: nn.Module) -> None:
    """Symbols of trained spread: random weights give hardly anything but zeros."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "density.biases" in name:
                parameter.mul_(0.1)
            elif name in ("encoder_h2.6.weight", "encoder_r.6.weight"):
                parameter.mul_(4)


def spread_learned(codec: Any) -> None:
    """The same for CompressAI's models; scales that fit such latents, and pictures around mid grey."""
    with torch.no_grad():
        for name, parameter in codec.net.named_parameters():
            if name in ("g_a.6.weight", "h_a.4.weight", "h_a.8.weight"):
                parameter.mul_(8)
        scales = getattr(codec.net, "entropy_parameters", codec.net.h_s)
        list(scales.parameters())[-1][: codec.net.M].add_(1)
        if codec.params.side != "latent":
            list(codec.net.g_s.parameters())[-1].add_(0.5)


@cache
def registry() -> Registry:
    return build_registry()


@cache
def _built_once() -> Pipeline:
    recipe = find_recipe("smoke", registry(), [])[0]
    assert isinstance(recipe.pipeline, PipelineSpec)
    return build(recipe.pipeline, registry())


def smoke() -> Pipeline:
    """The pipeline of the recipe `smoke`, each time another copy."""
    return copy.deepcopy(_built_once())


def coded(pipe: Pipeline, example: Example) -> CodedBatch:
    """A batch as the engine makes it, of views that are not kept."""
    count = len(example.pictures)
    views = [-1] * count
    return CodedBatch(pipe, example.pictures, example.target, example.qualities, 0.0, range(count), views, Kept())


def loss(cls: type[Any], task: str | None, *reaches: str, **params: object) -> LossCase:
    data = Shapes(Shapes.Params(count=6), Path(), "")
    return LossCase(cls, params, pipeline=smoke, batch=coded, data=data, task=task, reaches=reaches)


_WIDTHS = {"n": 12, "m": 18}
_SEG = ("codec", "tasks.segmentation.adapter", "tasks.segmentation.head")
CASES: list[Case] = [
    CodecCase(Hyperprior, CODEC, prepare=spread),
    CodecCase(Hyperprior, {**CODEC, "deep": 16}, prepare=spread),
    CodecCase(CoarseToFine, CODEC, prepare=spread, unpromised=_IN_FLOAT),
    *(CodecCase(codec, exceptions=_WHAT_FOLLOWS, **_SMALL) for codec in (JPEG, JPEG2000, WebP, AVIF, JPEGXL, BPG)),
    CodecCase(HEVC, exceptions=_WHAT_FOLLOWS, unpromised=_CONCEALED, **_TWO),
    CodecCase(VVC, {"settings": (51, 48)}, exceptions=_WHAT_FOLLOWS, unpromised=_CONCEALED, **_TWO),
    *(
        CodecCase(
            codec,
            {name: width for name, width in _WIDTHS.items() if name in codec.Params.model_fields},
            prepare=spread_learned,
            unpromised=_LIBRARYS_OWN,
            **_TWO,
        )
        for codec in LEARNED
    ),
    *(
        CodecCase(LEARNED[0], {**_WIDTHS, "side": side}, prepare=spread_learned, unpromised=_LIBRARYS_OWN, **_TWO)
        for side in ("latent", "both")
    ),
    *(AdapterCase(adapter) for adapter in (OneScale, TwoScale, MultiScale)),
    AdapterCase(PixelsAdapter, layout=SideInfoLayout((Level(3, 1),), 3)),
    AdapterCase(PixelsAdapter, layout=SideInfoLayout((Level(3, 1), Level(18, 16)), 12)),
    AdapterCase(LatentAdapter),
    AdapterCase(DecodedPicture, {"of": "coarse"}),
    HeadCase(Coarse, features=FUSED),
    HeadCase(Picture),
    EnhancementCase(Residual, prepare=spread),
    EnhancementCase(Residual, {"latent_channels": 24}, prepare=spread),
    EnhancementCase(ContextResidual, {"groups": 2}, prepare=spread),
    HeadCase(ViT, CLASSIFICATION),
    HeadCase(TrSeg, SEGMENTATION, **_SMALL),
    HeadCase(ModifiedTrSeg, SEGMENTATION, **_SMALL),
    loss(Rate, None, "codec", "enhancement", of="all"),
    loss(SquaredError, "coarse", "codec", "tasks.coarse.adapter", "tasks.coarse.head"),
    loss(CrossEntropy, "segmentation", *_SEG, class_weights="root_median", label_smoothing=0.1),
    loss(Distillation, "segmentation", *_SEG),
    loss(HeadLoss, "segmentation", *_SEG),
    loss(FeatureDistance, "coarse", "codec", "tasks.coarse.adapter", "tasks.coarse.head", of="output", stages=(1, 2)),
]


def scored(cls: type[TaskKind]) -> Callable[[Any, tuple[int, int], Legend], Prediction]:
    """Right answers with scores that differ: of equal ones, COCO's precision depends on the order of pictures."""

    def predict(target: Any, size: tuple[int, int], legend: Legend) -> Prediction:
        found = cls().truth(target, legend)
        assert found is not None
        (things,) = found.output
        return dataclasses.replace(found, output=[{**things, "scores": 0.5 + things["boxes"][:, 0] / (2 * size[1])}])

    return predict


def directed(target: Tensor, size: tuple[int, int], legend: Legend) -> Prediction:
    """The same direction for the same class, another for another."""
    return Prediction("embedding", torch.eye(8)[None, int(target)])


BOX = torch.tensor([[1.0, 2.0, 30.0, 40.0]])
FOUR = Legend(("one", "two", "three", "four"))
KINDS = [
    KindCase(Classification, wrong=[torch.tensor(3), torch.tensor([1]), torch.tensor(1.0)]),
    KindCase(
        Segmentation,
        legend=Legend(FOUR.labels, ignore=255),
        wrong=[torch.full((64, 64), 4).byte(), torch.zeros(64, 60).byte(), torch.zeros(64, 64)],
    ),
    KindCase(Regression, legend=Legend(FOUR.labels, unit="m"), wrong=[torch.ones(3), torch.full((4,), torch.inf)]),
    KindCase(Reconstruction, wrong=[torch.zeros(3, 64, 64), torch.zeros(64, 64).byte()]),
    KindCase(
        Detection,
        wrong=[
            {"boxes": BOX},
            {"boxes": BOX, "labels": torch.tensor([3])},
            {"boxes": BOX[:, [2, 1, 0, 3]], "labels": torch.tensor([0])},
            {"boxes": 10 * BOX, "labels": torch.tensor([0])},
        ],
        predict=scored(Detection),
    ),
    KindCase(
        Instances,
        wrong=[
            {"boxes": BOX, "labels": torch.tensor([0])},
            {"boxes": BOX, "labels": torch.tensor([0]), "masks": torch.ones(1, 60, 64).byte()},
        ],
        predict=scored(Instances),
    ),
    KindCase(
        Keypoints,
        legend=Legend(("nose", "left_eye", "right_eye")),
        wrong=[{"boxes": BOX, "labels": torch.tensor([0]), "keypoints": torch.ones(1, 2, 3)}],
        predict=scored(Keypoints),
    ),
    KindCase(Depth, legend=Legend(unit="m"), wrong=[torch.zeros(64, 64), torch.ones(60, 64), torch.ones(64, 64).int()]),
    KindCase(Depth, legend=Legend(unit="m", ignore=0), wrong=[-torch.ones(64, 64)]),
    KindCase(Embedding, wrong=[torch.tensor(-1), torch.tensor(1.0)], predict=directed),
]

# Their roots are folders of `trees`, which are not there yet.
DATA_SETS = [
    DataSetCase(Pictures, root=Path("pictures")),
    DataSetCase(Folders, root=Path("folders")),
    DataSetCase(ImageNet, root=Path("imagenet"), split="val"),
    DataSetCase(CamVid, root=Path("camvid")),
    DataSetCase(Cityscapes, root=Path("cityscapes")),
    DataSetCase(Cityscapes, {"size": "128x256"}, root=Path("cityscapes")),
    DataSetCase(COCO, root=Path("coco")),
    DataSetCase(COCO, {"targets": "masks", "empty": False}, root=Path("coco")),
    DataSetCase(COCO, {"targets": "masks", "size": 9}, root=Path("coco")),
    DataSetCase(COCO, {"targets": "keypoints"}, root=Path("coco")),
    DataSetCase(COCO, {"targets": "keypoints", "size": (2, 3)}, root=Path("coco")),
    DataSetCase(VOC, root=Path("voc")),
    DataSetCase(VOC, {"targets": "maps", "size": (9, 5)}, root=Path("voc")),
    DataSetCase(Pairs, {"maps": "{split}_labels", "classes": ("one", "two", "three")}, root=Path("pairs")),
    DataSetCase(Pairs, {"maps": "{split}_labels", "targets": "depth", "scale": 0.5, "size": 3}, root=Path("pairs")),
    DataSetCase(NYU, root=Path("nyu")),
    DataSetCase(WebDataset, {"classes": ("one", "two")}, root=Path("webdataset")),
    DataSetCase(WebDatasetMaps, {"classes": ("one", "two")}, root=Path("webdataset_maps")),
    DataSetCase(WebDatasetPictures, root=Path("webdataset_pictures")),
    DataSetCase(Shapes, root=Path(), exceptions={"check_missing_folder": "it draws its pictures and reads no file"}),
]


@parametrize_with_checks(KINDS)
def test_conformance_of_kinds(case: KindCase, check: Callable[[Case], None]) -> None:
    check(case)


@parametrize_with_checks(CASES)
def test_conformance(case: Case, check: Callable[[Case], None]) -> None:
    try:
        check(case)
    except (InputError, ConformanceError) as error:
        cause = error.__cause__ if isinstance(error, ConformanceError) else error
        # A program or library that this machine lacks; the codec's message says how to get it.
        if case.cls in EXTERNAL and isinstance(cause, InputError) and f"{case.name} needs " in str(cause):
            pytest.skip(str(cause))
        raise


@parametrize_with_checks(DATA_SETS)
def test_conformance_of_data_sets(case: DataSetCase, check: Callable[[Case], None], trees: Path) -> None:
    check(dataclasses.replace(case, root=trees / case.root))


_MAPS = "tests/related/test_maps_conformance.py"
_FEATURES = "tests/related/test_features_conformance.py"
ELSEWHERE = {
    "baselines.codec_residual": _MAPS,
    "related.adversarial": _FEATURES,
    "related.answer": _FEATURES,
    "related.class_steps": _MAPS,
    "related.discriminator": _FEATURES,
    "related.filtered": _FEATURES,
    "related.hific": _FEATURES,
    "related.label_features": _MAPS,
    "related.label_map": _MAPS,
    "related.latent_classifier": _FEATURES,
    "related.lossless": _MAPS,
    "related.one_step": _MAPS,
    "related.preview": _FEATURES,
    "related.recurrent": _FEATURES,
    "related.synthesis": _MAPS,
    "related.told": _FEATURES,
    "related.with_answer": _FEATURES,
    "tasks.onnx": "tests/tasks/onnx_files/test_conformance.py",
    "tasks.pyramid": "tests/tasks/test_pyramid.py",
    "tasks.torchvision_detector": "tests/tasks/test_torchvision_detector.py",
    "tasks.transformers": "tests/tasks/test_transformers.py",
}
"""Components whose cases stand with their other tests, because they need files that these write, or take long."""


def test_every_component_of_the_framework_is_checked() -> None:
    shipped = [
        entry.name
        for catalogue in registry().catalogues
        for entry in catalogue.entries
        if entry.owner.distribution == "icm-framework" and isinstance(entry.value, type)
    ]
    cases = {case.name for case in (*KINDS, *CASES, *DATA_SETS)}  # one may have several settings
    assert not cases & ELSEWHERE.keys()
    assert sorted(shipped) == sorted(cases | ELSEWHERE.keys())
    for name, file in ELSEWHERE.items():
        text = (Path(__file__).parents[2] / file).read_text("utf-8")
        assert "Case(" in text and re.search(r"run_checks|parametrize_with_checks", text), name
