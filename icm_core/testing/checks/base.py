"""Checks of whatever it is: what a class says about itself, and that it is built from nothing else."""

from __future__ import annotations

import inspect
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from pydantic import ValidationError

from icm_core.interfaces import ComponentParams
from icm_core.spec.model import COMPONENT_NAME
from icm_core.testing.cases.base import Case, ParameterisedCase
from icm_core.testing.cases.datasets import DataSetCase
from icm_core.testing.cases.heads import HeadCase
from icm_core.testing.cases.kinds import KindCase
from icm_core.testing.failing import ConformanceError, expecting, require

KIND_NAME = r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*"


def check_declaration(case: Case) -> None:
    """The class has a name, a docstring, a kind where its contract has kinds, and nothing is left abstract."""
    cls, name = case.cls, getattr(case.cls, "name", None)
    pattern, like = (
        (KIND_NAME, "'mylab.lanes'") if isinstance(case, KindCase) else (COMPONENT_NAME, "'plugin.component'")
    )
    require(
        isinstance(name, str) and re.fullmatch(pattern, name) is not None,
        f"{cls.__name__}.name is {name!r}",
        f"Set name: ClassVar[str] to {like} in lower case; it is what {_used(case)} says.",
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
    if isinstance(case, HeadCase):
        good = isinstance(cls.requires, tuple) and all(isinstance(item, str) for item in cls.requires)
        require(good, f"{name}.requires is {cls.requires!r}", "Make it a tuple of the features' names.")
        kind = case.answering  # says what to do where it is not installed
        built = case.build(bare=True)
        require(
            built.kind == kind.name,
            f"{name}.kind is {built.kind!r} of an instance, and {kind.name!r} by kind_of",
            "Where parameters choose the kind, make kind a property and kind_of a class method that agree.",
        )
    if isinstance(case, DataSetCase) and isinstance(getattr(cls, "kind", None), (str, type(None))):
        case.asking(getattr(cls, "kind", None))


def check_parameters(case: ParameterisedCase) -> None:
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
        case.validated({**case.params, "no_such_field": 1})
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


def _used(case: Case) -> str:
    return "the kind of heads and data sets" if isinstance(case, KindCase) else 'a spec\'s "use"'


@contextmanager
def _no_network() -> Iterator[None]:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("a connection was asked for")

    with mock.patch.object(socket.socket, "connect", refuse), mock.patch.object(socket, "getaddrinfo", refuse):
        yield
