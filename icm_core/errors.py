"""Every failure a user can cause, as one family of exceptions.

Each message is one sentence: what is wrong, the value that was found, and what would be right. The command
line prints it on stderr and exits with code 2.
"""

from __future__ import annotations

__all__ = ["BitstreamError", "IcmError", "InputError", "SpecError", "TrainingError", "WeightsError"]


class IcmError(Exception):
    """Base class of every error that this framework raises on purpose."""


class BitstreamError(IcmError):
    """A ``.icm`` file is damaged, cut, hostile, or belongs to another pipeline."""


class InputError(IcmError):
    """A picture, a folder or an option that cannot be used."""


class SpecError(IcmError):
    """A pipeline spec that does not validate, or names something that is not installed."""


class WeightsError(IcmError):
    """Weights that are missing, unreadable or of other shapes than the spec asks for."""


class TrainingError(IcmError):
    """A training that cannot go on, because a value is not a number any more."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out; torch says it of the machine's and the GPU's by a RuntimeError."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "not enough memory" in text
