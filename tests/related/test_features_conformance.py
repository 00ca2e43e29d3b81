"""Latents read by heads, filters, answers that travel, passes and generators keep their contracts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

from icm_baselines.latent import LatentAdapter
from icm_core import Pipeline, build, build_registry, parse_spec
from icm_core.testing import AdapterCase, Case, CodecCase, HeadCase, LossCase, parametrize_with_checks
from icm_core.testing.cases.examples import Example
from icm_core.types import Level, SideInfoLayout
from icm_related.filtered import Filtered
from icm_related.gan import Adversarial, Discriminator, HiFiC
from icm_related.latent import LatentClassifier, Preview
from icm_related.recurrent import Recurrent
from icm_related.travelling import AnswerAdapter, Told, WithAnswer
from icm_training.batch import CodedBatch, Kept
from icm_training.shapes import Shapes

_TWO: dict[str, Any] = {"sizes": ((64, 64), (50, 70))}
_WIDTHS = {"n": 12, "m": 18}
_HYPERPRIOR = {"use": "baselines.bmshj2018_hyperprior", "params": _WIDTHS}
_BOTH = {"use": "baselines.bmshj2018_hyperprior", "params": {**_WIDTHS, "side": "both"}}
_SICMH = {
    "use": "sicmh.hyperprior",
    "params": {"width": 8, "h1_channels": 16, "h2_channels": 8, "groups": 4, "context_channels": 8, "qualities": 4},
}
_CLASSES = {"classes": 7, "width": 8, "blocks": 1}
_LATENT: Mapping[str, Level] = {"latent": Level(18, 16)}
_IN_FLOAT = {"check_decoding_is_exact": "its networks compute in floating point"}
_WHAT_FOLLOWS = {
    "check_stream_is_exhausted": "a decoder of somebody else's passes over what follows its file; in an .icm file, a "
    "length and a checksum around the payload refuse it"
}


def spread(net: Any) -> None:
    """Symbols of trained spread out of CompressAI's hyperprior, scales that fit them, pictures around mid grey."""
    with torch.no_grad():
        for name in ("g_a.6.weight", "h_a.4.weight"):
            net.get_parameter(name).mul_(8)
        list(net.h_s.parameters())[-1].add_(1)
        list(net.g_s.parameters())[-1].add_(0.5)


def wide(codec: Filtered) -> None:
    """The same of SICMH's codec."""
    with torch.no_grad():
        for name, parameter in codec.codec.named_parameters():
            if "density.biases" in name:
                parameter.mul_(0.1)
            elif name == "encoder_h2.6.weight":
                parameter.mul_(40)


@cache
def _built() -> Pipeline:
    picture = {"use": "baselines.pixels"}
    tasks = {"realness": {"adapter": picture, "head": {"use": "related.discriminator", "params": {"width": 4}}}}
    spec = {"icm": 1, "name": "gan", "codec": {"use": "related.recurrent", "params": {"width": 8}}, "tasks": tasks}
    return build(parse_spec(spec), build_registry())


def pipeline() -> Pipeline:
    return copy.deepcopy(_built())


def coded(pipe: Pipeline, example: Example) -> CodedBatch:
    count = len(example.pictures)
    return CodedBatch(
        pipe, example.pictures, example.target, example.qualities, 0.0, range(count), [-1] * count, Kept()
    )


CASES: list[Case] = [
    CodecCase(
        Filtered,
        {"codec": _HYPERPRIOR, "channels": 4, "layers": 3},
        prepare=lambda codec: spread(codec.codec.net),
        unpromised=_IN_FLOAT,
        **_TWO,
    ),
    CodecCase(Filtered, {"codec": _SICMH, "channels": 4, "layers": 2}, prepare=wide),
    CodecCase(Filtered, {"codec": {"use": "baselines.jpeg"}, "channels": 4}, exceptions=_WHAT_FOLLOWS, **_TWO),
    CodecCase(
        WithAnswer,
        {
            "codec": _BOTH,
            "adapter": {"use": "baselines.latent"},
            "head": {"use": "related.latent_classifier", "params": _CLASSES},
            "top": 3,
        },
        prepare=lambda codec: spread(codec.codec.net),
        unpromised=_IN_FLOAT,
        **_TWO,
    ),
    CodecCase(Recurrent, {"width": 8, "code_channels": 8, "passes": 3}, unpromised=_IN_FLOAT, **_TWO),
    CodecCase(
        HiFiC,
        {**_WIDTHS, "width": 32, "blocks": 1},
        prepare=lambda codec: spread(codec.net),
        unpromised=_IN_FLOAT,
        **_TWO,
    ),
    AdapterCase(LatentAdapter, layout=SideInfoLayout((Level(3, 1), Level(18, 16), Level(7, 0)), 12)),
    AdapterCase(AnswerAdapter, layout=SideInfoLayout((Level(18, 16), Level(7, 0)), 12)),
    HeadCase(LatentClassifier, _CLASSES, features=_LATENT),
    HeadCase(Preview, {"width": 8}, features=_LATENT),
    HeadCase(Told, {"classes": 7}, features={"answer": Level(7, 0)}),
    HeadCase(Discriminator, {"width": 4, "layers": 2}),
    LossCase(
        Adversarial,
        {},
        pipeline=pipeline,
        batch=coded,
        data=Shapes(Shapes.Params(count=6), Path(), ""),
        task="realness",
        reaches=("codec", "tasks.realness.head"),
    ),
]


@parametrize_with_checks(CASES)
def test_conformance(case: Case, check: Callable[[Case], None]) -> None:
    check(case)
