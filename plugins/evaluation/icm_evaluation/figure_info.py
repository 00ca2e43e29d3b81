"""How a figure of merit is read: its title and unit, which way is better, and how many digits it is shown with."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import Self

from icm_core.interfaces import Figure, Tally, TaskKind
from icm_core.kinds import Classification, Reconstruction, Segmentation
from icm_core.types import Legend

CLEAN, DROP = "clean", "drop"
"""A task's main figure on clean pictures, and by how much the coded ones are worse."""


class FigureInfo(BaseModel):
    """What a figure of merit is, without its value."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = Field(description="what plots call it")
    unit: str = Field(default="", description="such as % or dB; empty where it has none")
    higher_is_better: bool = Field(default=True, description="which way is better")
    digits: int = Field(default=2, ge=0, description="decimals that tables show")

    @classmethod
    def of(cls, name: str, figure: Figure) -> Self:
        """What a kind says of a figure."""
        return cls(
            title=figure.title or name,
            unit=figure.unit,
            higher_is_better=figure.higher_is_better,
            digits=figure.digits,
        )

    @property
    def axis(self) -> str:
        """Name of an axis."""
        unit = f" in {self.unit}" if self.unit else ""
        return f"{self.title}{unit}{'' if self.higher_is_better else ', less is better'}"

    def text(self, value: float | None) -> str:
        """A value as tables show it."""
        return "-" if value is None else f"{value:.{self.digits}f}"

    def with_unit(self, value: float) -> str:
        """A value in a sentence."""
        return f"{value:.4g} {self.unit}".rstrip()


@cache
def earlier_figures() -> Mapping[str, Mapping[str, FigureInfo]]:
    """By kind: the figures of files that do not describe theirs. When they were written there were these kinds."""
    tallies: list[tuple[TaskKind, Tally]] = [
        (Segmentation(), {"confusion": [0, 0, 0, 0]}),
        (Classification(), {"top1": True, "top5": True}),
        (Reconstruction(), {"psnr": 0.0, "ms_ssim": 0.0}),
    ]
    return {
        kind.name: {name: FigureInfo.of(name, figure) for name, figure in kind.figures([tally], Legend()).items()}
        for kind, tally in tallies
    }
