"""What differs between packages: by what they bring, and by the kind of a head's answers or a data set's targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from icm_core.interfaces.dataset import PICTURES


@dataclass(frozen=True)
class About:
    """A package with one component.

    Attributes:
        words: what the component is called in a sentence.
        contract: the class that it derives from.
        hook: the hook that provides it.
        case: its case in the conformance kit.
        template: of its module.
        test: template of its tests.
        small: the parameters that its test tries it with, as Python.
        task: the prediction that the test of its pipeline looks at; ``""`` for one that is named like the component.
        helpers: further templates, by the module that they make.
        freeze: the part of the pipeline whose tables the test makes.
        spec: template of the pipeline that shows it; ``""`` for none.
        params: parameters that the pipeline gives it, as JSON.
    """

    words: str
    contract: str
    hook: str
    case: str
    template: str
    test: str = "tests/component.py.j2"
    small: str = ""
    task: str = ""
    helpers: Mapping[str, str] = field(default_factory=dict)
    freeze: str = ""
    spec: str = ""
    params: str = ""


_GAUSSIAN = {"gaussian": "gaussian.py.j2"}
_GRID = {"grid": "grid.py.j2"}

PLAIN = {
    "adapter": About(
        words="adapter",
        contract="SideInfoAdapter",
        hook="icm_adapters",
        case="AdapterCase",
        template="adapter.py.j2",
        small='{"width": 8}',
        task="segmentation",
        spec="specs/adapter.json.j2",
    ),
    "codec": About(
        words="codec",
        contract="Codec",
        hook="icm_codecs",
        case="CodecCase",
        template="codec.py.j2",
        small='{"width": 8, "h1_channels": 8, "h2_channels": 4}',
        task="coarse",
        helpers=_GAUSSIAN,
        freeze="codec",
        spec="specs/codec.json.j2",
    ),
    "enhancement": About(
        words="enhancement",
        contract="Enhancement",
        hook="icm_enhancements",
        case="EnhancementCase",
        template="enhancement.py.j2",
        small='{"width": 8, "channels": 8}',
        task="fine",
        helpers=_GAUSSIAN,
        freeze="enhancement",
        spec="specs/enhancement.json.j2",
    ),
    "kind": About(
        words="kind",
        contract="TaskKind",
        hook="icm_kinds",
        case="KindCase",
        template="kind.py.j2",
        test="tests/kind.py.j2",
    ),
}
"""What has no kind."""


def _head(kind: str, small: str, params: str, helpers: Mapping[str, str] | None = None) -> About:
    return About(
        words="head",
        contract="TaskHead",
        hook="icm_heads",
        case="HeadCase",
        template=f"heads/{kind}.py.j2",
        small=small,
        helpers=helpers or {},
        spec="specs/head.json.j2",
        params=params,
    )


def _data(template: str) -> About:
    return About(
        words="data set",
        contract="DataSet",
        hook="icm_datasets",
        case="DataSetCase",
        template=f"datasets/{template}.py.j2",
        test="tests/dataset.py.j2",
    )


_FOUND = '{"classes": ["one", "two"], "width": 8}'
HEADS = {
    "classification": _head("classification", '{"classes": 3, "width": 8}', '{"classes": 10}'),
    "segmentation": _head("segmentation", '{"classes": 3, "width": 8}', '{"classes": 10}'),
    "reconstruction": _head("reconstruction", '{"width": 8}', ""),
    "regression": _head("regression", '{"values": ["one", "two"], "width": 8}', '{"values": ["value"]}'),
    "detection": _head("detection", _FOUND, '{"classes": ["thing"]}', _GRID),
    "instances": _head("instances", _FOUND, '{"classes": ["thing"]}', _GRID),
    "keypoints": _head("keypoints", '{"points": ["head", "tail"], "width": 8}', '{"points": ["middle"]}', _GRID),
    "depth": _head("depth", '{"width": 8}', '{"unit": "m"}'),
    "embedding": _head("embedding", '{"dimensions": 8, "classes": 3, "width": 8}', '{"classes": 10}'),
}
"""Heads by the kind of their answers, the one that stands for the rest first."""

DATA_SETS = {
    "classification": _data("folders"),
    "embedding": _data("folders"),
    "segmentation": _data("maps"),
    "depth": _data("maps"),
    "regression": _data("listed"),
    "detection": _data("listed"),
    "keypoints": _data("listed"),
    "instances": _data("listed"),
    PICTURES: _data("pictures"),
}
"""Data sets by the kind of their targets, the one that stands for the rest first."""

OF_KINDS: Mapping[str, Mapping[str, About]] = {"head": HEADS, "dataset": DATA_SETS}
"""What has a kind."""

COMPONENTS = ("head", "adapter", "codec", "enhancement", "kind", "dataset")
"""What can be made anew."""
