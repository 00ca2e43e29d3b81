"""What a check raises, and how it says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class NonConformance(AssertionError):
    """A component does not keep its contract; the message says what was seen and what to do."""


def require(holds: bool, seen: str, advice: str) -> None:
    """Raise `NonConformance` unless something holds."""
    if not holds:
        raise NonConformance(f"{seen}. {advice}")


@contextmanager
def expecting(what: str, advice: str) -> Iterator[None]:
    """Turn any exception of the component into a `NonConformance` that says what was tried."""
    try:
        yield
    except NonConformance:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise NonConformance(f"{what} raised {type(error).__name__}: {text}. {advice}") from error
