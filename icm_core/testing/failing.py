"""What a check raises, and how it says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class ConformanceError(AssertionError):
    """A component does not keep its contract; the message says what was seen and what to do."""


def require(holds: bool, seen: str, advice: str) -> None:
    """Raise `ConformanceError` unless something holds."""
    if not holds:
        raise ConformanceError(f"{seen}. {advice}")


@contextmanager
def expecting(what: str, advice: str) -> Iterator[None]:
    """Turn any exception of the component into a `ConformanceError` that says what was tried."""
    try:
        yield
    except ConformanceError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise ConformanceError(f"{what} raised {type(error).__name__}: {text}. {advice}") from error
