"""The small pipelines that are compared with `sicmh-small` have its widths, so that no width makes the difference."""

from __future__ import annotations

import pytest

from icm_core import build_registry
from icm_core.spec.extends import read_spec
from icm_core.spec.model import PipelineSpec


def small(name: str) -> PipelineSpec:
    return read_spec(build_registry().specs.get(name))


@pytest.mark.parametrize("name", ["siic-small", "coarse-to-fine-small"])
def test_a_small_pipeline_follows_the_widths_of_sicmh_small(name: str) -> None:
    ours, other = small("sicmh-small"), small(name)
    assert other.codec.params == ours.codec.params
    assert other.tasks["segmentation"].head == ours.tasks["segmentation"].head


def test_siic_has_the_one_scale_adapter_and_one_task() -> None:
    siic = small("siic-small")
    assert list(siic.tasks) == ["segmentation"]
    assert siic.tasks["segmentation"].adapter.use == "sicmh.one_scale"
    assert siic.codec.use == small("sicmh-small").codec.use
    assert siic.enhancement is None
