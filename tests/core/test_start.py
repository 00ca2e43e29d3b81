"""What loading a pipeline imports, and what it leaves undone."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import torch
from timm.data.imagenet_info import ImageNetInfo

from icm_core import Registry, build, parse_spec
from icm_core.kinds import imagenet

LOAD = """
import sys
import icm_core
pipe = icm_core.load("sicmh-small", device="cpu")
assert len(pipe.task("classification").head.labels) == 1000
slow = {"torchvision", "timm", "compressai", "torch._dynamo", "torchmetrics", "pandas", "scipy"} & set(sys.modules)
assert slow == set(), slow
"""


def test_the_shipped_pipeline_is_loaded_without_what_is_slow_to_import() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", LOAD], check=True)


def test_names_of_imagenet_are_timms() -> None:
    info = ImageNetInfo("imagenet-1k")
    assert imagenet.synsets() == tuple(info.label_names())
    assert imagenet.names() == tuple(info.label_descriptions())
    assert len(imagenet.names()) == imagenet.COUNT


def test_parameters_are_drawn_unless_they_are_loaded_next(data: dict[str, Any], registry: Registry) -> None:
    torch.manual_seed(1)
    first = build(parse_spec(data), registry).state_dict()
    torch.manual_seed(1)
    again = build(parse_spec(data), registry).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    before = torch.get_rng_state()
    build(parse_spec(data), registry, draw=False)
    assert torch.equal(torch.get_rng_state(), before)
