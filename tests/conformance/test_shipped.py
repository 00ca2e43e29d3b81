"""Every component that ships keeps its contract."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from icm_core import build_registry
from icm_core.testing import AdapterCase, Case, CodecCase, EnhancementCase, HeadCase, parametrize_with_checks
from icm_sicmh import Coarse, Hyperprior, MultiScale, OneScale, Residual, TwoScale
from icm_tasks import ModifiedTrSeg, TrSeg, ViT

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
_SMALL = {"sizes": ((64, 64), (50, 70), (33, 65))}


def spread(module: nn.Module) -> None:
    """Symbols of trained spread: random weights give hardly anything but zeros."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "density.biases" in name:
                parameter.mul_(0.1)
            elif name in ("encoder_h2.6.weight", "encoder_r.6.weight"):
                parameter.mul_(4)


CASES: list[Case] = [
    CodecCase(Hyperprior, CODEC, prepare=spread),
    *(AdapterCase(adapter) for adapter in (OneScale, TwoScale, MultiScale)),
    HeadCase(Coarse),
    EnhancementCase(Residual, prepare=spread),
    HeadCase(ViT, CLASSIFICATION),
    HeadCase(TrSeg, SEGMENTATION, **_SMALL),
    HeadCase(ModifiedTrSeg, SEGMENTATION, **_SMALL),
]


@parametrize_with_checks(CASES)
def test_conformance(case: Case, check: Callable[[Case], None]) -> None:
    check(case)


def test_every_component_of_the_framework_is_checked() -> None:
    registry = build_registry()
    shipped = {
        entry.name
        for catalogue in (registry.codecs, registry.adapters, registry.heads, registry.enhancements)
        for entry in catalogue.entries
        if entry.owner.plugin in ("sicmh", "tasks")
    }
    assert shipped == {case.name for case in CASES}
