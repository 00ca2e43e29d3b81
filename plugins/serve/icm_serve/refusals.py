"""What a service answers where it does not do what it was asked for."""

from __future__ import annotations

from icm_core.errors import IcmError


class RefusedError(IcmError):
    """A request that is refused.

    Args:
        status: of the response.
        sentence: what is wrong, the value that was found, and what would be right.
        headers: of the response.
    """

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = headers or {}


def unread(status: int, sentence: str, headers: dict[str, str] | None = None) -> RefusedError:
    """A refusal before the body was read, after which the connection is of no use."""
    return RefusedError(status, sentence, {"Connection": "close", **(headers or {})})


def busy(sentence: str, seconds: float, *, read: bool = True) -> RefusedError:
    """A refusal of a request that may come again later."""
    later = {"Retry-After": str(max(1, round(seconds)))}
    return RefusedError(503, sentence, later) if read else unread(503, sentence, later)
