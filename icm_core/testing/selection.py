"""Which checks a component has to pass, and how pytest runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from icm_core.testing.cases.adapters import AdapterCase
from icm_core.testing.cases.base import Case
from icm_core.testing.cases.codecs import CodecCase
from icm_core.testing.cases.datasets import DataSetCase
from icm_core.testing.cases.enhancements import EnhancementCase
from icm_core.testing.cases.heads import HeadCase
from icm_core.testing.cases.kinds import KindCase
from icm_core.testing.cases.losses import LossCase
from icm_core.testing.checks import answers, base, codecs, coding, components, datasets, heads, kinds, losses, on_card
from icm_core.testing.failing import ConformanceError

if TYPE_CHECKING:
    import pytest

Check = Callable[[Any], None]

_DECLARED: tuple[Check, ...] = (base.check_declaration, base.check_parameters, base.check_needs_no_network)
_COMPONENT: tuple[Check, ...] = (
    *_DECLARED,
    components.check_builds_on_meta,
    components.check_device_moves,
    on_card.check_component_on_card,
    components.check_shapes,
    components.check_batch_independence,
    components.check_eval_is_deterministic,
    components.check_gradients,
    components.check_state_dict,
    components.check_stored_weights,
    components.check_pickling,
)
_CODING: tuple[Check, ...] = (
    *_COMPONENT,
    coding.check_round_trip,
    coding.check_decoding_is_exact,
    coding.check_stream_is_exhausted,
    coding.check_truncated_input,
    coding.check_damaged_input,
    coding.check_rate_estimate,
    coding.check_coding_state,
)
_CHECKS: tuple[tuple[type[Case], tuple[Check, ...]], ...] = (
    (CodecCase, (*_CODING, codecs.check_encode_with_side, codecs.check_encoders, codecs.check_search)),
    (EnhancementCase, _CODING),
    (AdapterCase, _COMPONENT),
    (
        HeadCase,
        (
            *_COMPONENT,
            heads.check_missing_features,
            heads.check_loss_is_finite,
            heads.check_loss_per_picture,
            heads.check_loss_falls,
            heads.check_prediction,
            heads.check_divergence,
            answers.check_showing,
            answers.check_measuring,
        ),
    ),
    (
        KindCase,
        (
            base.check_declaration,
            kinds.check_flags,
            kinds.check_example_targets,
            kinds.check_wrong_targets,
            kinds.check_batches,
            kinds.check_wrapping,
            kinds.check_moving,
            kinds.check_truth,
            kinds.check_comparing,
            answers.check_showing,
            answers.check_measuring,
            kinds.check_resampling,
            kinds.check_also,
            on_card.check_kind_on_card,
        ),
    ),
    (
        DataSetCase,
        (
            *_DECLARED,
            datasets.check_length,
            datasets.check_order,
            datasets.check_keys,
            datasets.check_samples,
            datasets.check_labels,
            datasets.check_missing_folder,
        ),
    ),
    (
        LossCase,
        (
            *_DECLARED,
            losses.check_loss_of_each_picture,
            losses.check_loss_of_a_picture_alone,
            losses.check_loss_gradients,
            losses.check_loss_owns_its_weights,
            on_card.check_loss_on_card,
        ),
    ),
)


def case_of(component: Case | type[Any]) -> Case:
    """A case as it is; of a class the case with default parameters.

    Raises:
        TypeError: it is neither, or a data set, which needs a folder, or a loss, which needs a pipeline.
    """
    if isinstance(component, Case):
        return component
    for case, _ in _CHECKS:
        if isinstance(component, type) and issubclass(component, case.contract):
            if case is DataSetCase:
                raise TypeError(f"a data set needs a folder: DataSetCase({component.__name__}, root=...)")
            if case is LossCase:
                raise TypeError(f"a loss needs a pipeline: LossCase({component.__name__}, pipeline=..., ...)")
            return case(component)
    raise TypeError(f"{component!r} is neither a case nor the class of a component")


def checks_for(case: Case) -> tuple[Check, ...]:
    """The checks of the case's contract, in the order in which they are best read.

    Raises:
        ValueError: the case declares an exception from a check that there is not.
    """
    checks = next(found for about, found in _CHECKS if isinstance(case, about))
    known = [check.__name__ for check in checks]
    if twice := sorted(case.exceptions.keys() & case.unpromised.keys()):
        raise ValueError(f"{case.name} has {twice[0]} among its exceptions and among what is unpromised; give it once")
    for name, reason in (*case.exceptions.items(), *case.unpromised.items()):
        if name not in known:
            raise ValueError(f"{case.name} has no check {name!r} to be excepted from; it has {', '.join(known)}")
        if not reason.strip():
            raise ValueError(f"{case.name} is excepted from {name} without a reason")
    return checks


def run_checks(component: Case | type[Any]) -> list[tuple[str, str]]:
    """Every check without pytest: the name of each that failed, with its message; declared exceptions are left out."""
    case, failures = case_of(component), []
    for check in checks_for(case):
        if check.__name__ not in case.exceptions and check.__name__ not in case.unpromised:
            try:
                check(case)
            except ConformanceError as error:
                failures.append((check.__name__, str(error)))
    return failures


def parametrize_with_checks(components: Iterable[Case | type[Any]]) -> pytest.MarkDecorator:
    """A pytest mark for a test with the arguments ``case`` and ``check``: one test for each check of each component.

    A check that a case is excepted from has to fail: an exception that is no longer needed is reported. One that is
    unpromised may also pass.
    """
    import pytest

    parameters = []
    for component in components:
        case = case_of(component)
        for check in checks_for(case):
            strict = check.__name__ in case.exceptions
            reason = (case.exceptions if strict else case.unpromised).get(check.__name__)
            marks = [pytest.mark.xfail(reason=reason, strict=strict, raises=ConformanceError)] if reason else []
            label = f"{case.name}-{check.__name__.removeprefix('check_')}"
            parameters.append(pytest.param(case, check, id=label, marks=marks))
    return pytest.mark.parametrize(("case", "check"), parameters)
