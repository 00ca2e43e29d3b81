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
from icm_core.testing.cases.losses import LossCase
from icm_core.testing.checks import coding, datasets, declared, heads, learning, losses, placing, running, state
from icm_core.testing.failing import ConformanceError

if TYPE_CHECKING:
    import pytest

Check = Callable[[Any], None]

_DECLARED: tuple[Check, ...] = (declared.check_declaration, declared.check_parameters)
_COMPONENT: tuple[Check, ...] = (
    *_DECLARED,
    declared.check_needs_no_network,
    placing.check_builds_on_meta,
    placing.check_device_moves,
    running.check_shapes,
    running.check_batch_independence,
    running.check_eval_is_deterministic,
    learning.check_gradients,
    state.check_state_dict,
    state.check_stored_weights,
    state.check_pickling,
)
_CODING: tuple[Check, ...] = (
    *_COMPONENT,
    coding.check_round_trip,
    coding.check_decoding_is_exact,
    coding.check_stream_is_exhausted,
    coding.check_truncated_input,
    coding.check_damaged_input,
    coding.check_rate_estimate,
    coding.check_search,
    coding.check_coding_state,
)
_CHECKS: tuple[tuple[type[Case], tuple[Check, ...]], ...] = (
    (CodecCase, _CODING),
    (EnhancementCase, _CODING),
    (AdapterCase, _COMPONENT),
    (
        HeadCase,
        (
            *_COMPONENT,
            learning.check_loss_is_finite,
            learning.check_loss_falls,
            heads.check_prediction,
            heads.check_metric,
            heads.check_drawing,
            heads.check_missing_features,
        ),
    ),
    (
        DataSetCase,
        (
            *_DECLARED,
            declared.check_needs_no_network,
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
            declared.check_needs_no_network,
            losses.check_loss_of_each_picture,
            losses.check_loss_of_a_picture_alone,
            losses.check_loss_gradients,
            losses.check_loss_owns_its_weights,
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
    for kind, _ in _CHECKS:
        if isinstance(component, type) and issubclass(component, kind.contract):
            if kind is DataSetCase:
                raise TypeError(f"a data set needs a folder: DataSetCase({component.__name__}, root=...)")
            if kind is LossCase:
                raise TypeError(f"a loss needs a pipeline: LossCase({component.__name__}, pipeline=..., ...)")
            return kind(component)
    raise TypeError(f"{component!r} is neither a case nor the class of a component")


def checks_for(case: Case) -> tuple[Check, ...]:
    """The checks of the case's contract, in the order in which they are best read.

    Raises:
        ValueError: the case declares an exception from a check that there is not.
    """
    checks = next(found for kind, found in _CHECKS if isinstance(case, kind))
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
