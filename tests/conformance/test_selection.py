"""Which checks run: those of the contract, all of them, and how exceptions are marked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from icm_baselines.pixels import Picture
from icm_core import testing
from icm_core.kinds import Classification
from icm_core.testing import AdapterCase, Case, CodecCase, DataSetCase, EnhancementCase, HeadCase, KindCase, LossCase
from icm_sicmh.adapters import MultiScale
from icm_sicmh.codec import Hyperprior
from icm_sicmh.residual import Residual
from icm_training.losses import Rate
from icm_training.shapes import Shapes

DECLARED = "declaration parameters needs_no_network"
COMPONENT = (
    f"{DECLARED} builds_on_meta device_moves component_on_card shapes batch_independence eval_is_deterministic "
    "gradients state_dict stored_weights pickling"
)
CODING = (
    f"{COMPONENT} round_trip decoding_is_exact stream_is_exhausted truncated_input damaged_input rate_estimate "
    "coding_state"
)
ANY: Any = None
CASES: list[tuple[Case, str]] = [
    (AdapterCase(MultiScale), COMPONENT),
    (CodecCase(Hyperprior), f"{CODING} encode_with_side encoders search"),
    (EnhancementCase(Residual), CODING),
    (
        HeadCase(Picture),
        f"{COMPONENT} missing_features loss_is_finite loss_per_picture loss_falls prediction divergence showing "
        "measuring",
    ),
    (
        KindCase(Classification),
        "declaration flags example_targets wrong_targets batches wrapping moving truth comparing showing measuring "
        "resampling also kind_on_card",
    ),
    (DataSetCase(Shapes, root=Path()), f"{DECLARED} length order keys samples labels missing_folder"),
    (
        LossCase(Rate, pipeline=ANY, batch=ANY, data=ANY, reaches=()),
        f"{DECLARED} loss_of_each_picture loss_of_a_picture_alone loss_gradients loss_owns_its_weights loss_on_card",
    ),
]


@pytest.mark.parametrize(("case", "names"), CASES, ids=lambda value: type(value).__name__)
def test_a_contract_has_all_of_its_checks(case: Case, names: str) -> None:
    found = [check.__name__ for check in testing.checks_for(case)]
    assert sorted(found) == sorted(f"check_{name}" for name in names.split())


def test_every_check_that_can_be_imported_belongs_to_a_contract() -> None:
    used = {f"check_{name}" for _, names in CASES for name in names.split()}
    assert used == {name for name in testing.__all__ if name.startswith("check_")}


def test_of_several_excused_checks_each_is_marked_as_it_was_excused() -> None:
    case = AdapterCase(MultiScale, exceptions={"check_shapes": "always"}, unpromised={"check_pickling": "at times"})
    parameters = cast(Any, testing.parametrize_with_checks([case]).mark.args[1])
    marks = {one.id.rpartition("-")[2]: one.marks for one in parameters if one.marks}
    assert {name: (mark.kwargs["reason"], mark.kwargs["strict"]) for name, (mark,) in marks.items()} == {
        "shapes": ("always", True),
        "pickling": ("at times", False),
    }
    assert all(mark.kwargs["raises"] is testing.ConformanceError for (mark,) in marks.values())


def test_what_has_to_be_told_more_than_its_class_is_no_case_alone() -> None:
    with pytest.raises(TypeError, match=r"a data set needs a folder: DataSetCase\(Shapes, root="):
        testing.case_of(Shapes)
    with pytest.raises(TypeError, match=r"a loss needs a pipeline: LossCase\(Rate, pipeline="):
        testing.case_of(Rate)


def test_a_check_that_there_is_not_cannot_be_unpromised() -> None:
    with pytest.raises(ValueError, match="has no check 'check_shape' to be excepted from; it has check_declaration, "):
        testing.checks_for(AdapterCase(MultiScale, unpromised={"check_shape": "at times"}))
