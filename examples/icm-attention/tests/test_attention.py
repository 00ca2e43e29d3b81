"""The adapter keeps icm's contract, and stands where another stood."""

from __future__ import annotations

import pytest
import torch

import icm_core
from icm_attention import Cross
from icm_core.testing import AdapterCase, parametrize_with_checks
from icm_core.types import Level, SideInfoLayout

THREE = SideInfoLayout((Level(12, 16), Level(8, 32), Level(4, 64)), 8)
SMALL = {"channels": 8, "heads": 2}
# With a single token of h2, attention has nothing to choose, and no gradient reaches queries and keys.
SIZES = ((64, 128), (50, 70), (33, 129))


@parametrize_with_checks(
    [AdapterCase(Cross, SMALL, sizes=SIZES), AdapterCase(Cross, SMALL, layout=THREE, sizes=SIZES[:2])]
)
def test_conformance(case, check) -> None:
    check(case)


def test_one_level_cannot_be_fused() -> None:
    with pytest.raises(icm_core.SpecError, match="fuses two levels or more"):
        Cross(Cross.Params(), SideInfoLayout((Level(8, 32),), 8))


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
