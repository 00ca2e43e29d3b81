"""Codecs that send a label map, their quantisers and generator, and coded residues keep their contracts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from icm_baselines import LEARNED
from icm_baselines.residual import CodecResidual
from icm_baselines.still import AVIF, JPEG
from icm_core.interfaces import Nested, TaskHead
from icm_core.testing import AdapterCase, Case, CodecCase, EnhancementCase, parametrize_with_checks
from icm_core.types import Features, Level, SideInfoLayout
from icm_related.label_features import LabelFeatures
from icm_related.label_map import LabelMap
from icm_related.lossless import Lossless
from icm_related.steps import ClassSteps, OneStep
from icm_related.synthesis import Synthesis
from icm_tasks import TrSeg

CLASSES = 5


class Colours(TaskHead):
    """A segmentation network that is quick, and whose maps have areas: classes by colours of blocks."""

    name = "tests.colours"
    kind = "segmentation"

    def __init__(self, params: Any, features: Any) -> None:
        super().__init__(params, features)
        self.mix = torch.nn.Conv2d(3, CLASSES, 1)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple("abcde")

    def forward(self, features: Features) -> Tensor:
        x = features.cropped("image")
        small = F.avg_pool2d(x - 0.5, 8, ceil_mode=True, count_include_pad=False)
        return self.mix(F.interpolate(small, scale_factor=8.0)[..., : x.shape[-2], : x.shape[-1]])

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target, reduction="none").flatten(1).mean(1)


def spread(codec: Any) -> None:
    """Symbols of trained spread."""
    with torch.no_grad():
        codec.encoder[6].weight.mul_(30)
        codec.log2_sigma.fill_(3.0)


SEGMENTER = Nested.of(Colours)
_SIZES = {"sizes": ((64, 64), (50, 70), (33, 65))}
_WHAT_FOLLOWS = {
    "check_stream_is_exhausted": "a decoder of somebody else's passes over what follows its file; in an .icm file, a "
    "length and a checksum around the payload refuse it"
}
_SMALL_PICTURE = {"codec": Nested.of(JPEG, settings=(20, 60), chroma="4:4:4")}
_FEATURES = {"segmenter": SEGMENTER, "width": 8, "channels": 12}
_LIBRARYS_OWN = {
    "check_decoding_is_exact": "CompressAI computes probabilities in floating point; the same bits are promised "
    "only on one kind of machine, with as many threads and pictures in a batch"
}
_MAP = Level(CLASSES, 1)
_TRSEG = Nested.of(
    TrSeg, backbone="tf_efficientnet_lite0", stage=2, classes=CLASSES, channels=8, bins=(1, 2), layers=1, heads=2,
    feedforward=8,
)  # fmt: skip

CASES: list[Case] = [
    CodecCase(Lossless, exceptions=_WHAT_FOLLOWS, **_SIZES),
    CodecCase(LabelMap, {"segmenter": SEGMENTER}, exceptions=_WHAT_FOLLOWS, **_SIZES),
    CodecCase(
        LabelMap,
        {"segmenter": SEGMENTER, "map_stride": 2, "reduction": 4, "picture": Nested.of(Lossless), "qualities": 3},
        exceptions=_WHAT_FOLLOWS,
        **_SIZES,
    ),
    CodecCase(LabelFeatures, _FEATURES, prepare=spread, **_SIZES),
    CodecCase(LabelFeatures, {**_FEATURES, "quantiser": Nested.of(OneStep), "qualities": 2}, prepare=spread, **_SIZES),
    AdapterCase(ClassSteps, layout=SideInfoLayout((_MAP,), 8)),
    AdapterCase(OneStep, layout=SideInfoLayout((_MAP,), 8)),
    *(
        AdapterCase(Synthesis, {"channels": 16}, layout=SideInfoLayout(levels, 8))
        for levels in ((_MAP,), (Level(CLASSES, 2), Level(3, 8)), (_MAP, Level(12, 16)), (_MAP, Level(6, 32)))
    ),
    EnhancementCase(CodecResidual, _SMALL_PICTURE, exceptions=_WHAT_FOLLOWS, **_SIZES),
    EnhancementCase(
        CodecResidual, {"codec": Nested.of(AVIF, settings=(50, 90)), "gain": 2.0}, exceptions=_WHAT_FOLLOWS, **_SIZES
    ),
    EnhancementCase(
        CodecResidual,
        {"codec": Nested.of(LEARNED[0], n=12, m=18)},
        unpromised=_LIBRARYS_OWN,
        sizes=((64, 64), (50, 70)),
    ),
]


@parametrize_with_checks(CASES)
def test_conformance(case: Case, check: Callable[[Case], None]) -> None:
    check(case)


def test_a_real_network_labels_the_picture() -> None:
    codec = LabelMap(LabelMap.Params(segmenter=_TRSEG)).eval()
    x = torch.rand(1, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    quality = torch.ones(1)
    with torch.no_grad():
        expected = codec.segmenter(Features({"image": x}, (64, 80))).argmax(1)
        assert torch.equal(codec(x, quality).side.levels[0].argmax(1), expected)
