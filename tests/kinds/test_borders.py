"""What is told apart at the borders of the core's kinds."""

from __future__ import annotations

import pytest
import torch

from icm_core.kinds.labels import match_labels
from icm_core.kinds.outputs import check_output
from icm_core.types import Legend


def test_a_heads_labels_come_before_its_other_names() -> None:
    head = Legend(("left", "right", "up"), (("right", "left", "down"),))
    assert match_labels(Legend(("right", "left")), head) == (1, 0)
    assert match_labels(Legend(("down", "left")), head) == (2, 1)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
def test_every_number_of_an_output_is_finite(wrong: float) -> None:
    output = torch.zeros(2, 3)
    check_output(output, (2, None), "values")
    output[1, 2] = wrong
    with pytest.raises(ValueError, match="has values that are not finite among its values"):
        check_output(output, (2, None), "values")
