"""Quality: a real number from 1 (fewest bits), stored in steps of 1/16 so that both sides agree."""

from __future__ import annotations

from dataclasses import dataclass

from icm_core.errors import InputError

__all__ = ["STEPS_PER_UNIT", "Quality"]

STEPS_PER_UNIT = 16
MAX_STEP = 255


@dataclass(frozen=True, order=True)
class Quality:
    """A quality on the grid that files store: ``step`` sixteenths, in one byte (1 <= quality < 16).

    >>> Quality.of(2.5).step
    40
    >>> Quality(40).value
    2.5
    """

    step: int

    def __post_init__(self) -> None:
        if not STEPS_PER_UNIT <= self.step <= MAX_STEP:
            raise _out_of_range(self.step / STEPS_PER_UNIT)

    @classmethod
    def of(cls, value: float) -> Quality:
        """The grid point nearest to a real quality; `InputError` outside 1...15.94 or if not a number."""
        if not 1 <= value <= MAX_STEP / STEPS_PER_UNIT:  # true of NaN as well
            raise _out_of_range(value)
        return cls(round(value * STEPS_PER_UNIT))

    @property
    def value(self) -> float:
        """The quality as a real number."""
        return self.step / STEPS_PER_UNIT

    @property
    def index(self) -> int:
        """Row of this quality in a table whose row 0 is quality 1."""
        return self.step - STEPS_PER_UNIT


def _out_of_range(value: float) -> InputError:
    most = MAX_STEP / STEPS_PER_UNIT
    return InputError(f"quality {value:g} is out of range; it runs from 1 to the codec's highest, {most:g} at most")
