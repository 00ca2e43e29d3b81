"""Checks of what a class says about itself, before anything is built."""

from __future__ import annotations

import inspect
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args
from unittest import mock

from pydantic import ValidationError

from icm_core.interfaces import ComponentParams, TaskHead
from icm_core.interfaces.dataset import DataKind, DataSet
from icm_core.spec.model import COMPONENT_NAME
from icm_core.testing.cases.base import Case
from icm_core.testing.failing import ConformanceError, expecting, require


def check_declaration(case: Case) -> None:
    """The class has a name, a docstring, a kind where its contract has kinds, and nothing is left abstract."""
    cls, name = case.cls, getattr(case.cls, "name", None)
    require(
        isinstance(name, str) and re.fullmatch(COMPONENT_NAME, name) is not None,
        f"{cls.__name__}.name is {name!r}",
        "Set name: ClassVar[str] to 'plugin.component' in lower case; it is what a spec's \"use\" says.",
    )
    missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
    require(
        not inspect.isabstract(cls),
        f"{name} does not implement {missing}",
        f"Write these methods; {case.contract.__name__} says what each has to do.",
    )
    require(
        bool((cls.__doc__ or "").strip()),
        f"{name} has no docstring",
        "Say in a line what it is; icm schema shows it in editors.",
    )
    for contract, kinds in ((TaskHead, get_args(Kind)), (DataSet, get_args(DataKind))):
        if issubclass(cls, contract):
            kind = getattr(cls, "kind", None)
            require(kind in kinds, f"{name}.kind is {kind!r}", f"Set kind: ClassVar[...] to one of {kinds}.")
    if issubclass(cls, TaskHead):
        good = isinstance(cls.requires, tuple) and all(isinstance(item, str) for item in cls.requires)
        require(good, f"{name}.requires is {cls.requires!r}", "Make it a tuple of the features' names.")


def check_parameters(case: Case) -> None:
    """``Params`` is frozen, refuses unknown fields and describes each field."""
    params: Any = case.cls.Params
    name = case.name
    require(
        isinstance(params, type) and issubclass(params, ComponentParams),
        f"{name}.Params is {params!r}",
        "Make it a nested class derived from icm_core.ComponentParams.",
    )
    plain = [field for field, info in params.model_fields.items() if not info.description]
    require(
        not plain,
        f"{name}.Params has fields without description: {', '.join(plain)}",
        "Write Field(default, description='what it is, its unit and range'); icm schema shows it.",
    )
    made = case.settings()
    try:
        params.model_validate({**dict(case.params), "no_such_field": 1})
    except ValidationError:
        pass
    else:
        raise ConformanceError(
            f"{name}.Params takes the unknown field 'no_such_field'. "
            "Leave extra='forbid' as ComponentParams has it, so that a typing error in a spec is found."
        )
    require(
        bool(made.model_config.get("frozen")),
        f"{name}.Params can be changed after it was made",
        "Leave frozen=True as ComponentParams has it; a pipeline's spec says what it was built from.",
    )


def check_needs_no_network(case: Case) -> None:
    """Construction opens no connection: weights come from files that a spec names."""
    build: Any = case.build  # type: ignore[attr-defined]
    with (
        _no_network(),
        expecting(
            f"building {case.name} without a network",
            "Download nothing in a constructor; weights are loaded from the spec's files afterwards.",
        ),
    ):
        build()


@contextmanager
def _no_network() -> Iterator[None]:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("a connection was asked for")

    with mock.patch.object(socket.socket, "connect", refuse), mock.patch.object(socket, "getaddrinfo", refuse):
        yield
