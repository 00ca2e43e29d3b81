"""The adapter keeps icm's contract, and stands where another stood."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import icm_attention
import icm_core
from icm_attention import Cross
from icm_core.testing import AdapterCase, parametrize_with_checks
from icm_core.types import Level, SideInfo, SideInfoLayout

THREE = SideInfoLayout((Level(12, 16), Level(8, 32), Level(4, 64)), 8)
SMALL = {"channels": 8, "heads": 2}
# With a single token of h2, attention has nothing to choose, and no gradient reaches queries and keys.
SIZES = ((64, 128), (50, 70), (33, 129))


@parametrize_with_checks(
    [AdapterCase(Cross, SMALL, sizes=SIZES), AdapterCase(Cross, SMALL, layout=THREE, sizes=SIZES[:2])]
)
def test_conformance(case, check) -> None:
    check(case)


def test_the_finest_level_asks_the_coarser_ones_by_the_formula() -> None:
    """softmax(Q K^T / sqrt(d)) V of each head, written out place by place."""
    torch.manual_seed(1)
    adapter = Cross(Cross.Params(**SMALL), THREE).eval()
    levels = [torch.randn(2, level.channels, *level.at(128, 192)) for level in THREE.levels]
    with torch.no_grad():
        found = adapter(SideInfo(tuple(levels), (120, 180)))
        asked = adapter.queries(levels[0])
        keys, values = (
            torch.cat([layer(level).flatten(2) for layer, level in zip(layers, levels[1:], strict=True)], 2)
            for layers in (adapter.keys, adapter.values)
        )
        answers = torch.zeros_like(asked)
        for b, row, column in np.ndindex(2, *asked.shape[2:]):
            for own in (slice(0, 4), slice(4, 8)):
                shares = (asked[b, own, row, column] @ keys[b, own] / math.sqrt(4)).softmax(0)
                answers[b, own, row, column] = values[b, own] @ shares
        fused = adapter.mix(adapter.own(levels[0]) + adapter.answer(answers))
        image = adapter.enlarge(fused) + 0.5
    assert fused.shape == (2, 8, 16, 24) and image.shape == (2, 3, 128, 192)
    torch.testing.assert_close(found.maps["fused"], fused, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.maps["image"], image, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(found.maps[f"h{number}"], level) for number, level in enumerate(levels, 1))


def test_one_level_cannot_be_fused() -> None:
    with pytest.raises(icm_core.SpecError, match="fuses two levels or more"):
        Cross(Cross.Params(), SideInfoLayout((Level(8, 32),), 8))


def test_the_finest_stride_is_halved_so_it_has_to_be_even() -> None:
    odd = SideInfoLayout((Level(8, 3), Level(4, 6)), 8)
    with pytest.raises(icm_core.SpecError, match=r"the finest at an even stride, not \[3, 6\]"):
        Cross(Cross.Params(), odd)


def test_heads_divide_the_channels() -> None:
    with pytest.raises(ValueError, match="channels = 96 is not a multiple of heads = 5"):
        Cross.Params(heads=5)


def test_segmentation_reads_it_in_the_shipped_pipeline() -> None:
    pipe = icm_core.load("icm-attention", device="cpu", weights="available")
    shipped = icm_core.load("sicmh-small", device="cpu")
    old = shipped.encode(torch.rand(3, 70, 90), quality=2)
    found = pipe.decode(old)
    assert type(pipe.task("segmentation").adapter) is Cross
    assert found["segmentation"].output.shape == (1, 11, 70, 90)
    assert torch.equal(found["fine"].output, shipped.decode(old)["fine"].output)
    head = pipe.task("segmentation").head.state_dict()
    assert all(torch.equal(value, head[key]) for key, value in shipped.task("segmentation").head.state_dict().items())


def test_it_brings_a_pipeline() -> None:
    assert [path.name for path in icm_attention.icm_specs()] == ["icm-attention.json"]
