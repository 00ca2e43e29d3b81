"""Conformance kit: does a component keep its contract? For the tests of anybody's plugin.

::

    from icm_core.testing import parametrize_with_checks
    from mylab.depth import Depth

    @parametrize_with_checks([Depth])
    def test_conformance(case, check):
        check(case)

A component that needs parameters, or a layout of its own, is described by a case: ``HeadCase(Depth, {"width": 8})``. A
head or data set whose kind is not installed is given it: ``HeadCase(Lanes, kind=LaneKind)``; the kind itself is tried
by ``KindCase(LaneKind)``.

Each check is a function of a case, and can be called without pytest; what it finds wrong it raises as
`ConformanceError`, whose message says what was seen and what to do. ``cases/`` and ``checks/`` have a module of the
same name for each contract.
"""

from icm_core.testing.cases.adapters import AdapterCase
from icm_core.testing.cases.base import Case, ParameterisedCase
from icm_core.testing.cases.codecs import CodecCase
from icm_core.testing.cases.components import ComponentCase
from icm_core.testing.cases.datasets import DataSetCase
from icm_core.testing.cases.enhancements import EnhancementCase
from icm_core.testing.cases.examples import Example
from icm_core.testing.cases.heads import HeadCase
from icm_core.testing.cases.kinds import KindCase
from icm_core.testing.cases.losses import LossCase
from icm_core.testing.checks.answers import check_measuring, check_showing
from icm_core.testing.checks.base import check_declaration, check_needs_no_network, check_parameters
from icm_core.testing.checks.codecs import check_encode_with_side, check_encoders, check_search
from icm_core.testing.checks.coding import (
    check_coding_state,
    check_damaged_input,
    check_decoding_is_exact,
    check_rate_estimate,
    check_round_trip,
    check_stream_is_exhausted,
    check_truncated_input,
)
from icm_core.testing.checks.components import (
    check_batch_independence,
    check_builds_on_meta,
    check_device_moves,
    check_eval_is_deterministic,
    check_gradients,
    check_pickling,
    check_shapes,
    check_state_dict,
    check_stored_weights,
)
from icm_core.testing.checks.datasets import (
    check_keys,
    check_labels,
    check_length,
    check_missing_folder,
    check_order,
    check_samples,
)
from icm_core.testing.checks.heads import (
    check_divergence,
    check_loss_falls,
    check_loss_is_finite,
    check_loss_per_picture,
    check_missing_features,
    check_prediction,
)
from icm_core.testing.checks.kinds import (
    check_also,
    check_batches,
    check_comparing,
    check_example_targets,
    check_flags,
    check_moving,
    check_resampling,
    check_truth,
    check_wrapping,
    check_wrong_targets,
)
from icm_core.testing.checks.losses import (
    check_loss_gradients,
    check_loss_of_a_picture_alone,
    check_loss_of_each_picture,
    check_loss_owns_its_weights,
)
from icm_core.testing.checks.on_card import check_component_on_card, check_kind_on_card, check_loss_on_card
from icm_core.testing.failing import ConformanceError
from icm_core.testing.selection import case_of, checks_for, parametrize_with_checks, run_checks

__all__ = [
    "AdapterCase",
    "Case",
    "CodecCase",
    "ComponentCase",
    "ConformanceError",
    "DataSetCase",
    "EnhancementCase",
    "Example",
    "HeadCase",
    "KindCase",
    "LossCase",
    "ParameterisedCase",
    "case_of",
    "check_also",
    "check_batch_independence",
    "check_batches",
    "check_builds_on_meta",
    "check_coding_state",
    "check_comparing",
    "check_component_on_card",
    "check_damaged_input",
    "check_declaration",
    "check_decoding_is_exact",
    "check_device_moves",
    "check_divergence",
    "check_encode_with_side",
    "check_encoders",
    "check_eval_is_deterministic",
    "check_example_targets",
    "check_flags",
    "check_gradients",
    "check_keys",
    "check_kind_on_card",
    "check_labels",
    "check_length",
    "check_loss_falls",
    "check_loss_gradients",
    "check_loss_is_finite",
    "check_loss_of_a_picture_alone",
    "check_loss_of_each_picture",
    "check_loss_on_card",
    "check_loss_owns_its_weights",
    "check_loss_per_picture",
    "check_measuring",
    "check_missing_features",
    "check_missing_folder",
    "check_moving",
    "check_needs_no_network",
    "check_order",
    "check_parameters",
    "check_pickling",
    "check_prediction",
    "check_rate_estimate",
    "check_resampling",
    "check_round_trip",
    "check_samples",
    "check_search",
    "check_shapes",
    "check_showing",
    "check_state_dict",
    "check_stored_weights",
    "check_stream_is_exhausted",
    "check_truncated_input",
    "check_truth",
    "check_wrapping",
    "check_wrong_targets",
    "checks_for",
    "parametrize_with_checks",
    "run_checks",
]
